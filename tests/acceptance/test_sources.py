"""A watched folder as a user has it: `gemel source`, files that come while the server is killed, and what is wrong."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.command_line import Site, serving

ROWS = 20_000
WAIT_S_MAX = 60.0
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Meter;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "power", "schema": "double"}],
}
MAPPING = """
version: 1
source: meters
format: {type: ndjson}
time: {column: at, format: unix_ms}
twins:
  - twin: "{meter}"
    model: dtmi:test:Meter;1
    values: {power: {column: kw, unit: kW, to: W}}
"""
START_MS = 1_600_000_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("in")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    with serving(GEMEL_SOURCES_ALLOW=f"default={folder.parent}") as served:
        yield served


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    key = (site.data / "default.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30, trust_env=False) as found:
        found.post("/models", json=[MODEL]).raise_for_status()
        yield found


@pytest.fixture(scope="module")
def described(site: Site, client: httpx.Client, folder: Path) -> Path:
    """Describe the source `meters`, in a file beside its mapping, and start it."""
    (folder.parent / "m.yaml").write_text(MAPPING, "utf-8")
    file = folder.parent / "meters.yaml"
    file.write_text(
        f"name: meters\nkind: folder\nconnection: {{folder: {folder}, settle_s: 0.2}}\nmapping: m.yaml\n"
        "create_twins: true\nlimits: {events: 500}\nbackoff: {first_s: 0.1, max_s: 1}\n",
        "utf-8",
    )
    assert site.run("source", "add", str(file)).code == 0
    assert site.run("source", "start", "meters", "--json").json()["wanted"] == "started"
    return file


def until(client: httpx.Client, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the source is as wanted; the server may be away meanwhile."""
    deadline_s = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            found: dict[str, Any] = client.get("/v1/sources/meters").raise_for_status().json()
            if holds(found):
                return found
        except httpx.HTTPError:
            found = {}
        assert time.monotonic() < deadline_s, found
        time.sleep(0.02)


def came(events: int) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["counts"]["events"] >= events


def lines(meter: str, first: int, end: int) -> str:
    return "".join(
        f'{{"meter": "{meter}", "at": {START_MS + n * 250}, "kw": {n / 8}}}\n' for n in range(first, end)
    )


