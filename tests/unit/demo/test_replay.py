"""Pacing against a clock that only moves when somebody sleeps or works."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.demo.replay import Pace, Pacer


class FakeTime:
    """A clock in µs and its sleep."""

    def __init__(self) -> None:
        self.now_us = 5_000_000
        self.slept_s: list[float] = []

    def clock(self) -> int:
        return self.now_us

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_us += round(seconds * 1e6)


SECOND = 1_000_000


def test_a_minute_passes_in_a_second_at_speed_sixty() -> None:
    time = FakeTime()
    pacer = Pacer(Pace(speed=60.0, gather_us=0), time.clock, time.sleep)
    sent = [
        (time.now_us, items) for items in pacer.batches((second * SECOND, second) for second in range(121))
    ]
    assert [items for _, items in sent] == [[second] for second in range(121)]
    assert time.now_us - 5_000_000 == pytest.approx(2 * SECOND, abs=200)
    assert pacer.source_now_us() == pytest.approx(120 * SECOND, abs=12_000)


def test_items_due_close_together_go_out_together() -> None:
    time = FakeTime()
    pacer = Pacer(Pace(speed=1.0, gather_us=50_000), time.clock, time.sleep)
    batches = list(pacer.batches((n * 10_000, n) for n in range(12)))
    assert batches == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_batches_are_bounded() -> None:
    time = FakeTime()
    pacer = Pacer(Pace(speed=1e9, batch_max=7), time.clock, time.sleep)
    assert [len(batch) for batch in pacer.batches((n * SECOND, n) for n in range(20))] == [7, 7, 6]


def test_a_slow_receiver_gets_what_is_overdue_without_sleep_and_nothing_is_dropped() -> None:
    time = FakeTime()
    pacer = Pacer(Pace(speed=1.0, gather_us=0, batch_max=10), time.clock, time.sleep)
    batches = []
    for batch in pacer.batches((n * 1000, n) for n in range(100)):
        batches.append(batch)
        time.now_us += 30_000
    assert list(itertools.chain(*batches)) == list(range(100))
    assert time.slept_s == []
    assert max(len(batch) for batch in batches) == 10
    source_now_us = pacer.source_now_us()
    assert source_now_us is not None
    assert source_now_us > 99_000


def test_before_the_first_item_there_is_no_source_time() -> None:
    time = FakeTime()
    pacer = Pacer(Pace(), time.clock, time.sleep)
    assert pacer.source_now_us() is None
    assert list(pacer.batches([])) == []
    assert pacer.source_now_us() is None


@given(
    st.lists(st.integers(-10 * SECOND, 10 * SECOND), max_size=60),
    st.sampled_from([0.5, 1.0, 60.0, 1e9]),
    st.integers(0, SECOND),
    st.integers(1, 9),
)
def test_order_is_kept_and_nothing_goes_out_early(
    times_us: list[int], speed: float, gather_us: int, batch_max: int
) -> None:
    time = FakeTime()
    pacer = Pacer(Pace(speed, gather_us, batch_max), time.clock, time.sleep)
    sent: list[int] = []
    for batch in pacer.batches((source_us, source_us) for source_us in times_us):
        assert 1 <= len(batch) <= batch_max
        for source_us in batch:
            due_us = 5_000_000 + (source_us - times_us[0]) / speed
            assert time.now_us >= due_us - 1
        sent += batch
    assert sent == times_us
    assert all(seconds > 0 for seconds in time.slept_s)
