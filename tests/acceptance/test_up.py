"""`gemel up`: what it says when it cannot serve, what it answers while its database is away, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from gemel.store.server import BundledServer
from support.command_line import Site, serving

SOON_S = 8.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(site: Site, path: str) -> int:
    key = (site.data / "default.key").read_text().strip()
    return httpx.get(site.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code


def test_a_second_up_says_who_serves_the_directory_on_the_same_port_too() -> None:
    with serving() as site:
        port = site.url.rpartition(":")[2]
        for again in (port, "0"):
            refused = site.run("up", "--port", again, "--json")
            assert refused.code == 1, refused
            assert refused.error()["code"] == "DataDirectoryInUse"
            assert site.url in refused.error()["message"]
        assert status(site, "/readyz") == 200


def test_a_database_url_that_is_none(tmp_path: Path) -> None:
    refused = Site(tmp_path / "data").run("up", "--port", "0", "--json", GEMEL_DATABASE_URL="secret garbage")
    assert refused.code == 1, refused
    assert refused.error()["code"] == "InvalidArgument"
    assert "secret" not in refused.err


def test_while_an_own_database_is_away_it_is_not_ready_and_says_so_at_once(data_dir: Path) -> None:
    own = BundledServer(data_dir)
    own.start()
    own.create_database("plant")
    parts = psycopg.conninfo.conninfo_to_dict(own.owner_dsn("plant"))
    url = f"postgresql://{parts['user']}@/plant?host={parts['host']}&port={parts['port']}"
    with serving(GEMEL_DATABASE_URL=url) as site:
        assert status(site, "/v1/stats") == 200
        own.stop()
        until(lambda: status(site, "/readyz") == 503)
        begun = time.monotonic()
        for _ in range(5):
            assert status(site, "/v1/stats") == 503
        assert time.monotonic() - begun < SOON_S, "a request waited for a database that is known to be away"
        own.start()
        until(lambda: status(site, "/readyz") == 200)
        assert status(site, "/v1/stats") == 200


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_to_the_end(tmp_path: Path, with_signal: int) -> None:
    told = tmp_path / "log"
    site = Site(tmp_path / "data")
    up = [sys.executable, "-m", "gemel", "up", "--port", "0", "--json"]
    with (
        told.open("w") as log,
        subprocess.Popen(up, stdout=subprocess.PIPE, stderr=log, env=site.environment({})) as server,
    ):
        assert server.stdout is not None
        assert server.stdout.readline()
        server.send_signal(with_signal)
        assert server.wait(30) == 0
    events = [json.loads(line)["event"] for line in told.read_text().splitlines()]
    assert events[-1] == "stopped", events