def history(client: httpx.Client, meter: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    after: str | None = None
    while after is not None or not found:
        asked = {"path": "power", "limit": "100000"} | ({"after": after} if after else {})
        page = client.get(f"/v1/twins/{meter}/history", params=asked).raise_for_status().json()
        found += [(row["time"], row["value"]) for row in page["values"]]
        after = page["after"]
        if not page["values"]:
            break
    return found


def test_a_folder_outlives_kills_of_its_server(
    site: Site, client: httpx.Client, folder: Path, described: Path
) -> None:
    rng = random.Random(4)
    port = int(site.url.rpartition(":")[2])
    for number in range(3):
        (folder / f".{number}").write_text(lines(f"m{number}", 0, ROWS), "utf-8")
        (folder / f".{number}").rename(folder / f"m{number}.ndjson")
    for kills, share in enumerate(sorted(rng.sample(range(5, 90), 3)), 1):
        until(client, came(3 * ROWS * share // 100))
        site.stop(signal.SIGKILL)
        # Written slowly, and while nobody looks: half of it before, half of it after.
        slow = folder / f"slow{kills}.ndjson"
        slow.write_text(lines(f"s{kills}", 0, 50), "utf-8")
        site.start(port)
        with slow.open("a", encoding="utf-8") as file:
            file.write(lines(f"s{kills}", 50, 100))
    (folder / "again.ndjson").write_text(lines("m0", 0, ROWS), "utf-8")
    done = until(client, lambda found: found["counts"]["accepted"] >= 3 * ROWS + 3 * 100)
    assert (done["state"], done["error"], done["counts"]["quarantined"]) == ("running", None, 0)
    for number in range(3):
        kept = history(client, f"m{number}")
        assert len(kept) == len(dict(kept)) == ROWS
        assert {value for _, value in kept} == {n / 8 * 1000.0 for n in range(ROWS)}
        twin = client.get(f"/digitaltwins/m{number}").json()
        assert twin["power"] == (ROWS - 1) / 8 * 1000.0
        assert {value for _, value in history(client, f"s{number + 1}")} == {
            n / 8 * 1000.0 for n in range(100)
        }
    time.sleep(1)
    assert until(client, bool)["counts"]["accepted"] == 3 * ROWS + 3 * 100


def test_the_commands_say_how_it_goes(
    site: Site, client: httpx.Client, folder: Path, described: Path
) -> None:
    tried = site.run("source", "test", str(described), "--json").json()
    assert (tried["name"], tried["problems"]) == ("meters", [])
    (listed,) = site.run("source", "list", "--json").json()
    assert (listed["name"], listed["kind"], listed["wanted"]) == ("meters", "folder", "started")
    shown = site.run("source", "show", "meters")
    assert "kind: folder" in shown.out
    assert "unix_ms" in shown.out
    assert "meters" in site.run("source", "status").out
    assert site.run("source", "stop", "meters").code == 0
    until(client, lambda found: found["state"] == "stopped")
    (folder / "late.ndjson").write_text(lines("late", 0, 3), "utf-8")
    time.sleep(0.8)
    assert client.get("/digitaltwins/late").status_code == 404
    assert site.run("source", "start", "meters").code == 0
    until(client, lambda _: client.get("/digitaltwins/late").status_code == 200)
    trail = client.get("/v1/audit", params={"limit": 1000}).json()["value"]
    acts = {(row["action"], row["target"]) for row in trail if row["action"].startswith("source.")}
    assert {("source.put", "meters"), ("source.start", "meters"), ("source.stop", "meters")} <= acts
    assert any(row["actor"] == "source:meters" for row in trail)
    metrics = client.get("/metrics").text
    assert 'gemel_source_outcomes_total{kind="folder",outcome="accepted"}' in metrics


def test_what_is_wrong_is_told_before_anything_is_kept(site: Site, described: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    good = described.read_text("utf-8")
    for change, code in (
        (("settle_s", "settel_s"), "SourceInvalid"),
        (("kind: folder", "kind: floppy"), "SourceInvalid"),
        (("name: meters", "title: meters"), "SourceInvalid"),
        ((str(described.parent), "/etc"), "SourceNotAllowed"),
        (("m.yaml", "none.yaml"), "FileUnreadable"),
    ):
        file.write_text(good.replace(*change), "utf-8")
        (tmp_path / "m.yaml").write_text(MAPPING, "utf-8")
        done = site.run("source", "add", str(file), "--json")
        assert done.code == 1, done
        assert done.error()["code"] == code
    assert site.run("source", "status", "nobody", "--json").error()["code"] == "SourceNotFound"
    assert len(site.run("source", "list", "--json").json()) == 1


def test_a_failed_source_ends_the_status_with_one(site: Site, client: httpx.Client, folder: Path) -> None:
    gone = folder.parent / "gone"
    gone.mkdir()
    file = folder.parent / "gone.yaml"
    file.write_text(f"name: gone\nkind: folder\nconnection: {{folder: {gone}}}\nmapping: m.yaml\n", "utf-8")
    assert site.run("source", "add", str(file)).code == 0
    gone.rmdir()
    assert site.run("source", "start", "gone").code == 0
    deadline_s = time.monotonic() + WAIT_S_MAX
    while client.get("/v1/sources/gone").json()["state"] != "waiting":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    done = site.run("source", "status", "gone")
    assert done.code == 1
    assert "SourceUnavailable" in done.out
    assert site.run("source", "remove", "gone").code == 0
    assert site.run("source", "status", "gone").code == 1
