"""The change feed: changes of graph and models, each with its number, and one chunk for each commit of samples.

Numbers are gapless in the order of commit (gemel.store.database), so a reader never passes a change that
commits later. A chunk holds the samples that took effect, as little-endian columns in MessagePack. Changes of graph
and models that a bulk write tells are stored many to a row, under the number of the last; a reader gets each by itself.
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import psycopg

from gemel.history.samples import SampleBatch
from gemel.history.unstamped import stamp_message
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "ALONE_MAX",
    "CHUNK_SAMPLES_MAX",
    "CURRENT",
    "FIRST",
    "SAMPLES",
    "TOLD",
    "TOLD_BYTES_MAX",
    "TOLD_CHANGES_MAX",
    "Change",
    "Parcel",
    "append",
    "append_all",
    "append_chunks",
    "append_parcels",
    "append_samples",
    "effects_of",
    "forget_changes",
    "pack",
    "pack_samples",
    "parcels",
    "read_changes",
    "samples_of",
    "stamp_parcels",
    "traces_of",
]

SAMPLES = "samples"
CHUNK_SAMPLES_MAX = 20_000
TOLD = "told"
"""The kind of a row that holds many changes."""
ALONE_MAX = 20
"""Changes that are told one by one, each in its row; of more, many share one."""
TOLD_CHANGES_MAX = 500
TOLD_BYTES_MAX = 256 << 10
"""What one row holds at most: whoever reads a page that ends in it, reads it again for the next."""
INLINE_MAX = 200
"""Changes that are encoded on the event loop; of more, a thread does it."""
BYTES_MAX = 4 << 20
"""How much is read at once, beyond the first change."""

CURRENT, FIRST = 1, 2
"""Effects of a sample, as bits: it was its series' state in its turn; it was the first that its series had."""

Effects = npt.NDArray[np.uint8]

INSERT = """
INSERT INTO change (tenant, change_no, recorded, kind, body)
VALUES (current_tenant(), %s, to_timestamp(0) + %s * interval '1 microsecond', %s, %s)"""
INSERT_TOLD = """
INSERT INTO change (tenant, change_no, recorded, kind, body, changes)
VALUES (current_tenant(), %s, to_timestamp(0) + %s * interval '1 microsecond', %s, %s, %s)"""
READ = """
SELECT change_no, (extract(epoch FROM recorded) * 1000000)::bigint, kind, body, changes
FROM (SELECT *, sum(octet_length(body)) OVER (ORDER BY change_no) - octet_length(body) AS before
      FROM (SELECT * FROM change WHERE tenant = current_tenant() AND change_no > %s
            ORDER BY change_no LIMIT %s) AS following) AS measured
WHERE before < %s ORDER BY change_no"""

FORGET = "DELETE FROM change WHERE recorded < now() - %s * interval '1 day'"


class Change(msgspec.Struct, frozen=True):
    """One entry of the feed; `body` is a payload, or a chunk for `samples_of`.

    `traceparent` is that of one told among many; of others it stands in their body.
    """

    change_no: int
    recorded_us: int
    kind: str
    body: bytes
    traceparent: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return what was told of a change of graph or models, with its `traceparent` where it has one."""
        told: dict[str, Any] = msgspec.msgpack.decode(self.body)
        return told if self.traceparent is None else told | {TRACE: self.traceparent}


class Parcel(NamedTuple):
    """A row of the feed that lies ready: how many changes it has, and these, in MessagePack."""

    changes: int
    body: bytes


class _Chunk(msgspec.Struct, array_like=True, frozen=True):
    series: bytes
    time_us: bytes
    recorded_us: bytes
    num: bytes
    kind: bytes
    revision: bytes
    quality: bytes
    docs: list[str | None] | None
    effects: bytes = b""
    traces: list[tuple[int, str]] = []


class _Told(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    payload: msgspec.Raw
    traceparent: str | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Chunk)
_one_decoder = msgspec.msgpack.Decoder(_Told)
_told_decoder = msgspec.msgpack.Decoder(list[_Told])
# MessagePack's "array 32": its byte, and how many follow.
ARRAY, ARRAY_32 = struct.Struct(">BI"), 0xDD
TRACE = "traceparent"


async def append(tx: WriteTransaction, kind: str, payload: dict[str, Any]) -> None:
    """Tell the feed of one change of graph or models; `payload` is JSON-like. The transaction's trace goes along."""
    if tx.traces:
        payload = payload | {TRACE: tx.traces[-1][1]}
    await tx.execute(INSERT, (tx.next_change_no(), tx.stamp(), kind, _encoder.encode(payload)))


