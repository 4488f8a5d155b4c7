"""What is put together with the mark and stamped later is what is put together with the stamp."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from gemel.history.samples import SampleBatch
from gemel.history.unstamped import UNSTAMPED_US, stamp_array, stamp_message, stamp_stream, stamp_times
from gemel.history.write import pack_first_samples
from gemel.store.columns import timestamps

STAMP_US = 1_763_900_000_123_456


def times(now_us: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([now_us, 0, now_us, 1, STAMP_US - 1], np.int64)


def batch(now_us: int) -> SampleBatch:
    count = len(times(now_us))
    return SampleBatch(
        series=np.arange(count, dtype=np.int64),
        time_us=times(now_us),
        recorded_us=np.full(count, now_us, np.int64),
        num=np.array([1.5, np.nan, 2.0, np.nan, np.nan]),
        kind=np.array([0, 2, 1, 2, 3], np.int16),
        revision=np.zeros(count, np.int32),
        quality=np.zeros(count, np.int16),
        docs=[None, '"a text"', None, "true", None],
    )


@pytest.mark.parametrize("stamp_us", [STAMP_US, UNSTAMPED_US])
def test_columns_and_messages(stamp_us: int) -> None:
    assert (stamp_times(times(UNSTAMPED_US), stamp_us) == times(stamp_us)).all()
    assert stamp_array(timestamps(times(UNSTAMPED_US)), stamp_us) == timestamps(times(stamp_us))
    told, encode = [{"from": 0, "x": "text"}, 5], msgspec.msgpack.encode
    assert stamp_message(encode([UNSTAMPED_US, *told]), stamp_us) == encode([stamp_us, *told])


def test_samples() -> None:
    marked, known = (
        pack_first_samples(batch(UNSTAMPED_US), STAMP_US),
        pack_first_samples(batch(STAMP_US), STAMP_US),
    )
    assert len(known.streams) > 1
    assert [(leaf, stamp_stream(data, STAMP_US)) for leaf, data in marked.streams] == known.streams
