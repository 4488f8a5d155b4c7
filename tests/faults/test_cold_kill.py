"""kill -9 amid freezing, amid what comes back of frozen weeks and amid merging: nothing is lost, nothing is twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg
import pytest

from bench.platform import Platform, running
from gemel.app.storage import open_storage
from gemel.base.clock import now_us
from gemel.base.settings import load_settings
from gemel.history.cold_weeks import read_cold_weeks, sweep
from gemel.history.rollups import fold_tenant
from gemel.history.weeks import MONDAY_US, WEEK_US
from gemel.store.blobs import open_blobs
from support.graph import interface, prop

SEEDS = range(3)
TWINS, SAMPLES = 12, 400
MODEL = interface("dtmi:t:Gauge;1", prop("level", "double"), prop("note", "string"))
DAY = "%Y-%m-%d"
NDJSON = {"Content-Type": "application/x-ndjson"}

HASTY = """
from gemel.history import heading, merging, packing

heading.BATCH_MIN = heading.BUCKET_MIN = 1
merging.SLICE_PACKS = 8
packing.EVERY_S, packing.MERGE_EVERY_S, packing.MERGE_SHARE = 0.01, 0.05, 1.0
packing.pack_heads.__defaults__ = (1, 0.0)
merging.merge_packs.__defaults__ = (2,)
"""
"""What a server runs as it begins, so that it packs all at once and merges again and again."""
SMALL = """
SELECT coalesce(max(packs), 0) FROM (
    SELECT count(*) AS packs FROM sample_pack WHERE cardinality(source_times) < 72
    GROUP BY tenant, series, date_bin('168 hours', first_time, '1970-01-05 00:00+00')) AS small"""
MERGING = """
SELECT count(*) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND state <> 'idle' AND query LIKE '%DELETE FROM sample_pack%'"""

Key = tuple[str, str, str]
Model = dict[Key, Any]


@pytest.fixture
def platform() -> Iterator[Platform]:
    with running() as platform:
        yield platform


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Platform]:
    (tmp_path / "sitecustomize.py").write_text(HASTY)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    with running(environment={"PYTHONPATH": os.pathsep.join(paths)}) as platform:
        yield platform


class Plant:
    """A platform, and what it has acknowledged: by twin, path and source time the value."""

    def __init__(self, platform: Platform, chance: random.Random) -> None:
        self.platform, self.chance = platform, chance
        self.held: Model = {}
        # Two whole weeks that lie back.
        self.start_us = (now_us() - 5 * WEEK_US - MONDAY_US) // WEEK_US * WEEK_US + MONDAY_US
        self.before = datetime.fromtimestamp((self.start_us + 2 * WEEK_US) / 1e6, UTC)

    @property
    def dsn(self) -> str:
        return open_storage(load_settings(data_dir=self.platform.data_dir)).owner_dsn

    def drawn(self, twin: int, index: int) -> tuple[dict[str, Any], Model]:
        """Draw an event of a twin in the two weeks; a number, and sometimes a text with it."""
        time_us = self.start_us + index * (2 * WEEK_US // SAMPLES) + self.chance.randrange(1000)
        at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_us)
        said = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        data: dict[str, Any] = {"level": self.chance.randrange(1000) / 8}
        if self.chance.random() < 0.2:
            data["note"] = f"n {index}"
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{twin}-{time_us}",
            "source": "plant",
            "type": "t",
        }
        event |= {"subject": f"g{twin}", "time": said, "data": data}
        return event, {(f"g{twin}", path, said): value for path, value in data.items()}

    def send(self, events: list[tuple[dict[str, Any], Model]]) -> None:
        """Send events until they are acknowledged, again after each kill."""
        body = "\n".join(json.dumps(event) for event, _ in events)
        until_s = time.monotonic() + 120
        while True:
            assert time.monotonic() < until_s
            try:
                with self.platform.client() as client:
                    answer = client.post("/v1/events", content=body, headers=NDJSON)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                assert answer.json()["quarantined"] == 0, answer.text
                break
            assert answer.status_code == 503, answer.text
            time.sleep(0.05)
        for _, values in events:
            self.held |= values

    def settle(self) -> None:
        """Have the roll-ups made, up to the end of the weeks."""
        with psycopg.connect(self.dsn, autocommit=True) as owner:
            fold_tenant(owner, 1, now_us(), settle_us=-(10**18))

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "gemel", "history", "freeze", "--before", self.before.strftime(DAY)]
        return [*command, "--data", str(self.platform.data_dir), "--json"]

    def freezing(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def freeze(self) -> list[dict[str, Any]]:
        done = subprocess.run(self.command(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        weeks: list[dict[str, Any]] = json.loads(done.stdout)
        return weeks

    def count(self, table: str) -> int:
        with psycopg.connect(self.dsn) as owner:
            row = owner.execute(f"SELECT count(*) FROM {table} WHERE tenant = 1").fetchone()
        assert row is not None
        return int(row[0])

    def found(self) -> Model:
        """Read all samples back, page by page."""
        found: Model = {}
        with self.platform.client() as client:
            for twin in range(TWINS):
                given: dict[str, Any] = {"limit": 300, "from": "2020-01-01T00:00:00Z"}
                while True:
                    page = client.get(f"/v1/twins/g{twin}/history", params=given)
                    if page.status_code == 503:
                        time.sleep(0.1)
                        continue
                    assert page.status_code == 200, page.text
                    for row in page.json()["values"]:
                        key = (f"g{twin}", row["path"], row["time"])
                        assert key not in found, f"{key} twice"
                        found[key] = row["value"]
                    if page.json()["after"] is None:
                        break
                    given["after"] = page.json()["after"]
        return {
            key: value for key, value in found.items() if key in self.held or key[2] < f"{self.before:{DAY}}"
        }


def planted(platform: Platform, chance: random.Random, **values: float) -> Plant:
    plant = Plant(platform, chance)
    with platform.client() as client:
        client.post("/models", json=[MODEL]).raise_for_status()
        for twin in range(TWINS):
            made = client.put(
                f"/digitaltwins/g{twin}", json={"$metadata": {"$model": "dtmi:t:Gauge;1"}} | values
            )
            made.raise_for_status()
    return plant


def filled(platform: Platform, chance: random.Random) -> Plant:
    plant = planted(platform, chance, level=0.0)
    for index in range(0, SAMPLES, 50):
        plant.send([plant.drawn(twin, at) for at in range(index, index + 50) for twin in range(TWINS)])
    plant.settle()
    return plant


def kill_database(platform: Platform) -> None:
    os.kill(platform.database_pid(), signal.SIGKILL)
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        time.sleep(0.1)
        try:
            if httpx.get(f"{platform.url}/readyz", timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            pass
    raise TimeoutError("the database did not come back")


def check(plant: Plant) -> None:
    assert plant.found() == plant.held


@pytest.mark.parametrize("seed", SEEDS)
def test_freezing_and_thawing_survive_kills(platform: Platform, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    plant = filled(platform, chance)
    check(plant)
    begun = time.monotonic()
    assert plant.freezing().wait(120) == 0
    took_s = time.monotonic() - begun
    frozen = read_cold_weeks(plant.dsn)
    assert sum(week.samples for week in frozen) > len(plant.held) / 2
    check(plant)
    for turn in range(4):
        # What comes late takes series out of the files; amid it the server or the database is killed.
        late = [plant.drawn(twin, chance.randrange(SAMPLES)) for twin in range(TWINS)]
        thaw_amid_a_kill(plant, late, server=turn % 2 == 0)
        check(plant)
        plant.settle()
        assert plant.count("cold_thawed") > 0
        process = plant.freezing()
        time.sleep(chance.uniform(0.3, 1) * took_s)
        if turn % 2:
            kill_database(platform)
            process.wait(60)
        else:
            process.kill()
            process.wait()
        check(plant)
    done = plant.freeze()
    assert all(week["left"] is None and week["behind"] == 0 for week in done), done
    assert plant.count("cold_thawed") == 0
    check(plant)
    named = sorted(week.file for week in read_cold_weeks(plant.dsn))
    blobs = open_blobs(str(platform.data_dir / "cold"))
    sweep(plant.dsn, blobs, older_s=0)
    assert blobs.names("") == named
    check(plant)


def thaw_amid_a_kill(plant: Plant, late: list[tuple[dict[str, Any], Model]], *, server: bool) -> None:
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(plant.send, late)
        time.sleep(plant.chance.uniform(0, 0.05))
        if server:
            plant.platform.kill()
            plant.platform.start()
        else:
            kill_database(plant.platform)
        sent.result(120)


@pytest.mark.parametrize("seed", range(2))
def test_merging_survives_kills(hasty: Platform, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    plant = planted(hasty, chance)
    met = 0
    for turn, index in enumerate(range(0, SAMPLES, 50)):
        parts = [[plant.drawn(twin, at) for twin in range(TWINS)] for at in range(index, index + 50)]
        # What comes late takes packs apart.
        parts.insert(40, [plant.drawn(twin, chance.randrange(index + 1)) for twin in range(TWINS)])
        met += kill_amid_merging(plant, parts, server=turn % 2 == 0)
        check(plant)
    assert met, "no merge was under way as anything was killed"
    until_s = time.monotonic() + 60
    while count_of(plant, SMALL) > 1:
        assert time.monotonic() < until_s, "what is small is not merged"
        time.sleep(0.1)
    check(plant)


def kill_amid_merging(plant: Plant, parts: list[list[tuple[dict[str, Any], Model]]], *, server: bool) -> bool:
    """Kill server or database as soon as a merge is under way while parts are sent; return whether one was."""

    def send() -> None:
        for part in parts:
            plant.send(part)

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        until_s = time.monotonic() + 5
        with psycopg.connect(plant.dsn, autocommit=True) as owner:
            while not (met := bool(_one(owner, MERGING))) and time.monotonic() < until_s:
                pass
        if server:
            plant.platform.kill()
            plant.platform.start()
        else:
            kill_database(plant.platform)
        sent.result(120)
    return met


def count_of(plant: Plant, statement: LiteralString) -> int:
    with psycopg.connect(plant.dsn) as owner:
        return _one(owner, statement)


def _one(owner: psycopg.Connection, statement: LiteralString) -> int:
    row = owner.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
