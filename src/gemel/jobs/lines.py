"""An import file read in batches of lines of one section, from any offset on; memory is bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple

import msgspec

from gemel.base.errors import GemelError, InvalidError, TooLargeError

__all__ = [
    "HEADER",
    "LINE_BYTES_MAX",
    "MODELS",
    "RELATIONSHIPS",
    "TWINS",
    "Batch",
    "Line",
    "Lines",
    "Row",
    "rows_of",
]

SECTIONS = HEADER, MODELS, TWINS, RELATIONSHIPS = ("Header", "Models", "Twins", "Relationships")
LINE_BYTES_MAX = 1 << 20
BOM = b"\xef\xbb\xbf"
BATCH_LINES = {"": 1, HEADER: 10, MODELS: 10_000, TWINS: 2_500, RELATIONSHIPS: 10_000}
BATCH_BYTES = {"": 1, HEADER: 1 << 20, MODELS: 64 << 20, TWINS: 4 << 20, RELATIONSHIPS: 4 << 20}


class Line(NamedTuple):
    """One line as it stands in the file: its number from 1, where the next one starts, its text, or why it has none."""

    number: int
    end: int
    text: bytes | GemelError


class Row(NamedTuple):
    """One line, read: its number from 1, where the next one starts, and its value, or the error why it has none."""

    number: int
    end: int
    value: Any


@dataclass(frozen=True)
class Batch:
    """Lines of one section in order; at byte `end`, behind `line` lines, the file goes on with `follows`.

    `follows` is the same section, the next one (its marker is read), or None at the end of the file.
    """

    section: str
    lines: list[Line]
    end: int
    line: int
    follows: str | None

    @cached_property
    def rows(self) -> list[Row]:
        """The lines, read."""
        return rows_of(self.lines)


class Lines:
    """Reads a file from `offset`, behind `line` lines of it, within `section` ("" before the first)."""

    def __init__(self, file: BinaryIO, section: str, offset: int, line: int) -> None:
        self._file = file
        self._section = section
        self._line = line
        self._offset = offset
        file.seek(offset, os.SEEK_SET)

    def batches(self) -> Iterator[Batch]:
        """Yield batch after batch; raise InvalidError (ImportFileInvalid) where the sections are not in order."""
        follows: str | None = self._section
        while follows is not None:
            self._section = follows
            batch = self._batch()
            yield batch
            follows = batch.follows

    def _batch(self) -> Batch:
        lines: list[Line] = []
        start = self._offset
        follows: str | None = self._section
        while len(lines) < BATCH_LINES[self._section] and self._offset - start < BATCH_BYTES[self._section]:
            before = self._offset, self._line
            line = self._next()
            if line is None:
                if not self._section:
                    raise self._invalid('must begin with {"Section": "Header"}')
                follows = None
                break
            marker = _marker(line.text)
            if marker is None:
                if not self._section:
                    raise self._invalid('must begin with {"Section": "Header"}')
                lines.append(line)
                continue
            if lines and self._fault_of(marker):
                # First the rows before it: the fault is found again when they are done.
                self._offset, self._line = before
                self._file.seek(self._offset)
            else:
                follows = self._following(marker)
            break
        return Batch(self._section, lines, self._offset, self._line, follows)

    def _following(self, name: str) -> str:
        fault = self._fault_of(name)
        if fault is not None:
            raise self._invalid(fault)
        return name

    def _fault_of(self, name: str) -> str | None:
        order = ("", *SECTIONS)
        if name not in order[1:]:
            return f"names a section {name[:40]!r}; there are {', '.join(SECTIONS)}"
        if not self._section and name != HEADER:
            return 'must begin with {"Section": "Header"}'
        if order.index(name) <= order.index(self._section):
            return f"has its section {name} behind {self._section}"
        return None

    def _next(self) -> Line | None:
        """Return the next line that is not blank."""
        while True:
            text = self._file.readline(LINE_BYTES_MAX)
            if not text:
                return None
            first = self._offset == 0
            self._line += 1
            self._offset += len(text)
            if len(text) == LINE_BYTES_MAX and not text.endswith(b"\n"):
                self._skip()
                fault = TooLargeError("LimitExceeded", f"The line has more than {LINE_BYTES_MAX} bytes.")
                return Line(self._line, self._offset, fault)
            if not text.isspace():
                return Line(self._line, self._offset, text.removeprefix(BOM) if first else text)

    def _skip(self) -> None:
        while text := self._file.readline(LINE_BYTES_MAX):
            self._offset += len(text)
            if text.endswith(b"\n"):
                return

    def _invalid(self, reason: str) -> InvalidError:
        where = f"The file, line {self._line}," if self._line else "The file is empty: it"
        return InvalidError("ImportFileInvalid", f"{where} {reason}.", "See the guide on imports.")


def rows_of(lines: Sequence[Line]) -> list[Row]:
    """Return lines, read."""
    return [
        Row(number, end, text if isinstance(text, GemelError) else _value(text))
        for number, end, text in lines
    ]


def _value(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return InvalidError("BodyMalformed", f"The line is not JSON: {error}.")


def _marker(text: bytes | GemelError) -> str | None:
    # Any letter may be written with a backslash; most lines have none, and are not read here.
    if isinstance(text, GemelError) or not (b"Section" in text or b"\\" in text):
        return None
    value = _value(text)
    return (
        str(value["Section"]) if isinstance(value, dict) and len(value) == 1 and "Section" in value else None
    )
