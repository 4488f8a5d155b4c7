"""The plan of a batch, pure: outcomes by arrival, one holder per key, one state per series."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gemel.history.ordering import ACCEPTED, CORRECTED, DUPLICATE, LATE, NEVER_US, Known, plan
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import Encoded, Rank, rank

SAMPLES = st.lists(
    st.builds(
        lambda series, time_us, value, revision: Sample(
            series, time_us, Encoded(float(value), 0, None), revision, 0, 1
        ),
        st.integers(1, 3),
        st.integers(1, 5),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=30,
)


def last_of(
    batch: SampleBatch, held: dict[tuple[int, int], Sample]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    newest: dict[int, int] = {}
    for series, time_us in held:
        newest[series] = max(time_us, newest.get(series, NEVER_US))
    return np.array([newest.get(int(series), NEVER_US) for series in batch.series], np.int64)


@given(SAMPLES, SAMPLES)
def test_a_plan_leaves_what_the_rules_demand(before: list[Sample], rows: list[Sample]) -> None:
    held: dict[tuple[int, int], Sample] = {}
    for row in before:
        best = held.get(row[:2])
        if best is None or ranked(row) > ranked(best):
            held[row[:2]] = row
    batch = SampleBatch.of(rows)
    last_us = last_of(batch, held)
    touched = {row[:2]: held[row[:2]] for row in rows if row[:2] in held}
    made = plan(batch, last_us, Known(touched, {}))

    after = dict(held)
    for position in [*made.fresh, *made.winners]:
        after[batch.row(int(position))[:2]] = batch.row(int(position))
    expected = dict(held)
    for row in rows:
        if row[:2] not in expected or ranked(row) > ranked(expected[row[:2]]):
            expected[row[:2]] = row
    assert {key: ranked(row) for key, row in after.items()} == {
        key: ranked(row) for key, row in expected.items()
    }
    assert len({batch.row(int(p))[:2] for p in made.fresh}) == len(made.fresh)
    contenders = {key: {ranked(row)} for key, row in held.items()}
    for row in rows:
        contenders.setdefault(row[:2], set()).add(ranked(row))
    touched_keys = {row[:2] for row in rows}
    lost = {(row[:2], ranked(row)) for row, _ in made.lost}
    assert len(lost) == len(made.lost)
    assert lost == {(key, r) for key in touched_keys for r in contenders[key] if r != ranked(expected[key])}

    state = {int(batch.series[p]): batch.row(int(p)) for p in made.state}
    assert len(state) == len(made.state)
    for series in {row.series for row in rows}:
        newest = max((row for key, row in expected.items() if key[0] == series), key=lambda row: row.time_us)
        if series in state:
            assert ranked(state[series]) == ranked(newest)
            assert state[series].time_us == newest.time_us
        else:
            assert newest == held[newest[:2]]


@given(SAMPLES)
def test_outcomes_follow_the_order_of_arrival(rows: list[Sample]) -> None:
    batch = SampleBatch.of(rows)
    made = plan(batch, np.full(len(rows), NEVER_US), Known())
    newest: dict[int, int] = {}
    seen: dict[tuple[int, int], set[object]] = {}
    for row, outcome in zip(rows, made.outcomes, strict=True):
        known = seen.setdefault(row[:2], set())
        if ranked(row) in known:
            assert outcome == DUPLICATE
        elif known:
            assert outcome == CORRECTED
        else:
            assert outcome == (ACCEPTED if row.time_us > newest.get(row.series, NEVER_US) else LATE)
        known.add(ranked(row))
        newest[row.series] = max(row.time_us, newest.get(row.series, NEVER_US))


def ranked(row: Sample) -> Rank:
    return rank(row.revision, row.value, row.quality)
