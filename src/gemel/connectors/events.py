"""Rows as CloudEvents: one event for each row and twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gemel.connectors.rows import Chunk, MalformedRow
from gemel.mapping.cells import ColumnReader, column_reader
from gemel.mapping.tables import Mapping, TwinName, TwinRule
from gemel.mapping.times import time_reader

__all__ = ["EVENT_TYPE", "Event", "EventMaker", "Part"]

EVENT_TYPE = "gemel.samples"


class Event(msgspec.Struct, gc=False):
    """A CloudEvents 1.0 envelope whose `data` is an object of path to value.

    A row that could not be taken apart has its text as `data` instead, so that the platform quarantines it.
    """

    id: str
    source: str
    type: str
    time: str | msgspec.UnsetType
    subject: str | msgspec.UnsetType
    data: object
    revision: int | msgspec.UnsetType
    specversion: str = "1.0"


class Part(msgspec.Struct, gc=False):
    """Events whose twins, where missing, would be created of one model (None: the mapping names none).

    `rows` are the numbers of the rows that they are of.
    """

    model: str | None
    events: list[Event]
    rows: list[int]


class EventMaker:
    """Turns chunks of one file into events, by the rules of one mapping."""

    def __init__(self, mapping: Mapping, file_id: str) -> None:
        self._source = mapping.source
        self._revision = mapping.revision or msgspec.UNSET
        self._id_prefix = f"{mapping.source}:{file_id}"
        self._time_column = mapping.time.column
        self._times = time_reader(mapping.time)
        self._rules = [_Rule(rule, index) for index, rule in enumerate(mapping.twins)]

    def make(self, chunk: Chunk) -> tuple[list[Part], int]:
        """Return the events of a chunk by model, and how many twin rows had no value at all and made none.

        Ids are `<source>:<file id>:<row>:<twin>`: the same file gives the same ids again.
        """
        parts = {rule.model: Part(rule.model, [], []) for rule in self._rules}
        empty = 0
        if chunk.numbers:
            times = self._times(chunk.cells[self._time_column])
            for rule in self._rules:
                part = parts[rule.model]
                before = len(part.events)
                self._make(rule, chunk, times, part)
                empty += len(chunk.numbers) - (len(part.events) - before)
        first = parts[self._rules[0].model]
        first.events.extend(map(self._malformed, chunk.malformed))
        first.rows.extend(row.number for row in chunk.malformed)
        return [part for part in parts.values() if part.events], empty

    def _make(self, rule: _Rule, chunk: Chunk, times: Sequence[str], part: Part) -> None:
        source, prefix, suffix = self._source, self._id_prefix, rule.id_suffix
        rows = zip(chunk.numbers, times, rule.subjects(chunk), rule.data(chunk), strict=True)
        for number, time, subject, data in rows:
            if data is not None:
                event_id = f"{prefix}:{number}:{subject}{suffix}"
                given = subject if subject else msgspec.UNSET
                part.events.append(Event(event_id, source, EVENT_TYPE, time, given, data, self._revision))
                part.rows.append(number)

    def _malformed(self, row: MalformedRow) -> Event:
        # With a subject, what is wrong is the data, which is then what the platform says.
        subject = self._rules[0].template
        event_id = f"{self._id_prefix}:{row.number}:row"
        text = f"{row.problem}: {row.text}"
        return Event(event_id, self._source, EVENT_TYPE, msgspec.UNSET, subject, text, self._revision)


class _Rule:
    """One entry under `twins`, with its readers made."""

    def __init__(self, rule: TwinRule, index: int) -> None:
        self.model = rule.model
        self._name: TwinName = rule.twin
        self._constants = rule.constants
        self._readers: list[tuple[str, str, ColumnReader]] = [
            (value.path, value.column, column_reader(value)) for value in rule.values
        ]
        self.template = rule.twin.template
        self.fixed_subject = "" if rule.twin.columns else rule.twin.template
        # Two entries whose ids come from the rows may name the same twin; their events must still differ.
        self.id_suffix = f"/{index}" if index and rule.twin.columns else ""

    def subjects(self, chunk: Chunk) -> Iterable[str]:
        """Return each row's twin; empty where a cell of its name is."""
        if self.fixed_subject:
            return [self.fixed_subject] * len(chunk.numbers)
        texts = [[_name_text(cell) for cell in chunk.cells[column]] for column in self._name.columns]
        literals = self._name.literals
        return ["".join(_interleaved(literals, row)) if all(row) else "" for row in zip(*texts, strict=True)]

    def data(self, chunk: Chunk) -> Iterable[dict[str, object] | None]:
        """Return each row's values by path, constants included; None for a row without a value."""
        there = [
            (path, read(chunk.cells[column])) for path, column, read in self._readers if column in chunk.cells
        ]
        if not there:
            return [None] * len(chunk.numbers)
        paths = [path for path, _ in there]
        rows = zip(*(values for _, values in there), strict=True)
        if any(None in values for _, values in there):
            return [self._with_gaps(paths, row) for row in rows]
        constants = self._constants
        return [{**dict(zip(paths, row, strict=True)), **constants} for row in rows]

    def _with_gaps(self, paths: Sequence[str], row: Sequence[object]) -> dict[str, object] | None:
        data = {path: value for path, value in zip(paths, row, strict=True) if value is not None}
        return data | self._constants if data else None


def _name_text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _interleaved(literals: Sequence[str], cells: Sequence[str]) -> Iterable[str]:
    yield literals[0]
    for cell, literal in zip(cells, literals[1:], strict=True):
        yield cell
        yield literal
