from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemel.security.refusals import ROWS_PER_S_MAX, RowBudget


def test_what_is_over_the_budget_of_a_second_is_counted() -> None:
    budget = RowBudget(2)
    assert [budget.take(now_s) for now_s in (5.0, 5.4, 5.5, 5.99)] == [True, True, False, False]
    assert budget.collect() == 2
    assert budget.collect() == 0
    assert [budget.take(now_s) for now_s in (6.0, 6.0, 6.0, 7.5)] == [True, True, False, True]
    assert budget.collect() == 1


@given(st.lists(st.floats(0, 0.5), max_size=300))
def test_each_is_either_written_or_counted_and_few_are_written(waits_s: list[float]) -> None:
    budget, now_s, written = RowBudget(), 0.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        written += budget.take(now_s)
    assert written + budget.collect() == len(waits_s)
    assert written <= ROWS_PER_S_MAX * (int(now_s) + 1)
