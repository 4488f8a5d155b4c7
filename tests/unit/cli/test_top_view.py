from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from gemel.cli.top_view import STAGES, TopView, duration, number


def fresh(p50_ms: float | None, p95_ms: float | None) -> dict[str, Any]:
    return {"p50Ms": p50_ms, "p95Ms": p95_ms}


def source(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": None,
        "failing": False,
        "totals": {"accepted": 10, "quarantined": 2},
        "codes": {},
        "rate": 2.5,
        "fresh": fresh(44.0, 130.2),
        "behind": None,
        "last": "2026-11-23T17:25:02.000001Z",
        **more,
    }


def activity(**more: Any) -> dict[str, Any]:
    return {
        "time": "2026-11-23T17:25:03.123456Z",
        "database": "ok",
        "rate": 51234.5,
        "totals": dict.fromkeys(("accepted", "duplicate", "late", "corrected", "quarantined"), 7),
        "fromSource": fresh(84.2, 412.0),
        "fromReceipt": fresh(21.4, 88.1),
        "stages": {stage: fresh(1.0, 2.0 + place) for place, stage in enumerate((*STAGES, "new one"))},
        "sources": [source("line-1"), source("kafka", state="running", behind=12850)],
        "routes": [{"name": "orders", "state": "retrying", "stuck": True, "behind": 4120, "lagS": 913.0}],
        "queues": {"patches": 3.0, "of another version": 0.0},
        "codes": {f"Code{n}": 9 - n for n in range(9)},
        **more,
    }


def drawn(told: dict[str, Any], width: int = 120, height: int = 60, *, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=terminal, color_system=None)
    console.print(TopView(told, "http://here", [1.0, 5.0, 10.0]))
    return out.getvalue()


def test_all_of_it_is_shown_on_a_wide_terminal() -> None:
    text = drawn(activity())
    shown = ("51,234 events/s", "p50 84.2 ms  p95 412 ms since source", "p95 88.1 ms since receipt", "7 late")
    for each in (*shown, "line-1", "kafka", "running", "12,850", "orders retrying", "15 min", "Code0"):
        assert each in text, each
    for each in (*STAGES, "new one", "patches to commit", "of another version", "others"):
        assert each in text, each


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    told = activity(sources=[source("/a/very/long/name" * 9), source("b")])
    lines = drawn(told, width).splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.split()[:1] == ["b"] for line in lines)


def test_a_narrow_terminal_shows_what_matters_most() -> None:
    text = drawn(activity(), 50)
    assert "p95" in text
    assert "accepted" not in text.split("source  ")[1].splitlines()[0]


def test_a_low_terminal_shows_the_slowest_stages_and_the_first_sources() -> None:
    many = [source(f"line-{n}") for n in range(40)]
    text = drawn(activity(sources=many), 120, 30, terminal=True)
    assert "slowest stages" in text
    assert "receive" not in text
    assert "line-0" in text
    assert "line-39" not in text
    assert "more" in text


def test_an_idle_server_is_shown_too() -> None:
    idle = activity(
        sources=[],
        routes=[],
        stages={},
        queues={},
        codes={},
        fromSource=fresh(None, None),
        database="away",
        rate=0.0,
    )
    text = drawn(idle)
    assert "Nothing came in" in text
    assert "database away" in text
    assert "p50 –" in text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"), (0.04, "0.0 ms"), (99.94, "99.9 ms"), (412.2, "412 ms"), (1300, "1.3 s"), (119e3, "119 s"),
        (180e3, "3 min"), (5 * 3600e3, "5 h"), (3 * 86400e3, "3 d"),
    ],
)  # fmt: skip
def test_durations_are_short(ms: float | None, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (2.5, "2.5"), (950, "950"), (12400, "12,400"), (34_000_000, "34.0 M")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
