"""Keys that were looked up before the lock, and whether it is certain under the lock that they are still nobody's.

Whoever makes a twin or a relationship tells the change feed, so nothing was made between two equal numbers of the feed.
Between two others it is known only where the one write between was this process's own, and it remembers what it made.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from gemel.history.samples import Ints
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["Absence", "hashes_of", "is_absent", "note_made"]

MEMORY = "graph.absence"


@dataclass(frozen=True, slots=True)
class Absence:
    """Keys that were never anybody's as of a number of the change feed, by their hashes, int64[n]."""

    hashes: Ints
    seen_no: int

    @classmethod
    def seen(cls, tx: ReadTransaction, hashes: Ints) -> Absence:
        """Return what a transaction saw that looked keys up and found none."""
        return cls(hashes, tx.begun_change_no)


@dataclass(frozen=True, slots=True)
class _Made:
    """What one write made, and the numbers of the feed that it began and ended with."""

    hashes: Ints
    begun_no: int
    ended_no: int


def hashes_of(keys: Iterable[Hashable], count: int) -> Ints:
    """Return the hashes of so many keys, int64[n]: ids of twins, or numbers of sources with ids of relationships."""
    return np.fromiter(map(hash, keys), np.int64, count)


def is_absent(tx: WriteTransaction, absence: Absence) -> bool:
    """Say whether it is certain that the keys are nobody's now; where not, look."""
    if tx.change_no != tx.begun_change_no:
        return False
    if tx.begun_change_no == absence.seen_no:
        return True
    made = tx.memory.get(MEMORY)
    if not isinstance(made, _Made):
        return False
    between = made.begun_no, made.ended_no
    return between == (absence.seen_no, tx.begun_change_no) and not np.isin(absence.hashes, made.hashes).any()


def note_made(tx: WriteTransaction, hashes: Ints, before_no: int) -> None:
    """Remember what a transaction made, if that is all that it tells the feed of.

    Call it once they are told of; `before_no` is the newest number of the feed that was given before.
    """
    ended_no = tx.change_no

    def keep() -> None:
        if (before_no, ended_no) == (tx.begun_change_no, tx.change_no):
            tx.memory[MEMORY] = _Made(hashes, before_no, ended_no)

    tx.on_commit(keep)
