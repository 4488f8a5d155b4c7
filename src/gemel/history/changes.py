"""The change feed: one row for each change of graph or models, one chunk row for each commit of samples.

Numbers are gapless in the order of commit (gemel.store.database), so a reader never passes a change that
commits later. A chunk holds the samples that took effect, as little-endian columns in MessagePack.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import psycopg

from gemel.history.samples import SampleBatch
from gemel.store.columns import bigints, byteas, texts, timestamps
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "CHUNK_SAMPLES_MAX",
    "CURRENT",
    "FIRST",
    "SAMPLES",
    "Change",
    "append",
    "append_all",
    "append_samples",
    "effects_of",
    "forget_changes",
    "read_changes",
    "samples_of",
]

SAMPLES = "samples"
CHUNK_SAMPLES_MAX = 20_000
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
INSERT_ALL = """
INSERT INTO change (tenant, change_no, recorded, kind, body)
SELECT current_tenant(), * FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::bytea[])"""
READ = """
SELECT change_no, (extract(epoch FROM recorded) * 1000000)::bigint, kind, body
FROM (SELECT *, sum(octet_length(body)) OVER (ORDER BY change_no) - octet_length(body) AS before
      FROM (SELECT * FROM change WHERE tenant = current_tenant() AND change_no > %s
            ORDER BY change_no LIMIT %s) AS following) AS measured
WHERE before < %s ORDER BY change_no"""

FORGET = "DELETE FROM change WHERE recorded < now() - %s * interval '1 day'"


class Change(msgspec.Struct, frozen=True):
    """One entry of the feed; `body` is a payload, or a chunk for `samples_of`."""

    change_no: int
    recorded_us: int
    kind: str
    body: bytes

    def payload(self) -> dict[str, Any]:
        """Return what was told of a change of graph or models."""
        told: dict[str, Any] = msgspec.msgpack.decode(self.body)
        return told


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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Chunk)


async def append(tx: WriteTransaction, kind: str, payload: dict[str, Any]) -> None:
    """Tell the feed of one change of graph or models; `payload` is JSON-like."""
    await tx.execute(INSERT, (tx.next_change_no(), tx.stamp(), kind, _encoder.encode(payload)))


async def append_all(tx: WriteTransaction, told: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Tell the feed of many changes, each with its kind and payload, in their order and in one statement."""
    if not told:
        return
    numbers = [tx.next_change_no() for _ in told]
    stamps = [tx.stamp() for _ in told]
    columns = (bigints(np.array(numbers, np.int64)), timestamps(np.array(stamps, np.int64)))
    bodies = await asyncio.to_thread(_bodies, told) if len(told) > INLINE_MAX else _bodies(told)
    await tx.execute(INSERT_ALL, (*columns, texts([kind for kind, _ in told]), byteas(bodies)))


def _bodies(told: Sequence[tuple[str, dict[str, Any]]]) -> list[bytes]:
    return [_encoder.encode(payload) for _, payload in told]


async def append_samples(tx: WriteTransaction, batch: SampleBatch, effects: Effects) -> None:
    """Tell the feed of samples that took effect, and of their effects, in chunks of at most CHUNK_SAMPLES_MAX."""
    for start in range(0, len(batch), CHUNK_SAMPLES_MAX):
        end = min(start + CHUNK_SAMPLES_MAX, len(batch))
        chunk = _chunk(batch.take(np.arange(start, end)), effects[start:end])
        await tx.execute(INSERT, (tx.next_change_no(), tx.recorded_us, SAMPLES, _encoder.encode(chunk)))


async def read_changes(
    tx: ReadTransaction, after: int, limit: int, *, bytes_max: int = BYTES_MAX
) -> list[Change]:
    """Return the next changes after a number, in order: the first, and more while they stay below `bytes_max`."""
    return [Change(*row) for row in await tx.rows(READ, (after, limit, bytes_max))]


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


def _chunk(batch: SampleBatch, effects: Effects) -> _Chunk:
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
    )
