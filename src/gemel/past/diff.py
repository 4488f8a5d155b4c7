"""What differs between two moments: of a twin, of its neighbourhood, of the whole graph, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

import msgspec

from gemel.base.clock import iso_us
from gemel.graph.differences import (
    Between,
    Place,
    RelationshipDifference,
    Standing,
    TwinPresence,
    read_neighbourhood,
    read_presences,
    read_relationship_differences,
)
from gemel.graph.paging import Listing, foreign_token
from gemel.history.differences import Presence, ValueDifference, read_differences
from gemel.history.moment import END_US, Moment, check_kept
from gemel.history.paths import Paths
from gemel.store.database import ReadTransaction

__all__ = ["Diff", "DiffItem", "DiffWanted", "PathDifference", "read_diff"]

TOKEN = "diff"
PART_TWINS = 500
PARTS_MAX = 200
"""Parts that are gone through for a page: where nothing differs, a page of 100,000 twins may be empty."""
NUMBER_MAX = 2**43
ID_LENGTH_MAX = 1024
BEFORE_ALL = -2
FROM_FIRST = (0, BEFORE_ALL, "")
OF_TWIN = -1
"""A twin itself stands before its relationships, whose sources have numbers from 0 on."""

Change = Literal["added", "removed", "changed"]


class PathDifference(msgspec.Struct, frozen=True):
    """A path and what it had at the two moments; null where it had nothing."""

    path: str
    role: str
    before: Any
    after: Any


class DiffItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A twin or a relationship that differs.

    Of a twin `before` and `after` are model and lifecycle, and `values` the paths that differ. Of a relationship,
    named by the twin that it leaves and its id, they are its name, target and properties. Null: it was not there.
    """

    twin: str
    change: Change
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    relationship: str | None = None
    values: list[PathDifference] = []


class Diff(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What differs between two moments, a twin before its relationships; `after` continues."""

    from_: str
    to: str
    items: list[DiffItem]
    after: str | None


@dataclass(frozen=True, slots=True)
class DiffWanted:
    """Which differences: between what, of which twin and how far around it (None: of all), with telemetry or not.

    `until_now`: no second moment was named, so that a page that follows goes on with that of its token.
    """

    between: Between
    twin_id: str | None = None
    depth: int = 0
    telemetry: bool = False
    until_now: bool = False


async def read_diff(
    tx: ReadTransaction, paths: Paths, wanted: DiffWanted, limit: int, after: str | None = None
) -> Diff:
    """Return a page of what differs, as it is or was known, at most `limit` items; `after` is from the page before.

    What is held at once is a part of PART_TWINS twins with the values that differ of them, and the page.
    Raises NotFoundError (DigitalTwinNotFound), InvalidError (MomentBeforeRetention, LimitExceeded,
    InvalidArgument for a token of another list).
    """
    listing = Listing(
        tx.tenant, TOKEN, (wanted.twin_id, wanted.depth, wanted.telemetry, wanted.between.known_at_us)
    )
    between, place = (wanted.between, FROM_FIRST) if after is None else _continued(listing, wanted, after)
    check_kept(tx, Moment(between.from_us, between.known_at_us))
    scope = None
    if wanted.twin_id is not None:
        scope = await read_neighbourhood(tx, wanted.twin_id, wanted.depth, between)
    reading = _Reading(tx, paths, scope, between, wanted.telemetry)
    items: list[tuple[Place, DiffItem]] = []
    start: int | None = place[0]
    for _ in range(PARTS_MAX):
        twins, following = await read_presences(tx, scope, between, start or 0, PART_TWINS)
        items += await reading.part(twins, place, limit + 1 - len(items))
        if len(items) > limit or following is None:
            start = None
            break
        start = following
        place = (following, BEFORE_ALL, "")
    page = items[:limit]
    last = page[-1][0] if len(items) > limit else None if start is None else place
    token = None if last is None else _token(listing, between, last)
    return Diff(iso_us(between.from_us), iso_us(between.to_us), [item for _, item in page], token)


@dataclass(frozen=True, slots=True)
class _Reading:
    tx: ReadTransaction
    paths: Paths
    scope: Collection[int] | None
    between: Between
    telemetry: bool

    async def part(
        self, twins: Sequence[TwinPresence], place: Place, most: int
    ) -> list[tuple[Place, DiffItem]]:
        """Return at most the first `most` differences of some twins and their relationships beyond a place."""
        found = await self._relationships(twins, place, most)
        own = [twin for twin in twins if (twin.twin_no, OF_TWIN, "") > place]
        found += await self._twins(own)
        return sorted(found, key=itemgetter(0))[:most]

    async def _twins(self, twins: Sequence[TwinPresence]) -> list[tuple[Place, DiffItem]]:
        presences = [
            Presence(twin.twin_no, twin.before is not None, twin.after is not None) for twin in twins
        ]
        values: dict[int, list[PathDifference]] = {}
        for each in await read_differences(self.tx, self.paths, presences, self.between):
            if each.role == "property" or self.telemetry:
                values.setdefault(each.twin_no, []).append(_path(each))
        return [
            ((twin.twin_no, OF_TWIN, ""), _twin(twin, values.get(twin.twin_no, [])))
            for twin in twins
            if twin.before != twin.after or twin.twin_no in values
        ]

    async def _relationships(
        self, twins: Sequence[TwinPresence], place: Place, most: int
    ) -> list[tuple[Place, DiffItem]]:
        found: list[tuple[Place, DiffItem]] = []
        numbers = [twin.twin_no for twin in twins]
        beyond: Place | None = place
        while beyond is not None and len(found) < most:
            more, beyond = await read_relationship_differences(
                self.tx, numbers, self.scope, self.between, beyond, most
            )
            found += [(each.place, _relationship(each)) for each in more]
        return found


def _token(listing: Listing, between: Between, place: Place) -> str:
    number, source, relationship_id = place
    return listing.encode(
        from_us=between.from_us, to_us=between.to_us, no=number, source=source, id=relationship_id
    )


def _continued(listing: Listing, wanted: DiffWanted, token: str) -> tuple[Between, Place]:
    state = listing.decode(token, from_us=int, to_us=int, no=int, source=int, id=str)
    between = wanted.between._replace(from_us=state["from_us"], to_us=state["to_us"])
    place = (state["no"], state["source"], state["id"])
    is_one = 0 <= between.from_us <= between.to_us <= END_US
    is_one = is_one and between == wanted.between._replace(
        **({"to_us": between.to_us} if wanted.until_now else {})
    )
    is_one = is_one and 0 <= place[0] <= NUMBER_MAX and BEFORE_ALL <= place[1] <= NUMBER_MAX
    if not is_one or len(place[2]) > ID_LENGTH_MAX or "\0" in place[2]:
        raise foreign_token()
    return between, place


def _change(before: object, after: object) -> Change:
    return "added" if before is None else "removed" if after is None else "changed"


def _path(found: ValueDifference) -> PathDifference:
    return PathDifference(found.path, found.role, found.before, found.after)


def _twin(twin: TwinPresence, values: list[PathDifference]) -> DiffItem:
    before, after = (_standing(each) for each in (twin.before, twin.after))
    return DiffItem(twin.twin_id, _change(before, after), before, after, values=values)


def _standing(standing: Standing | None) -> dict[str, Any] | None:
    return None if standing is None else standing._asdict()


def _relationship(found: RelationshipDifference) -> DiffItem:
    change = _change(found.before, found.after)
    return DiffItem(found.source, change, found.before, found.after, relationship=found.relationship_id)
