from __future__ import annotations

from typing import Any

import pytest

from gemel.cli.drawing import WIDTHS, draw, ends_us, width_for

SECOND_US = 1_000_000


def at(second: int) -> str:
    return f"2026-01-31T12:00:{second:02}.000000Z"


def sample(path: str, second: int, value: Any) -> dict[str, Any]:
    return {"path": path, "time": at(second), "value": value, "removed": False, "quality": "good"}


def test_each_path_has_a_plot_with_its_unit_and_figures() -> None:
    rows = [sample("flow", 0, 1.5), sample("motor.temperature", 1, 40.25), sample("flow", 2, 2.5)]
    text = "\n".join(draw(rows, {"motor.temperature": "degreeCelsius", "flow": None}, 30))
    assert "flow   last 2.5  min 1.5  max 2.5  n 2" in text
    assert "motor.temperature  [°C]   last 40.25  min 40.25  max 40.25  n 1" in text
    assert text.count("└") == 2


def test_buckets_have_a_plot_for_each_aggregate_and_a_count_has_no_unit() -> None:
    rows = [{"path": "flow", "time": at(0), "max": 3.0, "count": 7}]
    heads = [line for line in draw(rows, {"flow": "litrePerSecond"}, 30) if "last" in line]
    assert [head.split("   ")[0] for head in heads] == ["flow count", "flow max  [L/s]"]


@pytest.mark.parametrize("value", ["fast", None, {"x": 1.0}, 10**400])
def test_values_that_are_no_numbers_are_told_of(value: Any) -> None:
    assert "none of them a number" in next(draw([sample("mode", 0, value)], {}, 30))


def test_true_and_false_are_drawn_as_one_and_nought() -> None:
    assert "min 0  max 1" in next(draw([sample("open", 0, True), sample("open", 1, False)], {}, 30))


def test_the_ends_reach_to_the_last_value_of_all() -> None:
    rows = [sample("flow", 3, 1.0), sample("flow", 5, 1.0)]
    start_us, end_us = ends_us(rows, [{"sourceTime": at(50)}, {"sourceTime": at(4)}])
    assert end_us - start_us == 47 * SECOND_US


@pytest.mark.parametrize(("span_us", "width"), [(0, "1ms"), (100 * SECOND_US, "1s"), (101 * SECOND_US, "5s")])
def test_a_width_gives_at_most_two_buckets_a_column(span_us: int, width: str) -> None:
    assert width_for((0, span_us), 50) == width


def test_a_width_is_found_for_any_span() -> None:
    assert width_for((0, 10**18), 20) == "365d"
    assert list(WIDTHS.values()) == sorted(WIDTHS.values())


def test_plots_come_in_the_order_asked_for() -> None:
    rows = [sample("a", 0, 1.0), sample("b", 0, 1.0), sample("c", 0, 1.0)]
    heads = [line[0] for line in draw(rows, {}, 30, ["c", "a"]) if "last" in line]
    assert heads == ["c", "a", "b"]
