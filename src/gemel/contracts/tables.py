"""Events and rows of files as columns for a check: as they are decoded already, and not once more sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np

from gemel.base.clock import to_us
from gemel.contracts.columns import Columns, Facts, Ints, Known, facts_of
from gemel.ingest.events import Event
from gemel.ingest.table import Cells, EventTable, Texts
from gemel.mapping.paths import Path

__all__ = ["CellColumns", "EventColumns", "TableColumns"]

DATA: Final = "data"
TIME: Final = "time"
NOTHING: Final[dict[str, Any]] = {}


class EventColumns(Columns):
    """CloudEvents as samples: `subject`, `time`, `data.PATH` and so on stand where their JSON has them."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__(())
        self._events = events
        self._plain = {(): [NOTHING] * len(events), (DATA,): [event.data for event in events]}

    def __len__(self) -> int:
        return len(self._events)

    def samples(self) -> Sequence[dict[str, Any]]:
        """Return the events as JSON has them."""
        return [msgspec.json.decode(msgspec.json.encode(event)) for event in self._events]

    def moments(self, path: Path) -> Ints | None:
        """Return the times of the events, where it is those that are asked for, and all have one."""
        times = [event.time for event in self._events] if path.text == TIME else []
        return _moments(times) if set(map(type, times)) == {datetime} else None

    def knows(self, known: Known) -> bool:
        """Whether no event has values that are not named; what it says of itself is known."""
        within = next((inner for key, inner in known.within if key == DATA), None)
        return DATA in known.keys if within is None else self._knows((DATA,), within)

    def _read(self, keys: tuple[str, ...]) -> list[Any]:
        if len(keys) > 1:
            return super()._read(keys)
        found = [getattr(event, keys[0], None) for event in self._events]
        return [told and told.isoformat() for told in found] if keys[0] == TIME else found


class TableColumns(Columns):
    """A table of events (Arrow) as samples, with the paths of their JSON."""

    def __init__(self, table: EventTable) -> None:
        super().__init__(())
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def samples(self) -> Sequence[dict[str, Any]]:
        """Return the events as JSON has them."""
        return [msgspec.json.decode(self._table.raw(row)) for row in range(len(self))]

    def facts(self, path: Path) -> Facts:
        """Return what is seen of a column, values by their arrays."""
        keys = path.keys or ()
        if len(keys) < 2 or keys[0] != DATA:
            return facts_of(self.at(path))
        parts = self._parts(".".join(keys[1:]))
        if len(parts) != 1:
            return facts_of(self.at(path))
        cells, chosen = parts[0]
        return _facts(cells, chosen, len(self))

    def coded(self, path: Path) -> tuple[list[str], Ints] | None:
        """Return the twins, where it is those that are asked for."""
        if path.text != "subject":
            return None
        twins = self._table.twins
        # The last one stands for null, whose code is -1.
        return [str(value) for value in (*twins.values, None)], np.where(
            twins.codes < 0, len(twins.values), twins.codes
        )

    def moments(self, path: Path) -> Ints | None:
        """Return the times of the events, where it is those that are asked for, and all have one."""
        return self._table.time_us if path.text == TIME and bool(self._table.timed.all()) else None

    def knows(self, known: Known) -> bool:
        """Whether no event has values that are not named; what it says of itself is known."""
        within = next((inner for key, inner in known.within if key == DATA), None)
        if within is None:
            return DATA in known.keys
        # What others lie within is no name itself.
        named = within.keys - {key for key, _ in within.within}
        return all(named.issuperset(cells.paths) for cells in self._table.cells)

    def _at(self, keys: tuple[str, ...]) -> list[Any]:
        found = self._plain.get(keys)
        if found is None:
            found = self._plain[keys] = self._column(keys)
        return found

    def _column(self, keys: tuple[str, ...]) -> list[Any]:
        table = self._table
        texts = {
            "subject": table.twins,
            "source": table.sources,
            "type": table.types,
            "quality": table.qualities,
        }
        if len(keys) == 1 and keys[0] in texts:
            return _listed(texts[keys[0]])
        if len(keys) < 2 or keys[0] != DATA:
            return [_walked(sample, keys) for sample in self.samples()]
        found: list[Any] = [None] * len(table)
        for cells, chosen in self._parts(".".join(keys[1:])):
            for position in chosen.tolist():
                found[int(cells.rows[position])] = cells.value(position)
        return found

    def _parts(self, path: str) -> list[tuple[Cells, Ints]]:
        """Return the cells that have values of a path, and at which positions."""
        return [
            (cells, np.flatnonzero(cells.path == cells.paths.index(path)))
            for cells in self._table.cells
            if path in cells.paths
        ]


class CellColumns(Columns):
    """Rows of a file as samples, by column; a column's name is its path."""

    def __init__(self, cells: Mapping[str, Sequence[object]], rows: int) -> None:
        super().__init__(())
        self._cells = cells
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def samples(self) -> Sequence[dict[str, Any]]:
        """Return the rows, without cells that are empty."""
        rows = zip(*self._cells.values(), strict=True)
        return [
            {name: cell for name, cell in zip(self._cells, row, strict=True) if cell is not None}
            for row in rows
        ]

    def knows(self, known: Known) -> bool:
        """Whether no row has columns that are not named."""
        return known.keys.issuperset(self._cells)

    def _at(self, keys: tuple[str, ...]) -> list[Any]:
        return list(self._cells.get(".".join(keys), (None,) * self._rows))


def _facts(cells: Cells, chosen: Ints, rows: int) -> Facts:
    gaps = len(chosen) < rows
    if not len(chosen):
        return Facts(frozenset(), gaps)
    if cells.numbers is None:
        values = [cells.distinct[code] for code in np.unique(cells.codes[chosen]).tolist()]
        return facts_of(values)._replace(gaps=gaps)
    numbers = cells.numbers[chosen]
    types = frozenset({float} if numbers.dtype == np.float64 else {int})
    least, most = float(numbers.min()), float(numbers.max())
    return Facts(types, gaps, least, most) if math.isfinite(least + most) else Facts(types, gaps)


def _listed(texts: Texts) -> list[Any]:
    values = np.array([*texts.values, None], object)
    return list(values[texts.codes])


def _walked(sample: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        sample = sample.get(key) if isinstance(sample, dict) else None
    return sample


def _moments(times: Sequence[Any]) -> Ints:
    if times and min(times).year >= 1970 and max(times).year <= 2261:
        # Doubles hold seconds of these years to less than a microsecond.
        seconds = np.array([moment.timestamp() for moment in times])
        return np.rint(seconds * 1e6).astype(np.int64)
    return np.fromiter(map(to_us, times), np.int64, len(times))
