"""The last source times of series that this process wrote, remembered while nobody else writes the tenant's data.

Every change of state tells the change feed, so they hold as long as its newest number is the one that it was when they
were noted, under the tenant's head.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gemel.history.samples import Ints
from gemel.store.database import WriteTransaction

__all__ = ["forget_lasts", "note_lasts", "recall_lasts"]

SERIES_MAX = 500_000
"""Of how many series of a tenant they are held; 16 bytes each. Beyond it all are forgotten."""

MEMORY = "history.lasts"


@dataclass(slots=True)
class _Held:
    """`series` in order, and the last source time (µs) of each, as of a number of the change feed."""

    change_no: int
    series: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    time_us: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(slots=True)
class _Noted:
    """What a transaction that is under way learned, in its order; nothing is recalled within it any more."""

    parts: list[tuple[Ints, Ints]] = field(default_factory=list)
    void: bool = False


def recall_lasts(tx: WriteTransaction, series: Ints) -> tuple[Ints, Ints]:
    """Return which of some series (in order, each once) are held, as positions, and their last source times (µs)."""
    held = tx.memory.get(MEMORY)
    none = np.zeros(0, np.int64)
    if not isinstance(held, _Held) or held.change_no != tx.begun_change_no or MEMORY in tx.notes:
        return none, none
    places = np.searchsorted(held.series, series)
    places[places == len(held.series)] = 0
    found = np.flatnonzero(held.series[places] == series) if len(held.series) else none
    return found, held.time_us[places[found]]


def note_lasts(tx: WriteTransaction, series: Ints, time_us: Ints) -> None:
    """Hold the last source times (µs) of some series, each once and in order, from this transaction's commit on."""
    _noted(tx).parts.append((series, time_us))


def forget_lasts(tx: WriteTransaction) -> None:
    """Say that this transaction makes older samples the last again, or takes keys away: nothing is held after it."""
    _noted(tx).void = True


def _noted(tx: WriteTransaction) -> _Noted:
    noted = tx.notes.get(MEMORY)
    if isinstance(noted, _Noted):
        return noted
    noted = tx.notes[MEMORY] = _Noted()
    tx.on_commit(lambda: _keep(tx, noted))
    return noted


def _keep(tx: WriteTransaction, noted: _Noted) -> None:
    held = tx.memory.get(MEMORY)
    if not isinstance(held, _Held) or held.change_no != tx.begun_change_no:
        held = _Held(tx.change_no)
    for series, time_us in noted.parts:
        _merge(held, series, time_us)
    held.change_no = tx.change_no
    if noted.void or len(held.series) > SERIES_MAX:
        tx.memory.pop(MEMORY, None)
    else:
        tx.memory[MEMORY] = held


def _merge(held: _Held, series: Ints, time_us: Ints) -> None:
    places = np.searchsorted(held.series, series)
    inside = np.minimum(places, max(0, len(held.series) - 1))
    known = held.series[inside] == series if len(held.series) else np.zeros(len(series), np.bool_)
    held.time_us[inside[known]] = time_us[known]
    if not known.all():
        fresh = ~known
        held.time_us = np.insert(held.time_us, places[fresh], time_us[fresh])
        held.series = np.insert(held.series, places[fresh], series[fresh])
