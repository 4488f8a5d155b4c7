"""What happened to the twins of an id, in the order of time: each thing with who or what did it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.graph.incarnations import TwinMove, read_twin_moves
from gemel.graph.paging import Listing, foreign_token
from gemel.graph.relationship_moves import RelationshipMove, read_relationship_moves
from gemel.history.corrections import Correction, read_corrections
from gemel.history.moment import END_US, Moment, check_kept
from gemel.history.moves import Move, Place, Stretch, read_moves, read_series
from gemel.history.paths import PathKey, Paths
from gemel.past.causes import Cause, Causes, read_causes
from gemel.past.explain import Superseded, superseded_of
from gemel.store.database import ReadTransaction

__all__ = ["KINDS", "Entry", "Kind", "Timeline", "TimelineWanted", "read_timeline"]

Kind = Literal["twin", "relationship", "property", "telemetry", "correction"]
KINDS: tuple[Kind, ...] = ("twin", "relationship", "property", "telemetry", "correction")

TOKEN = "timeline"
FIRST, LAST = "", "\U0010ffff"
# At one time corrections stand before relationships, those before twins and twins before values.
OF_CORRECTION, OF_RELATIONSHIP, OF_TWIN, OF_VALUE = "c", "r", "t", "v"
SERIES_WIDTH = 20
KEY = re.compile(r"v\d{20}|[crt]\d{20}[^\0\ud800-\udfff]{0,1024}")
SERIES_MAX = 2**63 - 1


class Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One thing that happened: when it was so, when it was recorded, what it was, and its cause.

    `what` is twin.created, twin.model, twin.lifecycle, twin.deleted, relationship.created, relationship.changed,
    relationship.removed, history.deleted, history.replaced, property or telemetry. Of a correction `time` is since
    when samples went, and `after` has its paths, until when, and how many went and came. Else
    `before` and `after` are the value of a path, or a relationship with its name and target, or model and
    lifecycle; null where there is none. `path` and what follows it are of
    values: `late`, when a value for this time first came, a newer one was there; `superseded`, what it won
    against. `relationship` and what follows it are of relationships, `direction` as the twin sees it.
    """

    time: str
    recorded: str
    what: str
    before: Any
    after: Any
    cause: Cause | None
    path: str | None = None
    quality: str | None = None
    revision: int | None = None
    removed: bool = False
    late: bool = False
    superseded: list[Superseded] = []
    relationship: str | None = None
    name: str | None = None
    direction: str | None = None
    source: str | None = None
    target: str | None = None
    reason: str | None = None


class Timeline(msgspec.Struct, frozen=True):
    """A part of what happened to a twin, in the order asked for; `after` continues."""

    twin: str
    entries: list[Entry]
    after: str | None


@dataclass(frozen=True, slots=True)
class TimelineWanted:
    """Which part: the stretch of time, the kinds, the paths (empty: all), how many entries, and from where."""

    stretch: Stretch
    kinds: Collection[Kind]
    paths: Collection[str]
    limit: int
    after: str | None


@dataclass(frozen=True, slots=True)
class _Thing:
    """Anything that happened, with what orders it."""

    time_us: int
    key: str
    told: TwinMove | RelationshipMove | Correction | Move


async def read_timeline(tx: ReadTransaction, paths: Paths, twin_id: str, wanted: TimelineWanted) -> Timeline:
    """Return a page of what happened to the twins of an id, deleted ones too, as it is known, or was known then.

    Raises NotFoundError (DigitalTwinNotFound) where the id never named one, InvalidError (PathNotInModel for a
    path that no twin of the tenant ever had, InvalidArgument for a token of another list, MomentBeforeRetention).
    """
    known_at_us = wanted.stretch.known_at_us
    check_kept(tx, Moment(known_at_us=known_at_us))
    moves = await read_twin_moves(tx, twin_id, known_at_us)
    await _check_paths(tx, paths, wanted.paths)
    stretch, limit = wanted.stretch, wanted.limit
    narrowed = (twin_id, *stretch, sorted(wanted.kinds), sorted(wanted.paths))
    listing = Listing(tx.tenant, TOKEN, narrowed)
    at_us, key = _beyond(wanted, listing)
    things: list[_Thing] = []
    if "twin" in wanted.kinds:
        things += [
            _Thing(move.time_us, f"{OF_TWIN}{move.twin_no:0{SERIES_WIDTH}}{number}", move)
            for number, move in enumerate(moves)
        ]
    numbers = {move.twin_no for move in moves}
    if "correction" in wanted.kinds:
        things += [
            _Thing(each.from_us, f"{OF_CORRECTION}{each.twin_no:0{SERIES_WIDTH}}{each.recorded_us:020}", each)
            for each in await read_corrections(tx, numbers, stretch)
            if not wanted.paths or set(wanted.paths) & set(each.paths)
        ]
    if "relationship" in wanted.kinds:
        beyond = (at_us, _within(OF_RELATIONSHIP, key))
        things += [
            _Thing(move.time_us, OF_RELATIONSHIP + move.key, move)
            for move in await read_relationship_moves(tx, numbers, stretch, limit + 1, beyond)
        ]
    things += await _values(tx, await _series(tx, paths, numbers, wanted), wanted, at_us, key)
    rest = [thing for thing in things if _is_beyond(thing, stretch, at_us, key)]
    rest.sort(key=lambda thing: (thing.time_us, thing.key), reverse=stretch.newest_first)
    page = rest[:limit]
    after = listing.encode(at=page[-1].time_us, key=page[-1].key) if len(rest) > limit else None
    causes = await read_causes(tx, {us for thing in page for us in _recorded_us(thing.told)})
    return Timeline(twin_id, [_entry(thing.told, causes) for thing in page], after)


