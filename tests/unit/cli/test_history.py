from __future__ import annotations

from typing import Any

import httpx
import pytest

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.cli import history
from gemel.cli.client import Address, Client

SECOND_US = 1_000_000
SAMPLES = 500
PLACE = "/v1/twins/t/history"


def server(asked: list[dict[str, str]]) -> Client:
    """Return a client of a server that has SAMPLES samples of `flow`, one a second."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/telemetry"):
            last = {"value": 1, "sourceTime": iso_us(SAMPLES * SECOND_US), "unit": "litrePerSecond"}
            return httpx.Response(200, json={"twin": "t", "values": {"flow": last}})
        wanted = dict(request.url.params)
        asked.append(wanted)
        if "every" in wanted:
            return page(
                [{"path": "flow", "time": iso_us(n * 60 * SECOND_US), "mean": 1.0} for n in range(8)], None
            )
        start = int(wanted.get("after", "0"))
        end = min(start + int(wanted["limit"]), SAMPLES)
        rows = [{"path": "flow", "time": iso_us(n * SECOND_US), "value": n} for n in range(start, end)]
        if request.headers["Accept"] == "text/csv":
            text = "path,time,value\r\n" + "".join(f"{r['path']},{r['time']},{r['value']}\r\n" for r in rows)
            headers = {"Gemel-After": str(end)} if end < SAMPLES else {}
            return httpx.Response(200, text=text, headers=headers)
        return page(rows, str(end) if end < SAMPLES else None)

    return Client(Address("http://127.0.0.1:1", "k"), httpx.MockTransport(answer))


def page(rows: list[dict[str, Any]], after: str | None) -> httpx.Response:
    return httpx.Response(200, json={"twin": "t", "values": rows, "after": after})


def test_samples_that_fit_are_drawn_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[dict[str, str]] = []
    history._plot(server(asked), "t", {"path": ["flow"]}, None)
    told = capsys.readouterr()
    assert "flow  [L/s]   last 499  min 0  max 499  n 500" in told.out
    assert told.err == ""


def test_too_many_samples_are_drawn_as_means_over_the_whole_history_and_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(history, "PLOT_ROWS", 100)
    monkeypatch.setenv("COLUMNS", "200")
    asked: list[dict[str, str]] = []
    history._plot(server(asked), "t", {"path": ["flow"]}, None)
    told = capsys.readouterr()
    assert asked[-1]["every"] == "5s"
    assert "drawn as means of 5s" in told.err
    assert "flow mean  [L/s]" in told.out


def test_a_limit_of_ones_own_is_kept_and_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    history._plot(server([]), "t", {"path": ["flow"]}, 7)
    told = capsys.readouterr()
    assert "n 7" in told.out
    assert "more than these 7" in told.err


@pytest.mark.parametrize(("limit", "rows"), [(None, SAMPLES), (130, 130), (SAMPLES, SAMPLES)])
def test_csv_is_one_table_with_one_header_over_all_pages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: int | None, rows: int
) -> None:
    monkeypatch.setattr(history, "PAGE", 100)
    history._print_csv(server([]), PLACE, {"path": ["flow"]}, limit)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "path,time,value"
    assert [line.split(",")[2] for line in lines[1:]] == [str(n) for n in range(rows)]


def test_a_path_that_is_not_in_the_model_is_met_with_those_that_are_near() -> None:
    with pytest.raises(InvalidError) as caught, history._meant(server([]), "t", ["flwo"], {}):
        raise InvalidError("PathNotInModel", "No.")
    assert caught.value.hint == "Did you mean flow?"
    with pytest.raises(InvalidError) as caught, history._meant(server([]), "t", ["zzz"], {}):
        raise InvalidError("PathNotInModel", "No.")
    assert caught.value.hint == "There are flow."
    with pytest.raises(InvalidError, match="Other"), history._meant(server([]), "t", ["flwo"], {}):
        raise InvalidError("InvalidArgument", "Other.")


@pytest.mark.parametrize("text", ["yesterday", "2026-01-31T12:00:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        history.Window(end=text).params()
    assert caught.value.message == f"--to {text!r} is no time with a zone."
    assert "--to 2026-01-31T12:00:00Z" in str(caught.value.hint)
