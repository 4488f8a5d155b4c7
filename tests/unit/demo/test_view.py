"""The view, drawn on consoles of known size."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from gemel.demo.view import Reason, Row, Snapshot, Totals, render, sparkline, summary


def snapshot(rows: tuple[Row, ...] | None = None, reasons: tuple[Reason, ...] = ()) -> Snapshot:
    trend = tuple(float(n % 9) for n in range(80))
    many = tuple(
        Row(f"pump-{twin}", path, 12.345 + twin, "degreeCelsius", 20.0, trend)
        for twin in range(5)
        for path in ("motor.temperature", "head", "motor.current", "level")
    )
    return Snapshot(
        title="pumping station",
        url="http://127.0.0.1:8080",
        openapi_url="http://127.0.0.1:8080/openapi",
        elapsed_s=17.3,
        events_per_s=1203.4,
        events=3511,
        totals=Totals(accepted=12034, duplicate=121, late=88, corrected=17, quarantined=16),
        rows=many if rows is None else rows,
        reasons=reasons,
        lag_p50_ms=48.0,
        lag_p99_ms=2210.0,
    )


def drawn(what: RenderableType, width: int, height: int, *, colour: bool = False) -> str:
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        color_system="standard" if colour else None,
        force_terminal=colour,
    )
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 60), (120, 40), (200, 50)])
def test_it_fits_the_screen_and_says_the_essentials(width: int, height: int) -> None:
    text = drawn(render(snapshot()), width, height)
    lines = text.splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    for part in (
        "http://127.0.0.1:8080/openapi",
        "lag 48 ms   1,203 events/s",
        "12,034 accepted",
        "16 quarantined",
        "°C",
        "20 ms",
    ):
        assert part in text
    for twin in range(5):
        assert f"pump-{twin}" in text
    assert "…" not in text


def test_a_tall_screen_shows_all_rows_and_a_short_one_some_of_every_twin() -> None:
    tall, short = drawn(render(snapshot()), 80, 60), drawn(render(snapshot()), 80, 24)
    assert tall.count("°C") == 20
    assert 5 <= short.count("°C") < 20
    assert "+" not in tall
    assert "head  +2" in short


def test_a_twin_is_named_once_and_its_component_precedes_the_path() -> None:
    text = drawn(render(snapshot()), 80, 60)
    assert text.count("pump-3") == 1
    assert "motor.temperature" in text


def test_values_of_all_kinds() -> None:
    rows = (
        Row("a", "running", True),
        Row("a", "stopped", False),
        Row("a", "starts", 3),
        Row("a", "mode", "auto"),
        Row("a", "unknown", None),
    )
    text = drawn(render(snapshot(rows)), 80, 30)
    for part in ("● on", "● off", "3", "auto", "–"):
        assert part in text


@pytest.mark.parametrize(("lag_ms", "code"), [(12.0, "32"), (1300.0, "33"), (60_000.0, "31")])
def test_lag_is_green_yellow_or_red(lag_ms: float, code: str) -> None:
    text = drawn(render(snapshot((Row("a", "b", 1.0, None, lag_ms),))), 80, 30, colour=True)
    line = next(line for line in text.splitlines() if "1.000" in line)
    assert f"\x1b[{code}m" in line


def test_the_last_reasons_are_shown_on_one_line_each() -> None:
    reasons = tuple(Reason("tank", "WrongType", f"number {n} " + "long " * 60) for n in range(5))
    text = drawn(render(snapshot(reasons=reasons)), 80, 40)
    assert [f"number {n}" in text for n in range(5)] == [False, False, True, True, True]
    assert text.count("WrongType") == 3
    assert "nothing yet" in drawn(render(snapshot()), 80, 40)


def test_it_draws_before_the_first_value() -> None:
    assert "events/s" in drawn(render(snapshot(rows=())), 80, 24)


def test_text_from_outside_is_not_markup() -> None:
    rows = (Row("[red]twin", "p[bold]", "[link=x]v"),)
    reasons = (Reason("[b]t", "C", "[/nonsense] here"),)
    text = drawn(render(snapshot(rows, reasons)), 120, 30)
    for part in ("[red]twin", "p[bold]", "[link=x]v", "[/nonsense] here", "[b]t"):
        assert part in text


def test_sparkline_spans_its_least_and_greatest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6], 8) == "▁▂▃▄▅▆▇"
    assert sparkline([9, 9, 0, 7], 2) == "▁▇"
    assert sparkline([5, 5, 5], 8) == "▁▁▁"
    assert sparkline([], 8) == ""
    assert sparkline([1, 2], 0) == ""


def test_the_summary_has_every_total() -> None:
    text = drawn(summary(snapshot()), 80, 40)
    for part in ("3,511", "203", "12,034", "121", "88", "17", "16", "5 twins", "48 ms", "2.2 s"):
        assert part in text