async def _check_paths(tx: ReadTransaction, paths: Paths, wanted: Collection[str]) -> None:
    known = await paths.numbers(tx, [(path, role) for path in wanted for role in ("property", "telemetry")])
    for path in wanted:
        if not {(path, "property"), (path, "telemetry")} & known.keys():
            raise InvalidError("PathNotInModel", f"No twin has or had a path {path[:200]!r}.")


def _beyond(wanted: TimelineWanted, listing: Listing) -> tuple[int, str]:
    if wanted.after is not None:
        state = listing.decode(wanted.after, at=int, key=str)
        if not 0 <= state["at"] <= END_US or not KEY.fullmatch(state["key"]):
            raise foreign_token()
        return state["at"], state["key"]
    stretch = wanted.stretch
    return (stretch.to_us, LAST) if stretch.newest_first else (stretch.from_us, FIRST)


def _within(kind: str, key: str) -> str:
    """Return where a kind's own keys go on, at a place that may be within another's."""
    if key[:1] == kind:
        return key[1:]
    return FIRST if key < kind else LAST


def _is_beyond(thing: _Thing, stretch: Stretch, at_us: int, key: str) -> bool:
    if not stretch.from_us <= thing.time_us <= stretch.to_us:
        return False
    own, last = (thing.time_us, thing.key), (at_us, key)
    return own < last if stretch.newest_first else own > last


async def _series(
    tx: ReadTransaction, paths: Paths, numbers: Collection[int], wanted: TimelineWanted
) -> dict[int, PathKey]:
    if not {"property", "telemetry"} & set(wanted.kinds):
        return {}
    found = await read_series(tx, paths, numbers)
    return {
        series: key
        for series, key in found.items()
        if key[1] in wanted.kinds and (not wanted.paths or key[0] in wanted.paths)
    }


async def _values(
    tx: ReadTransaction, series: dict[int, PathKey], wanted: TimelineWanted, at_us: int, key: str
) -> list[_Thing]:
    within = _within(OF_VALUE, key)
    number = {FIRST: -1, LAST: SERIES_MAX}.get(within)
    place = Place(at_us, min(int(within), SERIES_MAX) if number is None else number)
    moves = await read_moves(tx, series, wanted.stretch, wanted.limit + 1, place)
    return [_Thing(move.time_us, f"{OF_VALUE}{move.series:0{SERIES_WIDTH}}", move) for move in moves]


def _recorded_us(told: TwinMove | RelationshipMove | Correction | Move) -> list[int]:
    lost = told.lost if isinstance(told, Move) else ()
    return [told.recorded_us, *(each.recorded_us for each in lost)]


def _entry(told: TwinMove | RelationshipMove | Correction | Move, causes: Causes) -> Entry:
    time_us = told.from_us if isinstance(told, Correction) else told.time_us
    times = (iso_us(time_us), iso_us(told.recorded_us))
    cause = causes.of(told.recorded_us)
    if isinstance(told, TwinMove):
        what = f"twin.{told.kind}"
        return Entry(*times, what, told.before or None, told.after or None, cause, reason=told.reason)
    if isinstance(told, Correction):
        return Entry(*times, f"history.{told.action}", None, _after(told), cause, reason=told.reason)
    if isinstance(told, RelationshipMove):
        return _relationship(told, times, cause)
    return Entry(
        *times,
        told.role,
        told.before,
        told.value,
        cause,
        path=told.path,
        quality=told.quality,
        revision=told.revision,
        removed=told.removed,
        late=told.late,
        superseded=[superseded_of(lost, causes) for lost in told.lost],
    )


def _after(told: Correction) -> dict[str, Any]:
    counts = {"deleted": told.deleted, "added": told.added}
    return {"paths": list(told.paths), "to": iso_us(told.to_us), **counts}


def _relationship(told: RelationshipMove, times: tuple[str, str], cause: Cause | None) -> Entry:
    return Entry(
        *times,
        f"relationship.{told.kind}",
        told.before,
        told.after,
        cause,
        relationship=told.relationship_id,
        name=told.name,
        direction=told.direction,
        source=told.source,
        target=told.target,
    )