async def append_all(tx: WriteTransaction, told: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Tell the feed of many changes, each with its kind and payload, in their order."""
    packed = await asyncio.to_thread(_packed, told) if len(told) > INLINE_MAX else _packed(told)
    async with tx.in_one_trip():
        await append_parcels(tx, packed)


def pack(kind: str, payload: dict[str, Any] | msgspec.Struct) -> bytes:
    """Return a change as `parcels` takes it."""
    return _encoder.encode((kind, payload))


def _packed(told: Sequence[tuple[str, dict[str, Any]]]) -> list[Parcel]:
    return parcels(list(map(_encoder.encode, told)))


def parcels(packed: Sequence[bytes]) -> list[Parcel]:
    """Return changes in their order as rows of the feed: of more than a few, many to a row."""
    if len(packed) <= ALONE_MAX:
        return [Parcel(1, body) for body in packed]
    return [_parcel(chunk) for chunk in _chunks(packed)]


def _parcel(chunk: Sequence[bytes]) -> Parcel:
    return Parcel(
        len(chunk), b"".join((ARRAY.pack(ARRAY_32, len(chunk)), *chunk)) if len(chunk) > 1 else chunk[0]
    )


def stamp_parcels(told: Sequence[Parcel], stamp_us: int) -> list[Parcel]:
    """Return rows of the feed with a recorded time where UNSTAMPED_US stands in them."""
    return [Parcel(count, stamp_message(body, stamp_us)) for count, body in told]


async def append_parcels(tx: WriteTransaction, told: Sequence[Parcel]) -> None:
    """Tell the feed of changes that lie ready."""
    for count, body in told:
        if count == 1:
            one = _one_decoder.decode(body)
            await append(tx, one.kind, msgspec.msgpack.decode(one.payload))
        else:
            last_no = tx.next_change_nos(count) + count - 1
            await tx.execute(INSERT_TOLD, (last_no, tx.stamps(count), TOLD, _traced(tx, body), count))


def _traced(tx: WriteTransaction, body: bytes) -> bytes:
    """Return many changes with the transaction's trace, if it has one, behind each."""
    if not tx.traces:
        return body
    trace = tx.traces[-1][1]
    return _encoder.encode([(each.kind, each.payload, trace) for each in _told_decoder.decode(body)])


def _chunks(packed: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start, size = 0, 0
    for position, body in enumerate(packed):
        if position - start == TOLD_CHANGES_MAX or (size and size + len(body) > TOLD_BYTES_MAX):
            yield packed[start:position]
            start, size = position, 0
        size += len(body)
    if start < len(packed):
        yield packed[start:]


async def append_samples(tx: WriteTransaction, batch: SampleBatch, effects: Effects) -> None:
    """Tell the feed of samples that took effect, and of their effects."""
    await append_chunks(tx, pack_samples(batch, effects, tx.traces))


def pack_samples(batch: SampleBatch, effects: Effects, traces: Sequence[tuple[int, str]]) -> list[bytes]:
    """Return samples that took effect as chunks of at most CHUNK_SAMPLES_MAX; `traces` are the transaction's."""
    chunks = []
    for start in range(0, len(batch), CHUNK_SAMPLES_MAX):
        end = min(start + CHUNK_SAMPLES_MAX, len(batch))
        part = batch.part(start, end)
        chunks.append(_encoder.encode(_chunk(part, effects[start:end], _traces(traces, part))))
    return chunks


async def append_chunks(tx: WriteTransaction, chunks: Sequence[bytes]) -> None:
    """Tell the feed of samples that lie ready."""
    for chunk in chunks:
        await tx.execute(INSERT, (tx.next_change_no(), tx.recorded_us, SAMPLES, chunk))


async def read_changes(
    tx: ReadTransaction, after: int, limit: int, *, bytes_max: int = BYTES_MAX
) -> list[Change]:
    """Return the next changes after a number, in order: the first, and more while they stay below `bytes_max`."""
    found: list[Change] = []
    size = 0
    for row in await tx.rows(READ, (after, limit, bytes_max)):
        for change in _changes_of(*row):
            if change.change_no <= after:
                continue
            if len(found) == limit or (found and size >= bytes_max):
                return found
            found.append(change)
            size += len(change.body)
    return found


def _changes_of(last_no: int, recorded_us: int, kind: str, body: bytes, count: int) -> Iterator[Change]:
    if kind != TOLD:
        yield Change(last_no, recorded_us, kind, body)
        return
    first_no = last_no - count + 1
    for place, told in enumerate(_told_decoder.decode(body)):
        yield Change(first_no + place, recorded_us + place, told.kind, bytes(told.payload), told.traceparent)


def forget_changes(owner: psycopg.Connection, days: int) -> None:
    """Forget, for all tenants, changes that are older; on the owner's connection."""
    owner.execute(FORGET, (days,))


def samples_of(change: Change) -> SampleBatch:
    """Return the samples of a chunk."""
    chunk = _decoder.decode(change.body)
    return SampleBatch(
        series=np.frombuffer(chunk.series, "<i8").astype(np.int64),
        time_us=np.frombuffer(chunk.time_us, "<i8").astype(np.int64),
        recorded_us=np.frombuffer(chunk.recorded_us, "<i8").astype(np.int64),
        num=np.frombuffer(chunk.num, "<f8").astype(np.float64),
        kind=np.frombuffer(chunk.kind, "<i2").astype(np.int16),
        revision=np.frombuffer(chunk.revision, "<i4").astype(np.int32),
        quality=np.frombuffer(chunk.quality, "<i2").astype(np.int16),
        docs=chunk.docs,
    )


def effects_of(change: Change) -> Effects:
    """Return the effects of a chunk's samples, uint8[n]; of a chunk that does not tell, all were current."""
    chunk = _decoder.decode(change.body)
    if not chunk.effects:
        return np.full(len(chunk.series) // 8, CURRENT, np.uint8)
    return np.frombuffer(chunk.effects, np.uint8)


def traces_of(change: Change) -> Callable[[int], str | None]:
    """Return what gives the `traceparent` of a chunk's samples, if any, by their recorded time (µs)."""
    traces = _decoder.decode(change.body).traces
    begins = [begin_us for begin_us, _ in traces]

    def at(recorded_us: int) -> str | None:
        place = bisect_right(begins, recorded_us)
        return traces[place - 1][1] if place else None

    return at


def _traces(traces: Sequence[tuple[int, str]], batch: SampleBatch) -> list[tuple[int, str]]:
    """Return those of a transaction's traces that samples belong to."""
    if len(traces) < 2:
        return list(traces)
    first_us, last_us = int(batch.recorded_us.min()), int(batch.recorded_us.max())
    begins = [begin_us for begin_us, _ in traces]
    return list(traces[max(0, bisect_right(begins, first_us) - 1) : bisect_right(begins, last_us)])


def _chunk(batch: SampleBatch, effects: Effects, traces: list[tuple[int, str]]) -> _Chunk:
    return _Chunk(
        batch.series.astype("<i8").tobytes(),
        batch.time_us.astype("<i8").tobytes(),
        batch.recorded_us.astype("<i8").tobytes(),
        batch.num.astype("<f8").tobytes(),
        batch.kind.astype("<i2").tobytes(),
        batch.revision.astype("<i4").tobytes(),
        batch.quality.astype("<i2").tobytes(),
        batch.docs,
        effects.tobytes(),
        traces,
    )
