"""The sender against a server that answers as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from gemel.base.errors import (
    EnvironmentFaultError,
    ForbiddenError,
    GemelError,
    OverloadedError,
    UnavailableError,
)
from gemel.demo import sending
from gemel.demo.counts import Counts
from gemel.demo.feeds import Outgoing
from gemel.demo.replay import Pace, Pacer
from gemel.demo.sending import Sender
from gemel.ingest.requests import IngestResult

BUSY = [
    OverloadedError("Overloaded", "Too much."),
    UnavailableError("DatabaseUnavailable", "Not yet."),
    EnvironmentFaultError("ServerUnreachable", "Gone."),
]


class Told:
    """Refuses with each of the given errors, then counts every line as an accepted value."""

    def __init__(self, *refusals: GemelError, on_send: Callable[[], None] | None = None) -> None:
        self.refusals = list(refusals)
        self.bodies: list[bytes] = []
        self._on_send = on_send

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        assert (method, path) == ("POST", "/v1/events")
        assert options["headers"]["Content-Type"] == "application/x-ndjson"
        if self._on_send is not None:
            self._on_send()
        if self.refusals:
            raise self.refusals.pop(0)
        self.bodies.append(options["content"])
        count = len(options["content"].splitlines())
        return httpx.Response(200, content=msgspec.json.encode(IngestResult(count, accepted=count)))


class Quick(threading.Event):
    """An event whose waits take no time."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def play(server: Told, count: int = 25, stopped: threading.Event | None = None) -> Counts:
    counts, stopped = Counts(), stopped or Quick()
    pacer = Pacer(Pace(1e6, gather_us=0, batch_max=10), lambda: 0, lambda seconds: None)
    feed = (Outgoing(n, b'{"n":%d}' % n, "a", ("x",)) for n in range(count))
    Sender(server, pacer, lambda source_us: 1.0, counts, stopped).run(feed)
    return counts


def test_everything_is_sent_in_order_in_small_batches() -> None:
    server = Told()
    counts = play(server)
    assert b"\n".join(server.bodies).splitlines() == [b'{"n":%d}' % n for n in range(25)]
    assert max(len(body.splitlines()) for body in server.bodies) <= 10
    assert (counts.events, counts.totals.accepted, counts.reached_us) == (25, 25, 24)


@pytest.mark.parametrize("error", BUSY, ids=lambda error: error.code)
def test_a_server_that_is_busy_or_away_is_asked_again_and_nothing_is_lost(error: GemelError) -> None:
    server = Told(error, error, error)
    assert play(server).events == 25
    assert len(b"\n".join(server.bodies).splitlines()) == 25


@pytest.mark.parametrize("error", BUSY, ids=lambda error: error.code)
def test_patience_ends(error: GemelError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE_S", -1.0)
    with pytest.raises(type(error)):
        play(Told(error))


@pytest.mark.parametrize(
    "error", [ForbiddenError("ScopeMissing", "No."), EnvironmentFaultError("ExtraMissing", "No.")]
)
def test_a_refusal_is_not_asked_again(error: GemelError) -> None:
    server = Told(error)
    with pytest.raises(type(error)):
        play(server)
    assert server.bodies == []


def test_what_is_asked_again_ends_with_the_stop() -> None:
    stopped = Quick()
    server = Told(*BUSY * 100, on_send=stopped.set)
    assert play(server, stopped=stopped).events == 0
    assert len(server.refusals) == 299


def test_nothing_is_sent_after_the_stop() -> None:
    stopped = Quick()

    def feed() -> Iterator[Outgoing]:
        yield Outgoing(0, b"{}", "a", ("x",))
        stopped.set()
        yield Outgoing(10_000_000, b"{}", "a", ("x",))

    server = Told()
    pacer = Pacer(Pace(), lambda: 0, lambda seconds: None)
    Sender(server, pacer, lambda source_us: 1.0, Counts(), stopped).run(feed())
    assert server.bodies == []
