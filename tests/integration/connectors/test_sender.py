"""The sender against a real HTTP server that fails in every way a seed thinks of."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from gemel.base.errors import (
    EnvironmentFaultError,
    ForbiddenError,
    GemelError,
    InternalError,
    InvalidError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from gemel.cli.client import Address, Client
from gemel.connectors.files import open_source
from gemel.connectors.sender import IngestSummary, SendOptions, send_file
from gemel.mapping.tables import FileFormat, Mapping, ValueColumn
from unit.connectors.making import mapping_of, rule_of, saved

ROWS = 200
KEY = "gk_test"


@dataclass
class Platform:
    """What the server keeps, and how it behaves: `trouble` returns what to do to the next request."""

    trouble: Callable[[str], str] = lambda path: ""
    body_max: int = 1 << 20
    values: dict[str, Any] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)

    def take(self, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        events = [json.loads(line) for line in body.splitlines()]
        duplicate = sum(event["id"] in self.values for event in events)
        rejected = [
            {"index": i, "code": "WrongType", "message": "no", "quarantine": i}
            for i, event in enumerate(events)
            if event["data"].get("p") == "bad"
        ]
        self.values.update({event["id"]: event["data"] for event in events})
        if "gemel-position" in headers:
            self.positions[headers["gemel-source"]] = headers["gemel-position"]
        accepted = len(events) - duplicate - len(rejected)
        counts = {"accepted": accepted, "duplicate": duplicate, "late": 0, "corrected": 0}
        return {"events": len(events), **counts, "quarantined": len(rejected), "rejected": rejected}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    platform: Platform

    def do_GET(self) -> None:
        source = unquote(self.path.split("/")[3])
        self._answered(lambda: {"source": source, "position": self.platform.positions.get(source)})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.platform.requests.append(headers)
        if len(body) > self.platform.body_max:
            self._refuse(413, "BodyTooLarge")
        else:
            self._answered(lambda: self.platform.take(headers, body))

    def _answered(self, act: Callable[[], dict[str, Any]]) -> None:
        trouble = self.platform.trouble(self.path)
        if trouble.isdigit():
            self._refuse(int(trouble), {"429": "Overloaded", "403": "ScopeMissing"}.get(trouble, "Trouble"))
        elif trouble == "cut before":
            self.close_connection = True
        else:
            answer = act()
            if trouble == "cut after":
                self.close_connection = True
            else:
                self._write(200, b"<html>" if trouble == "stranger" else json.dumps(answer).encode())

    def _refuse(self, status: int, code: str) -> None:
        self._write(status, json.dumps({"error": {"code": code, "message": code}}).encode(), "Retry-After: 0")

    def _write(self, status: int, body: bytes, *headers: str) -> None:
        self.send_response(status)
        for name, value in (header.split(": ") for header in headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def client(platform: Platform) -> Iterator[Client]:
    bound = type("Bound", (Handler,), {"platform": platform})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with Client(Address(f"http://127.0.0.1:{server.server_port}", KEY)) as found:
        yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once: these tests are about what is sent and not about how long is waited."""
    monkeypatch.setattr("gemel.connectors.sender.DELAY_FIRST_S", 0.001)


def mapping(model: str | None = None) -> Mapping:
    return mapping_of(FileFormat("csv"), rule_of(ValueColumn("p", "p"), model=model))


def rows(folder: Path, count: int = ROWS, tail: str = "") -> Path:
    lines = [f"2026-01-01T00:{i // 60:02}:{i % 60:02}Z,{i / 7!r}" for i in range(count)]
    return saved(folder, "t.csv", "\n".join(["at,p", *lines]) + tail)


def send(client: Client, path: Path, options: SendOptions | None = None, **hooks: Any) -> IngestSummary:
    with open_source(path, mapping()) as source:
        return send_file(client, source, options or SendOptions(events_max=20), **hooks)


