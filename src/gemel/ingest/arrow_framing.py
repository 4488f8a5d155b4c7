"""How much an Arrow IPC stream holds, read off its messages before anything of it is unpacked.

Buffers may be compressed, dictionaries shared and lengths claimed, so that a small body can ask for any amount of
memory; what it asks for stands in its metadata. Source: Apache Arrow Columnar Format 1.5, "IPC Streaming Format",
and the FlatBuffers internals for the layout of tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gemel.base.errors import GemelError, InvalidError, TooLargeError
from gemel.ingest.framing import EVENTS_MAX, VALUES_MAX

__all__ = ["COLUMNS_MAX", "UNPACKED_MAX", "Size", "malformed", "measure"]

COLUMNS_MAX = 2_000
MESSAGES_MAX = 5_000
UNPACKED_MAX = 64 << 20
"""The most bytes that the buffers of one stream may have, once uncompressed."""

CONTINUATION = 0xFFFFFFFF
SCHEMA, DICTIONARY_BATCH, RECORD_BATCH = 1, 2, 3
NO_COMPRESSION = -1


class Size(NamedTuple):
    """What a stream holds: rows, cells (rows times columns), and bytes once uncompressed."""

    rows: int
    cells: int
    unpacked: int


def measure(body: bytes) -> Size:
    """Walk the messages of a stream and return what they hold.

    Raises InvalidError: BodyMalformed where it is no whole stream, ColumnsInvalid where its columns nest or are
    more than COLUMNS_MAX; TooLargeError (BodyTooLarge) over EVENTS_MAX rows, VALUES_MAX cells or UNPACKED_MAX bytes.
    """
    columns = rows = unpacked = 0
    try:
        for number, message in enumerate(_messages(body)):
            if (number == 0) != (message.kind == SCHEMA):
                raise malformed("a stream begins with its one schema")
            if message.kind == SCHEMA:
                columns = _columns(message.header)
                continue
            length, size = _batch(message)
            if not 0 <= length <= VALUES_MAX:
                raise _too_large(f"a batch of {length} rows")
            rows += length if message.kind == RECORD_BATCH else 0
            unpacked += size
            _check(rows, rows * columns, unpacked)
    except (struct.error, IndexError, ValueError) as error:
        raise malformed("its metadata does not hold together") from error
    return Size(rows, rows * columns, unpacked)


def malformed(why: str) -> InvalidError:
    """Return the refusal of a body that is no Arrow stream."""
    return InvalidError(
        "BodyMalformed",
        f"The body is no whole Arrow IPC stream: {why}.",
        "Write it with pyarrow.ipc.new_stream, say, and close the writer before sending.",
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of FlatBuffers: where it stands in its buffer."""

    data: memoryview
    at: int

    def place(self, field: int) -> int | None:
        """Return where a field's value stands; None where it has the default."""
        table = self.at - _read("<i", self.data, self.at)
        entry = 4 + 2 * field
        if entry >= _read("<H", self.data, table):
            return None
        offset = _read("<H", self.data, table + entry)
        return self.at + offset if offset else None

    def number(self, field: int, layout: str) -> int:
        """Return a field that is a number; 0 by default."""
        place = self.place(field)
        return 0 if place is None else _read(layout, self.data, place)

    def table(self, field: int) -> _Table | None:
        """Return a field that is a table."""
        place = self.place(field)
        return None if place is None else _Table(self.data, place + _read("<I", self.data, place))

    def vector(self, field: int) -> tuple[int, int]:
        """Return where the items of a vector begin, and how many they are."""
        place = self.place(field)
        if place is None:
            return 0, 0
        start = place + _read("<I", self.data, place)
        return start + 4, _read("<I", self.data, start)


@dataclass(frozen=True, slots=True)
class _Message:
    kind: int
    header: _Table
    body: memoryview


def _read(layout: str, data: memoryview, at: int) -> int:
    if at < 0:
        raise ValueError("offset")
    return int(struct.unpack_from(layout, data, at)[0])


def _messages(body: bytes) -> Iterator[_Message]:
    """Give the messages up to the mark of the end, which must be there, at the end."""
    view, at = memoryview(body), 0
    for _ in range(MESSAGES_MAX):
        if len(view) - at < 8:
            raise malformed("it has no end-of-stream mark; it may have been cut")
        mark, size = struct.unpack_from("<Ii", view, at)
        if mark != CONTINUATION or size < 0:
            raise malformed(f"there is no message at byte {at}")
        at += 8
        if size == 0:
            if at != len(view):
                raise malformed(f"it ends at byte {at}, and {len(view) - at} more follow")
            return
        metadata = view[at : at + size]
        message = _Table(metadata, _read("<I", metadata, 0))
        header, length = message.table(2), message.number(3, "<q")
        at += size
        if header is None or length < 0 or at + length > len(view):
            raise malformed(f"it is cut within the message that ends at byte {at + max(length, 0)}")
        kind = message.number(1, "<B")
        if kind not in (SCHEMA, DICTIONARY_BATCH, RECORD_BATCH):
            raise malformed(f"it has a message of kind {kind}, which streams of tables have not")
        yield _Message(kind, header, view[at : at + length])
        at += length
    raise _too_large(f"more than {MESSAGES_MAX} messages")


def _columns(schema: _Table) -> int:
    start, count = schema.vector(1)
    if count > COLUMNS_MAX:
        raise InvalidError(
            "ColumnsInvalid",
            f"The stream has {count} columns, more than {COLUMNS_MAX}.",
            "Split it by columns, or send the layout of rows: twin, path, time, value.",
        )
    for place in range(start, start + 4 * count, 4):
        column = _Table(schema.data, place + _read("<I", schema.data, place))
        if column.vector(5)[1]:
            name_at, length = column.vector(0)
            name = bytes(schema.data[name_at : name_at + length]).decode("utf-8", "replace")[:80]
            raise InvalidError(
                "ColumnsInvalid",
                f"The column {name!r} is of a nested type, which is not taken.",
                "Send lists, maps and objects as JSON texts of the type arrow.json.",
            )
    return count


def _batch(message: _Message) -> tuple[int, int]:
    """Return a batch's rows and the bytes of its buffers once uncompressed."""
    batch = message.header.table(1) if message.kind == DICTIONARY_BATCH else message.header
    if batch is None:
        raise malformed("a dictionary has no values")
    start, count = batch.vector(2)
    buffers = np.frombuffer(batch.data, "<i8", 2 * count, start if count else 0).reshape(-1, 2)
    if (buffers < 0).any() or (buffers.sum(axis=1) > len(message.body)).any():
        raise malformed("a buffer lies outside its message")
    if batch.table(3) is None:
        return batch.number(0, "<q"), int(buffers[:, 1].sum())
    size = 0
    for offset, length in buffers.tolist():
        if length:
            own = _read("<q", message.body, offset)
            if own < NO_COMPRESSION:
                raise malformed("a buffer has a size below zero")
            size += length - 8 if own == NO_COMPRESSION else own
    return batch.number(0, "<q"), size


def _check(rows: int, cells: int, unpacked: int) -> None:
    if rows > EVENTS_MAX:
        raise _too_large(f"more than {EVENTS_MAX} rows")
    if cells > VALUES_MAX:
        raise _too_large(f"more than {VALUES_MAX} cells")
    if unpacked > UNPACKED_MAX:
        raise _too_large(f"more than {UNPACKED_MAX} bytes once uncompressed")


def _too_large(what: str) -> GemelError:
    return TooLargeError("BodyTooLarge", f"The stream has {what}.", "Split it.")
