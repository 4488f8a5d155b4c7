"""A long file, broken off: the same command goes on where it was left, and what arrives is the file, once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from gemel.connectors.files import open_source
from gemel.connectors.mapping import load_mapping
from support.command_line import Site, serving

ROWS = 60_000
WAIT_S_MAX = 60.0
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Meter;1",
    "@type": "Interface",
    "contents": [{"@type": "Telemetry", "name": "power", "schema": "double"}],
}
MAPPING = """
version: 1
source: meters
format: {type: ndjson}
time: {column: at, format: unix_ms}
twins:
  - twin: METER
    model: dtmi:test:Meter;1
    values: {power: {column: kw, unit: kW, to: W}}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    key = (site.data / "default.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30, trust_env=False) as found:
        found.post("/models", json=[MODEL]).raise_for_status()
        yield found


class Job:
    """A file of one meter, its mapping, and the command that ingests it."""

    def __init__(self, folder: Path, twin: str) -> None:
        self.twin = twin
        self.mapping = folder / "mapping.yaml"
        self.mapping.write_text(MAPPING.replace("METER", twin), "utf-8")
        self.file = folder / "meter.ndjson"
        rows = (f'{{"at": {1_600_000_000_000 + i * 250}, "kw": {i / 8}}}\n' for i in range(ROWS))
        self.file.write_text("".join(rows), "utf-8")
        self.arguments = [
            "ingest",
            str(self.file),
            "--mapping",
            str(self.mapping),
            "--create-twins",
            "--json",
        ]

    def position(self, client: httpx.Client) -> int:
        """Return up to which row the platform has the file."""
        with open_source(self.file, load_mapping(self.mapping)) as source:
            path = f"/v1/sources/{quote(source.name, safe='')}/position"
        kept = client.get(path).raise_for_status().json()["position"]
        return int(kept.split(":")[1]) if kept else 0

    def wait(self, client: httpx.Client, row: int) -> None:
        """Wait until the platform has the file up to a row."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        while self.position(client) < row:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def assert_whole(self, client: httpx.Client) -> None:
        """Assert that history is the file, each row once."""
        values: list[float] = []
        after: str | None = None
        while after is not None or not values:
            asked = {"path": "power", "limit": "100000"} | ({"after": after} if after else {})
            page = client.get(f"/v1/twins/{self.twin}/history", params=asked).raise_for_status().json()
            values += [row["value"] for row in page["values"]]
            after = page["after"]
        assert values == [i / 8 * 1000.0 for i in range(ROWS)]


def test_a_killed_ingest_goes_on_where_it_was_left(site: Site, client: httpx.Client, tmp_path: Path) -> None:
    job = Job(tmp_path, "meter-1")
    first = site.popen(*job.arguments)
    job.wait(client, 10_000)
    first.kill()
    first.communicate()
    kept = job.position(client)
    assert 10_000 <= kept < ROWS
    done = site.run(*job.arguments).json()
    assert kept <= done["resumed_row"] < ROWS
    assert done["resumed_row"] + done["rows"] == ROWS
    assert done["accepted"] + done["duplicate"] == done["rows"]
    assert job.position(client) == ROWS
    job.assert_whole(client)


def test_an_ingest_outlives_the_kill_of_its_server(site: Site, client: httpx.Client, tmp_path: Path) -> None:
    job = Job(tmp_path, "meter-2")
    running = site.popen(*job.arguments)
    job.wait(client, 10_000)
    port = int(site.url.rpartition(":")[2])
    site.stop(signal.SIGKILL)
    assert running.poll() is None
    site.start(port)
    out, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0
    done = json.loads(out)
    assert done["retries"] > 0
    assert done["rows"] == done["accepted"] + done["duplicate"] == ROWS
    job.assert_whole(client)
