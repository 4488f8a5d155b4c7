"""What is put together before its recorded time is known: a mark stands for the time, which later takes its place.

The mark is a time that nobody can name: random in each process, and never told to anyone, so that nothing that others
send holds its bytes. What is put together has it in three forms: as a number, as PostgreSQL's binary `timestamptz`,
and in MessagePack.
"""

from __future__ import annotations

import secrets
import struct

import numpy as np
import numpy.typing as npt

from gemel.store.columns import PG_EPOCH_US, TimestampArray

__all__ = ["UNSTAMPED_US", "stamp_array", "stamp_message", "stamp_stream", "stamp_times"]

UNSTAMPED_US = 1 << 61 | secrets.randbits(60)
"""Stands for a recorded time in µs; later than any."""

BINARY = struct.Struct(">q")
PACKED = struct.Struct(">BQ")
UINT64 = 0xCF
"""MessagePack's "uint 64": its byte, before the number."""


def stamp_times(times_us: npt.NDArray[np.int64], stamp_us: int) -> npt.NDArray[np.int64]:
    """Return times (µs), int64[n], with a recorded time where the mark stands."""
    return np.where(times_us == UNSTAMPED_US, stamp_us, times_us)


def stamp_stream(data: bytes, stamp_us: int) -> bytes:
    """Return binary data of PostgreSQL with a recorded time where the mark stands."""
    return data.replace(_binary(UNSTAMPED_US), _binary(stamp_us))


def stamp_array(times: TimestampArray, stamp_us: int) -> TimestampArray:
    """Return a timestamptz[] parameter with a recorded time where the mark stands."""
    return TimestampArray(stamp_stream(times.data, stamp_us))


def stamp_message(message: bytes, stamp_us: int) -> bytes:
    """Return MessagePack with a recorded time where the mark stands."""
    return message.replace(PACKED.pack(UINT64, UNSTAMPED_US), PACKED.pack(UINT64, stamp_us))


def _binary(time_us: int) -> bytes:
    return BINARY.pack(time_us - PG_EPOCH_US)
