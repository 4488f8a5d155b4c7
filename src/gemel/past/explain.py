"""Why the values of a twin are what they are, or were at a moment."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from gemel.base.clock import iso_us
from gemel.graph.readable import ReadableTwin
from gemel.history.moment import Moment, check_kept
from gemel.history.moves import Lost, Move, read_last
from gemel.history.paths import Paths, series_of
from gemel.past.causes import Cause, Causes, read_causes
from gemel.past.rules import Rule, rules_of
from gemel.store.database import ReadTransaction

__all__ = ["Explained", "Superseded", "causes_of", "explain", "superseded_of"]


class Superseded(msgspec.Struct, frozen=True):
    """A value that came for the same time and lost: when it was recorded and when it lost, and its own cause."""

    value: Any
    removed: bool
    quality: str
    revision: int
    recorded: str
    superseded: str
    cause: Cause | None


class Explained(msgspec.Struct, frozen=True, rename="camel"):
    """A value of a moment: its times, what made it so, by which rules, the value before it and those that lost to it.

    `late`: when a value for this time first came, a newer one was there.
    """

    path: str
    role: str
    value: Any
    removed: bool
    unit: str | None
    source_time: str
    recorded: str
    quality: str
    revision: int
    late: bool
    cause: Cause | None
    rules: list[Rule]
    before: Any
    before_time: str | None
    superseded: list[Superseded]


async def explain(
    tx: ReadTransaction, paths: Paths, twin: ReadableTwin, wanted: Collection[str], moment: Moment
) -> list[Explained]:
    """Return what explains the values of a twin at a moment, in the order of the model; of all paths of it without any.

    `wanted` must be of what can be read of the twin. A property that was removed is explained where it is asked
    for. Raises InvalidError (MomentBeforeRetention).
    """
    check_kept(tx, moment)
    shown = [path for path in twin.paths if (path in wanted if wanted else path in twin.own)]
    keys = await paths.keys(tx, {twin.paths[path].path_no for path in shown})
    series = {
        series_of(twin.twin_no, number): keys[number]
        for number in (twin.paths[path].path_no for path in shown)
    }
    moves = [move for move in await read_last(tx, series, moment) if wanted or not move.removed]
    causes = await causes_of(tx, moves)
    moves.sort(key=lambda move: shown.index(move.path))
    return [_explained(move, twin.paths[move.path].unit, causes, moment) for move in moves]


async def causes_of(tx: ReadTransaction, moves: Collection[Move]) -> Causes:
    """Return the causes of moves and of what lost to them."""
    recorded_us = {move.recorded_us for move in moves}
    return await read_causes(tx, recorded_us | {lost.recorded_us for move in moves for lost in move.lost})


def superseded_of(lost: Lost, causes: Causes) -> Superseded:
    """Return a value that lost, as it is told."""
    return Superseded(
        lost.value,
        lost.removed,
        lost.quality,
        lost.revision,
        iso_us(lost.recorded_us),
        iso_us(lost.superseded_us),
        causes.of(lost.recorded_us),
    )


def _explained(move: Move, unit: str | None, causes: Causes, moment: Moment) -> Explained:
    cause = causes.of(move.recorded_us)
    return Explained(
        path=move.path,
        role=move.role,
        value=move.value,
        removed=move.removed,
        unit=unit,
        source_time=iso_us(move.time_us),
        recorded=iso_us(move.recorded_us),
        quality=move.quality,
        revision=move.revision,
        late=move.late,
        cause=cause,
        rules=rules_of(move, cause, moment),
        before=move.before,
        before_time=None if move.before_us is None else iso_us(move.before_us),
        superseded=[superseded_of(lost, causes) for lost in move.lost],
    )
