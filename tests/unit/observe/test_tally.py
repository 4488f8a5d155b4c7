from __future__ import annotations

from gemel.observe.tally import SLICE_S, WINDOW_S, Tallies


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_totals_are_kept_by_tenant() -> None:
    tallies = Tallies(Clock())
    tallies.add(1, {"events": 2, "accepted": 4})
    tallies.add(1, {"events": 1, "late": 1})
    tallies.add(2, {"events": 7})
    assert tallies.of(1)[0] == {"events": 3, "accepted": 4, "late": 1}
    assert tallies.of(3) == ({}, 0.0)


def test_the_rate_is_of_the_last_seconds_only() -> None:
    clock = Clock()
    tallies = Tallies(clock)
    for _ in range(100):
        tallies.add(1, {"events": 10})
        clock.now_s += 0.1
    assert abs(tallies.of(1)[1] - 100) <= 100 * SLICE_S / WINDOW_S + 1
    clock.now_s += WINDOW_S
    assert tallies.of(1)[1] == 0.0
    assert tallies.of(1)[0]["events"] == 1000
