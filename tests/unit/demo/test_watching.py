"""The watcher against a server that answers as told."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from gemel.base.clock import iso_us
from gemel.base.errors import EnvironmentFaultError, ForbiddenError, NotFoundError, UnavailableError
from gemel.demo.counts import Counts
from gemel.demo.feeds import Outgoing
from gemel.demo.reading import LastValues, RecordedValues, Values
from gemel.demo.view import Reason
from gemel.demo.watching import Watcher
from gemel.ingest.requests import IngestResult, Rejected

NOW_US = 1_600_000_000_000_000
FAULTS = [UnavailableError("DatabaseUnavailable", ""), EnvironmentFaultError("ServerUnreachable", "")]


class Told:
    """Answers GETs from a table; an exception in it is raised."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        assert method == "GET"
        self.asked.append((path, options.get("params")))
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, content=json.dumps(answer))


def last(**values: Any) -> dict[str, Any]:
    times = {"sourceTime": iso_us(NOW_US - 40_000), "recorded": iso_us(NOW_US), "quality": "good"}
    return {"values": {path: {"value": value, "unit": "metre", **times} for path, value in values.items()}}


def watcher(server: Told, counts: Counts, values: Values | None = None) -> Watcher:
    twins = ["a", "b"]
    return Watcher(
        server,
        values or LastValues(),
        twins,
        lambda source_us: (NOW_US - source_us) / 1000,
        counts,
        threading.Event(),
    )


def counted(*rejected: Rejected) -> Counts:
    counts = Counts()
    batch = [Outgoing(n, b"{}", twin, ("level", "on")) for n, twin in enumerate(["b", "a"])]
    counts.add(IngestResult(2, rejected=list(rejected)), batch, [1.0, 1.0])
    return counts


def test_rows_are_of_streamed_series_in_the_order_of_the_site() -> None:
    told = Told({f"/v1/twins/{t}/telemetry": last(level=2.5, on=True, label="T") for t in "ab"})
    found = watcher(told, counted())
    found.look()
    assert [(row.twin, row.path, row.value) for row in found.rows] == [
        ("a", "level", 2.5), ("a", "on", True), ("b", "level", 2.5), ("b", "on", True),
    ]  # fmt: skip
    assert {(row.unit, row.lag_ms) for row in found.rows} == {("metre", 40.0)}


def test_a_trend_is_of_numbers_one_for_each_look() -> None:
    told = Told({f"/v1/twins/{t}/telemetry": last(level=1, on=True) for t in "ab"})
    found = watcher(told, counted())
    found.look()
    told.answers["/v1/twins/a/telemetry"] = last(level=2, on=False)
    found.look()
    trends = {(row.twin, row.path): row.trend for row in found.rows}
    assert trends == {
        ("a", "level"): (1.0, 2.0),
        ("a", "on"): (),
        ("b", "level"): (1.0, 1.0),
        ("b", "on"): (),
    }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_what_is_not_there_for_a_moment_leaves_the_rows_as_they_were(fault: Exception) -> None:
    told = Told({f"/v1/twins/{t}/telemetry": last(level=1) for t in "ab"})
    found = watcher(told, counted())
    found.look()
    rows = found.rows
    told.answers["/v1/twins/b/telemetry"] = fault
    found.look()
    assert found.rows is rows


def test_a_refusal_is_told() -> None:
    told = Told({f"/v1/twins/{t}/telemetry": ForbiddenError("ScopeMissing", "") for t in "ab"})
    with pytest.raises(ForbiddenError):
        watcher(told, counted()).look()


def test_reasons_are_read_once_each_from_quarantine() -> None:
    told = Told({f"/v1/twins/{t}/telemetry": last() for t in "ab"})
    told.answers["/v1/quarantine/7"] = {"subject": "a", "code": "WrongType", "message": "not a number"}
    told.answers["/v1/quarantine/9"] = NotFoundError("QuarantineNotFound", "")
    found = watcher(told, counted(Rejected(0, "WrongType", "", 7), Rejected(0, "WrongType", "", 9)))
    found.look()
    found.look()
    assert found.reasons[0] == Reason("a", "WrongType", "not a number")
    assert "9 has left" in found.reasons[1].message
    assert [path for path, _ in told.asked].count("/v1/quarantine/7") == 1


def test_a_replay_shows_the_values_of_its_moment_and_keeps_those_without_a_newer_sample() -> None:
    def history(*rows: tuple[str, float, int]) -> dict[str, Any]:
        return {
            "values": [{"path": p, "value": v, "time": iso_us(NOW_US + s * 1_000_000)} for p, v, s in rows]
        }

    place = "/v1/twins/a/history"
    told = Told({place: history(("level", 1.0, -3), ("on", 0.0, -3), ("level", 2.0, -1))})
    moment: list[int | None] = [NOW_US]
    values = RecordedValues(lambda: moment[0], {("a", "level"): "metre"})
    found = watcher(told, counted(), values)
    found.twins = ["a"]
    found.look()
    assert [(row.path, row.value, row.unit, row.lag_ms) for row in found.rows] == [
        ("level", 2.0, "metre", 1000.0), ("on", 0.0, None, 3000.0),
    ]  # fmt: skip
    params = told.asked[0][1]
    assert params["to"] == iso_us(NOW_US + 1)
    told.answers[place] = history(("level", 3.0, 0))
    found.look()
    assert [(row.path, row.value) for row in found.rows] == [("level", 3.0), ("on", 0.0)]
    moment[0] = None
    asked = len(told.asked)
    found.look()
    assert len(told.asked) == asked
