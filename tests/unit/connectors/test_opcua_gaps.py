"""Positions and gaps of a node: whatever is lost and whenever it is cut off, nothing is passed over."""

from __future__ import annotations

import bisect

from hypothesis import given
from hypothesis import strategies as st

from gemel.connectors.opcua_gaps import Track

MOMENTS = st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True).map(sorted)


class Bench:
    """A node's truth, what was committed of it, and lives of a reader, one after the other."""

    def __init__(self, moments: list[int], *, lag: int) -> None:
        self.truth = moments
        self.lag = lag
        self.stored: set[int] = set()
        self.position: int | None = None
        self.now_s = 0.0

    def life(self, first: int, end: int, lost: set[int], share: int) -> None:
        """Read from the subscription what is in [first, end) and not lost, then whatever gap there is."""
        track = Track(self.position, -1, closes=True)
        overflow = False
        for number in range(first, end):
            if number in lost and number != first:
                overflow = True
                continue
            assert track.came(self.truth[number], overflow=overflow)
            overflow = False
            self.stored.add(self.truth[number])
            self._commit(track)
        rounds = 0
        while track.gap is not None:
            rounds += 1
            assert rounds < 500
            gap = track.gap
            written = self.truth[: end - self.lag] if rounds < 3 else self.truth[:end]
            asked = share * gap.chunk
            found = written[bisect.bisect_left(written, gap.known_us) :][:asked]
            self.now_s += 0.6
            self.stored |= set(found)
            assert track.read(found, asked, None, self.now_s)
            self._commit(track)

    def _commit(self, track: Track) -> None:
        self.now_s += 0.3
        position = track.position(self.now_s)
        if position is not None:
            self.position = position
        if self.position is not None:
            known = {moment for moment in self.truth if moment <= self.position}
            assert known <= self.stored, "the position stands behind what is stored"


@given(MOMENTS, st.data())
def test_what_was_lost_comes_from_history_and_the_position_never_passes_it(
    moments: list[int], data: st.DataObject
) -> None:
    bench = Bench(moments, lag=data.draw(st.integers(0, 2)))
    first = 0
    while first < len(moments):
        end = data.draw(st.integers(first + 1, len(moments)))
        lost = data.draw(st.sets(st.integers(first, end - 2))) if end - first > 2 else set()
        bench.life(first, end, lost, data.draw(st.integers(1, 10)))
        # While nobody looked, some more happened; the last of it is the first that comes again.
        first = data.draw(st.integers(end, len(moments)))
        if first == len(moments) and end < len(moments):
            first = len(moments) - 1
        if end == len(moments):
            break
    assert bench.stored == set(moments)


def test_more_values_at_one_moment_than_are_read_at_once() -> None:
    track = Track(10, None, closes=True)
    track.came(20, overflow=False)
    assert track.gap is not None
    assert track.read([10, 10], 2, None, 0.0)
    assert track.gap.chunk == 2
    assert track.read([10, 10, 10, 12], 4, None, 0.0)
    assert (track.gap.known_us, track.gap.chunk) == (12, 1)


def test_history_that_ends_too_early_is_given_up_after_a_while() -> None:
    track = Track(10, None, closes=True)
    track.came(20, overflow=False)
    told = [track.read([15], 100, None, float(n)) for n in range(10)]
    assert told == [True] * 9 + [False]
    assert track.position(100.0) == 20


def test_without_history_a_gap_is_told_and_passed() -> None:
    track = Track(10, None, closes=False)
    assert not track.came(20, overflow=False)
    assert track.came(21, overflow=False)
    assert not track.came(22, overflow=True)
    assert track.position(0.0) == 22


def test_nothing_happened_meanwhile() -> None:
    track = Track(10, None, closes=True)
    assert track.came(10, overflow=False)
    assert track.gap is None


def test_a_time_far_ahead_says_nothing_of_what_is_before_it() -> None:
    track = Track(None, None, closes=True)
    track.came(10, overflow=False)
    track.came(1_000_000, overflow=False, vague=True)
    assert track.position(0.0) == 10
    again = Track(10, None, closes=True)
    again.came(1_000_000, overflow=False, vague=True)
    assert again.gap is not None
    assert again.read([10, 15, 1_000_000], 100, None, 0.0)
    again.came(20, overflow=False)
    assert again.position(0.0) == 20


def test_a_clock_that_was_set_back_is_followed() -> None:
    track = Track(None, None, closes=True)
    track.came(1_000, overflow=False)
    track.came(400, overflow=False)
    assert track.position(0.0) == 400
    again = Track(400, None, closes=True)
    again.came(500, overflow=False)
    assert again.gap is not None
    assert (again.gap.known_us, again.gap.until_us) == (400, 500)
