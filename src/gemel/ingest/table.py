"""Events as columns: each row is one, and it is made into an Event only where something is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from gemel.base.clock import iso_us
from gemel.base.errors import Detail
from gemel.history.origins import EventColumns
from gemel.history.samples import Ints
from gemel.history.values import QUALITIES
from gemel.ingest.events import Event, decode_event

__all__ = ["Cells", "EventTable", "Flags", "Raws", "Texts"]

Flags = npt.NDArray[np.bool_]
ISO_MAX_US = 253_402_300_800_000_000  # the year 10000, which no datetime has


class Texts(NamedTuple):
    """A column of n texts: the different ones, and which of them each row has; -1 for null."""

    values: list[str | None]
    codes: Ints

    @classmethod
    def alike(cls, text: str, rows: int) -> Texts:
        """Return a column that has the same text in each row."""
        return cls([text], np.zeros(rows, np.int64))

    def at(self, row: int) -> str | None:
        """Return the text of a row."""
        code = int(self.codes[row])
        return None if code < 0 else self.values[code]

    def given(self) -> Flags:
        """Return which rows have a text that is not empty."""
        by_code = np.array([*(bool(value) for value in self.values), False])
        return by_code[self.codes]


@dataclass(frozen=True, slots=True)
class Cells:
    """m values, in ascending order of their rows int64[m]; `path` says which of `paths` each is of.

    Values are float64 or int64 in `numbers`; other ones are those of `distinct`, JSON-like, that `codes` says.
    """

    rows: Ints
    paths: list[str]
    path: Ints
    numbers: npt.NDArray[np.float64] | Ints | None
    distinct: list[Any]
    codes: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def value(self, position: int) -> Any:
        """Return a value as JSON has it."""
        if self.numbers is None:
            return self.distinct[int(self.codes[position])]
        return self.numbers[position].item()

    def values(self, positions: Ints) -> tuple[list[Any], Ints]:
        """Return the different values at some positions, and which of them each is."""
        if self.numbers is None:
            return self.distinct, self.codes[positions]
        own, codes = np.unique(self.numbers[positions], return_inverse=True)
        return own.tolist(), codes.astype(np.int64)


@dataclass(frozen=True, eq=False)
class EventTable(Sequence[Event | Detail]):
    """n events as columns of length n.

    `time_us` counts where `timed` is true; `ids` that is one text stands before "-" and the row's number. As a
    sequence it gives each row as the Event that its JSON would be, or what is wrong with that.
    """

    twins: Texts
    time_us: Ints
    timed: Flags
    ids: Texts | str
    sources: Texts
    types: Texts
    revisions: Ints
    qualities: Texts
    cells: Sequence[Cells]

    def __len__(self) -> int:
        return len(self.time_us)

    @overload
    def __getitem__(self, index: int) -> Event | Detail: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event | Detail]: ...
    def __getitem__(self, index: int | slice) -> Event | Detail | list[Event | Detail]:
        """Return a row as an event, decoded from its JSON."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return decode_event(self.raw(index % len(self)))

    def raw(self, row: int) -> bytes:
        """Return the JSON event that a row is as good as."""
        event: dict[str, Any] = {"specversion": "1.0"}
        named = {"id": self.id(row), "source": self.sources.at(row), "type": self.types.at(row)}
        named["subject"] = self.twins.at(row)
        event.update((name, text) for name, text in named.items() if text is not None)
        if self.timed[row]:
            event["time"] = _iso(int(self.time_us[row]))
        if self.revisions[row]:
            event["revision"] = int(self.revisions[row])
        if self.qualities.at(row) != QUALITIES[0]:
            event["quality"] = self.qualities.at(row)
        event["data"] = self._values(row)
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()

    def id(self, row: int) -> str | None:
        """Return the id of a row's event."""
        return f"{self.ids}-{row}" if isinstance(self.ids, str) else self.ids.at(row)

    @cached_property
    def named(self) -> Flags:
        """Which rows have an id, a source and a type."""
        named = self.sources.given() & self.types.given()
        return named if isinstance(self.ids, str) else named & self.ids.given()

    def names(self) -> EventColumns:
        """Return what is kept of the rows as origins; of names that are the same in all rows, one."""
        base = self.ids if isinstance(self.ids, str) else ""
        ids = [] if isinstance(self.ids, str) else _all(self.ids)
        untimed = np.flatnonzero(~self.timed).tolist()
        return EventColumns(ids, _alike(self.sources), _alike(self.types), untimed, base)

    def _values(self, row: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for cells in self.cells:
            position = int(np.searchsorted(cells.rows, row))
            if position < len(cells) and cells.rows[position] == row:
                values[cells.paths[int(cells.path[position])]] = cells.value(position)
        return values


class Raws(Sequence[bytes]):
    """The rows of a table as JSON events, each made when it is asked for."""

    def __init__(self, table: EventTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Return the bytes of one row, or of some."""
        if isinstance(index, slice):
            return [self._table.raw(row) for row in range(*index.indices(len(self)))]
        return self._table.raw(index)


def _all(texts: Texts) -> list[str]:
    values = np.array([*(value or "" for value in texts.values), ""], object)
    return list(values[texts.codes])


def _alike(texts: Texts) -> list[str]:
    alike = len(texts.codes) > 0 and bool((texts.codes == texts.codes[0]).all())
    return [texts.at(0) or ""] if alike else _all(texts)


def _iso(time_us: int) -> str:
    return iso_us(time_us) if 0 <= time_us < ISO_MAX_US else f"{np.datetime64(time_us, 'us')}Z"