def test_a_file_arrives_whole_and_the_second_time_all_of_it_is_duplicate(
    client: Client, platform: Platform, tmp_path: Path
) -> None:
    path = rows(tmp_path)
    seen: list[tuple[int, int]] = []
    first = send(client, path, on_progress=lambda s: seen.append((s.events, s.bytes_done)))
    assert (first.rows, first.events, first.accepted, first.duplicate) == (ROWS, ROWS, ROWS, 0)
    assert (first.bytes_done, first.requests, first.resumed_row) == (path.stat().st_size, ROWS // 20, 0)
    assert [events for events, _ in seen] == list(range(20, ROWS + 1, 20))
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    assert [data["p"] for data in platform.values.values()] == [i / 7 for i in range(ROWS)]
    assert all(r["authorization"] == f"Bearer {KEY}" for r in platform.requests)
    assert {r["gemel-source"] for r in platform.requests} == {first.source}
    second = send(client, path)
    assert (second.accepted, second.duplicate, second.resumed_row) == (0, ROWS, 0)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_nothing_is_lost_and_the_position_never_runs_ahead(
    client: Client, platform: Platform, tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    troubles = ["429", "503", "500", "cut before", "cut after"]

    ahead: list[int] = []

    def trouble(path: str) -> str:
        kept = max((int(p.split(":")[1]) for p in platform.positions.values()), default=0)
        ahead.append(kept - len(platform.values))
        bad = path == "/v1/events" and chance.random() < 0.5
        return chance.choice(troubles) if bad else ""

    platform.trouble = trouble
    path = rows(tmp_path)
    waits: list[GemelError] = []
    summary: IngestSummary | None = None
    while summary is None:
        # Without patience an attempt breaks off, and the next takes it up.
        options = SendOptions(events_max=chance.randint(1, 60), patience_s=chance.choice([0.0, 60.0]))
        with suppress(OverloadedError, UnavailableError, EnvironmentFaultError, InternalError):
            summary = send(client, path, options, on_wait=lambda error, wait_s: waits.append(error))
    assert summary.resumed_row + summary.rows == ROWS
    assert summary.accepted + summary.duplicate == summary.events == summary.rows
    assert [data["p"] for data in platform.values.values()] == [i / 7 for i in range(ROWS)]
    assert len(waits) >= summary.retries
    assert max(ahead) == 0


def test_what_is_broken_off_is_taken_up_where_it_was(
    client: Client, platform: Platform, tmp_path: Path
) -> None:
    path = rows(tmp_path)
    platform.trouble = lambda path: "403" if len(platform.values) >= 60 and path == "/v1/events" else ""
    with pytest.raises(ForbiddenError, match="ScopeMissing"):
        send(client, path)
    platform.trouble = lambda path: ""
    summary = send(client, path)
    assert (summary.resumed_row, summary.rows, summary.accepted) == (60, ROWS - 60, ROWS - 60)
    assert len(platform.values) == ROWS


def test_rows_without_values_at_the_end_belong_to_the_last_position(
    client: Client, platform: Platform, tmp_path: Path
) -> None:
    path = rows(tmp_path, 40, "\n2026-01-01T01:00:00Z," * 50)
    summary = send(client, path)
    assert (summary.rows, summary.empty, summary.events) == (90, 50, 40)
    assert platform.positions[summary.source].endswith(f":90:{path.stat().st_size}")
    again = send(client, path)
    assert (again.rows, again.empty, again.duplicate) == (90, 50, 40)


def test_what_is_too_large_goes_in_halves_with_one_position(
    client: Client, platform: Platform, tmp_path: Path
) -> None:
    platform.body_max = 2000
    summary = send(client, rows(tmp_path), SendOptions(events_max=100))
    assert (summary.events, summary.accepted) == (ROWS, ROWS)
    assert sum("gemel-position" in r for r in platform.requests if int(r["content-length"]) <= 2000) == 2
    ours = Platform()
    platform.requests, platform.body_max, platform.values = ours.requests, ours.body_max, ours.values
    send(client, rows(tmp_path), SendOptions(events_max=100, body_bytes_max=2000))
    assert max(int(r["content-length"]) for r in platform.requests) <= 2000
    platform.body_max = 10
    with pytest.raises(TooLargeError):
        send(client, rows(tmp_path))


def test_rejected_rows_are_named(client: Client, tmp_path: Path) -> None:
    path = rows(tmp_path, 30, "".join(f"\n2026-01-01T02:00:{i:02}Z,bad" for i in range(30)))
    summary = send(client, path)
    assert (summary.quarantined, summary.codes) == (30, {"WrongType": 30})
    assert [r.id.split(":")[-2:] for r in summary.examples] == [[str(i), "t"] for i in range(31, 41)]


def test_twins_are_created_of_the_mappings_model(client: Client, platform: Platform, tmp_path: Path) -> None:
    options = SendOptions(create_twins=True)
    with open_source(rows(tmp_path), mapping("dtmi:x:T;1")) as source:
        send_file(client, source, options)
    assert [r["gemel-create-model"] for r in platform.requests] == ["dtmi:x:T;1"]
    with open_source(rows(tmp_path), mapping()) as source, pytest.raises(InvalidError) as caught:
        send_file(client, source, options)
    assert "twins[0].model" in caught.value.message


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    started_s = time.monotonic()
    with Client(Address("http://127.0.0.1:9", KEY)) as nobody, pytest.raises(EnvironmentFaultError):
        send(nobody, rows(tmp_path))
    assert time.monotonic() - started_s < 5


def test_a_stranger_is_told(client: Client, platform: Platform, tmp_path: Path) -> None:
    platform.trouble = lambda path: "stranger"
    with pytest.raises(EnvironmentFaultError, match="not a gemel"):
        send(client, rows(tmp_path))


def test_an_interruption_does_not_wait_for_the_server(
    client: Client, platform: Platform, tmp_path: Path
) -> None:
    platform.trouble = lambda path: "503" if len(platform.values) >= 40 and path == "/v1/events" else ""
    monkey = threading.Event()

    def interrupt(error: GemelError, wait_s: float) -> None:
        del error, wait_s
        if not monkey.is_set():
            monkey.set()
            raise KeyboardInterrupt

    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        send(client, rows(tmp_path), on_wait=interrupt)
    assert time.monotonic() - started_s < 5


def test_an_interruption_of_the_caller_ends_the_retries(
    client: Client, platform: Platform, tmp_path: Path
) -> None:
    platform.trouble = lambda path: "503" if len(platform.values) >= 40 and path == "/v1/events" else ""

    def interrupt(summary: IngestSummary) -> None:
        if summary.events == 20:
            raise KeyboardInterrupt

    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        send(client, rows(tmp_path), SendOptions(events_max=20), on_progress=interrupt)
    assert time.monotonic() - started_s < 5
