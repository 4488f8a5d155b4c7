"""Reading the change feed with the names of what its numbers stand for: for streams and for routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gemel.graph.roster import Roster, TwinName
from gemel.history.changes import SAMPLES, Change, read_changes, samples_of
from gemel.history.paths import PathKey, Paths, path_no_of, twin_no_of
from gemel.history.samples import SampleBatch
from gemel.store.database import ReadTransaction

__all__ = ["FeedReader", "Known", "Part", "Told"]


@dataclass(frozen=True, slots=True)
class Known:
    """What numbers in a change stand for: twins and paths, by number."""

    twins: Mapping[int, TwinName]
    paths: Mapping[int, PathKey]


class Told(NamedTuple):
    """One change, and of a chunk its decoded samples."""

    change: Change
    batch: SampleBatch | None


class Part(NamedTuple):
    """Some changes in order, and what their numbers stand for."""

    told: list[Told]
    known: Known


@dataclass(frozen=True, slots=True)
class FeedReader:
    """Reads parts of any tenant's feed; safe for concurrent use on one event loop."""

    roster: Roster
    paths: Paths

    async def read(self, tx: ReadTransaction, after: int, limit: int, bytes_max: int) -> Part:
        """Return the changes after a number: at most `limit`, and beyond the first at most `bytes_max` bytes."""
        found = await read_changes(tx, after, limit, bytes_max=bytes_max)
        told = [Told(each, samples_of(each) if each.kind == SAMPLES else None) for each in found]
        if not told:
            return Part([], Known({}, {}))
        twin_nos, path_nos = _numbers(told)
        paths = await self.paths.keys(tx, path_nos)
        return Part(told, Known(await self.roster.names(tx, twin_nos), paths))


def _numbers(told: Iterable[Told]) -> tuple[set[int], set[int]]:
    """Return the numbers of twins and of paths that changes name."""
    twin_nos: set[int] = set()
    path_nos: set[int] = set()
    for change, batch in told:
        if batch is None:
            twin_nos.update(no for no in [change.payload().get("no")] if no is not None)
            continue
        series = set(batch.series.tolist())
        twin_nos.update(map(twin_no_of, series))
        path_nos.update(map(path_no_of, series))
    return twin_nos, path_nos
