from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import httpx
import pytest

from gemel.base.errors import EnvironmentFaultError, ForbiddenError, InvalidError
from gemel.cli import watch
from gemel.cli.client import Address, Client

Answer = Callable[[httpx.Request], httpx.Response]


class Cut(httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("Connection reset")


def client(*answers: httpx.Response | Exception) -> tuple[Callable[[], Client], list[str | None]]:
    """Return what makes clients whose stream requests get these answers in turn, and the ids resumed from."""
    left, resumed = list(answers), list[str | None]()

    def answer(request: httpx.Request) -> httpx.Response:
        resumed.append(request.headers.get("Last-Event-ID"))
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def connect() -> Client:
        return Client(Address(f"http://127.0.0.1:{len(resumed) + 1}", "k"), httpx.MockTransport(answer))

    return connect, resumed


def refusal(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": "No."}})


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 0.0)


def test_a_lost_stream_goes_on_behind_the_last_whole_event() -> None:
    found, resumed = client(
        httpx.Response(200, stream=Cut("id: 7\nevent: samples\ndata: a\n\nid: 8\ndata: cut")),
        httpx.ConnectError("refused"),
        refusal(503, "DatabaseUnavailable"),
        httpx.Response(200, text="id: 8\ndata: b\n\n"),
        httpx.Response(200, text="id: 9\ndata: c\n\n"),
    )
    events = list(islice(watch.changes(found, [], "6"), 3))
    assert [event.data for event in events] == ["a", "b", "c"]
    assert resumed == ["6", "7", "7", "7", "8"]


def test_an_outage_is_told_once_and_its_end_with_where_the_server_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = [refusal(503, "DatabaseUnavailable") for _ in range(5)]
    found, resumed = client(
        httpx.Response(200, text="id: 1\ndata: a\n\n"), *away, httpx.Response(200, text="id: 2\ndata: b\n\n")
    )
    assert [event.data for event in islice(watch.changes(found, [], ""), 2)] == ["a", "b"]
    assert len(resumed) == 7
    said = capsys.readouterr().err.splitlines()
    assert said == ["No. Trying again from change 1.", "Connected again, to http://127.0.0.1:7."]


def test_pauses_grow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 1.0)
    outage = watch.Outage()
    assert [outage.pause_s() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_the_place_moves_past_changes_that_were_filtered_out() -> None:
    found, resumed = client(
        httpx.Response(200, text=": alive\nid: 40\n\n"), httpx.Response(200, text="id: 41\ndata: x\n\n")
    )
    assert next(watch.changes(found, [], "")).id == "41"
    assert resumed == [None, "40"]


def test_without_a_first_connection_the_error_is_raised() -> None:
    found, _ = client(httpx.ConnectError("refused"))
    with pytest.raises(EnvironmentFaultError):
        next(watch.changes(found, [], ""))


@pytest.mark.parametrize(("status", "kind"), [(403, ForbiddenError), (400, InvalidError)])
def test_a_refusal_ends_the_watch_even_later(status: int, kind: type[Exception]) -> None:
    found, _ = client(httpx.Response(200, text="id: 1\ndata: x\n\n"), refusal(status, "Refused"))
    with pytest.raises(kind):
        list(watch.changes(found, [], ""))


def test_samples_are_told_one_a_line() -> None:
    sample = {
        "twin": "pump-1",
        "path": "motor.speed",
        "value": 1450.5,
        "sourceTime": "2026-01-31T12:00:00.123456Z",
        "quality": "good",
        "revision": 0,
    }
    doubtful = {**sample, "quality": "bad", "revision": 2}
    removed = {**sample, "value": None, "removed": True}
    body = {"recorded": "2026-01-31T12:00:01.000000Z", "samples": [sample, doubtful, removed]}
    assert watch.describe("samples", body) == [
        "2026-01-31 12:00:00.123  pump-1  motor.speed = 1450.5",
        "2026-01-31 12:00:00.123  pump-1  motor.speed = 1450.5  (bad)  revision 2",
        "2026-01-31 12:00:00.123  pump-1  motor.speed removed",
    ]


def test_other_changes_are_told_with_what_they_carry() -> None:
    body = {"recorded": "2026-01-31T12:00:01.000000Z", "twin": "pump-1", "model": "dtmi:x;1"}
    assert watch.describe("twin.created", body) == [
        "2026-01-31 12:00:01.000  twin.created  twin=pump-1 model=dtmi:x;1"
    ]
