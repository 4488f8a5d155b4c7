"""Counts over answers, with a clock by hand."""

from __future__ import annotations

import pytest

from gemel.demo.counts import Counts
from gemel.demo.feeds import Outgoing
from gemel.demo.view import Totals
from gemel.ingest.requests import IngestResult, Rejected


class Hand:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def outgoing(due_us: int, twin: str = "a", *paths: str, timely: bool = True) -> Outgoing:
    return Outgoing(due_us, b"{}", twin, paths or ("x",), timely)


def test_answers_add_up() -> None:
    counts = Counts(Hand())
    counts.add(
        IngestResult(3, accepted=4, late=1, rejected=[Rejected(1, "WrongType", "", 17)], quarantined=1),
        [outgoing(1, "a", "x"), outgoing(2, "b", "y"), outgoing(3, "a", "z", "x")],
        [5.0, 6.0, 7.0],
    )
    counts.add(IngestResult(1, duplicate=2, corrected=1), [outgoing(4, "c", "q")], [8.0])
    assert counts.totals == Totals(accepted=4, duplicate=2, late=1, corrected=1, quarantined=1)
    assert (counts.events, counts.reached_us) == (4, 4)
    assert counts.codes() == {"WrongType": 1}
    assert counts.rejected() == [17]


def test_a_series_is_one_that_was_taken() -> None:
    counts = Counts(Hand())
    rejected = [Rejected(0, "TwinUnknown", "")]
    counts.add(
        IngestResult(2, rejected=rejected), [outgoing(1, "ghost"), outgoing(2, "a", "y", "x")], [1.0, 1.0]
    )
    assert counts.series() == {"a": ["y", "x"]}


def test_lags_are_of_events_that_were_taken_and_not_held_back() -> None:
    counts = Counts(Hand())
    batch = [outgoing(1), outgoing(2, timely=False), outgoing(3)]
    counts.add(IngestResult(3, rejected=[Rejected(2, "WrongType", "")]), batch, [10.0, 4000.0, 9000.0])
    assert counts.lag_ms(1.0) == pytest.approx(10.0, rel=0.02)


def test_only_the_last_quarantine_numbers_are_kept() -> None:
    counts = Counts(Hand())
    for number in range(20):
        rejected = [Rejected(0, "WrongType", "", number)]
        counts.add(IngestResult(1, rejected=rejected), [outgoing(number)], [1.0])
    assert counts.rejected() == [15, 16, 17, 18, 19]


def test_the_rate_is_of_the_last_seconds_and_right_from_the_start() -> None:
    clock = Hand()
    counts = Counts(clock)
    assert counts.events_per_s() == 0.0
    for _ in range(10):
        clock.now_s += 0.1
        counts.add(IngestResult(20), [outgoing(1)], [1.0])
    assert counts.events_per_s() == pytest.approx(200.0)
    clock.now_s += 10.0
    assert counts.events_per_s() == 0.0


def test_time_stands_after_the_end() -> None:
    clock = Hand()
    counts = Counts(clock)
    clock.now_s += 8.0
    counts.finish()
    clock.now_s += 5.0
    assert counts.elapsed_s == 8.0
