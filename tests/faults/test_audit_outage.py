"""The database and the server die under refused writes: each that was answered has its audit row, once."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psycopg
import pytest

from bench.platform import Platform, running
from gemel.app.storage import open_storage
from gemel.base.settings import load_settings

SEEDS = range(3)
SENDERS = 4
WAIT_S_MAX = 20.0


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running() as platform:
        yield platform


class Senders:
    """Refused writes from many threads, each with a trace of its own; `answered` says how by trace."""

    def __init__(self, platform: Platform, seed: int) -> None:
        self.platform = platform
        self.answered: dict[str, int] = {}
        self.stop = threading.Event()
        self._rngs = [random.Random(seed * 100 + number) for number in range(SENDERS)]
        self._threads = [threading.Thread(target=self._send, args=(rng,)) for rng in self._rngs]

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def count(self, status: int) -> int:
        return Counter(self.answered.copy().values())[status]

    def until(self, status: int, more: int) -> None:
        """Wait until so many more were answered with a status."""
        wanted, end_s = self.count(status) + more, time.monotonic() + WAIT_S_MAX
        while self.count(status) < wanted:
            assert time.monotonic() < end_s, f"no {status} came: {Counter(self.answered.values())}"
            time.sleep(0.01)

    def _send(self, rng: random.Random) -> None:
        while not self.stop.is_set():
            try:
                with self.platform.client() as named, httpx.Client(base_url=self.platform.url) as stranger:
                    while not self.stop.is_set():
                        trace = f"{rng.getrandbits(128) | 1:032x}"
                        headers = {"traceparent": f"00-{trace}-{trace[:15]}1-01"}
                        client = rng.choice([named, named, stranger])
                        answer = client.delete("/digitaltwins/nobody", headers=headers)
                        self.answered[trace] = answer.status_code
            except httpx.TransportError:
                time.sleep(0.02)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_answered_refusal_has_its_row_once(platform: Platform, seed: int) -> None:
    rng = random.Random(seed)
    cluster = platform.data_dir / "postgres"
    version = (cluster / "PG_VERSION").read_text()
    with Senders(platform, seed) as senders:
        senders.until(404, rng.randrange(10, 60))
        senders.until(401, 1)
        (cluster / "PG_VERSION").write_text("12\n")  # so that it stays away until it may come back
        os.kill(platform.database_pid(), signal.SIGKILL)
        senders.until(503, rng.randrange(20, 200))
        if rng.random() < 0.5 or seed == 0:
            platform.kill()
            (cluster / "PG_VERSION").write_text(version)
            platform.start()
        else:
            (cluster / "PG_VERSION").write_text(version)
        senders.until(404, rng.randrange(10, 60))
    compare(platform, senders.answered, seed)


def test_a_server_killed_as_it_empties_its_spool_loses_and_doubles_none(platform: Platform) -> None:
    cluster = platform.data_dir / "postgres"
    version = (cluster / "PG_VERSION").read_text()
    with Senders(platform, 77) as senders:
        senders.until(404, 1)
        (cluster / "PG_VERSION").write_text("12\n")
        os.kill(platform.database_pid(), signal.SIGKILL)
        senders.until(503, 1500)
    platform.kill()
    (cluster / "PG_VERSION").write_text(version)
    for _ in range(3):
        kill_emptying(platform, random.Random(77))
    platform.start()
    compare(platform, senders.answered, 77)


def kill_emptying(platform: Platform, rng: random.Random) -> None:
    """Start the server, and kill it a moment after it began to empty its spool, if there is one still."""

    def start() -> None:
        with suppress(RuntimeError):  # it ends before it is ready
            platform.start()

    starting = threading.Thread(target=start)
    starting.start()
    end_s = time.monotonic() + WAIT_S_MAX
    while waiting(platform) and not (platform.data_dir / "refusals.taken.jsonl").exists():
        assert time.monotonic() < end_s
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.1))
    platform.kill()
    starting.join()


def waiting(platform: Platform) -> bool:
    return any(platform.data_dir.glob("refusals*"))


def compare(platform: Platform, answered: dict[str, int], seed: int) -> None:
    """Hold the trail against what was answered, once nothing waits in the spool."""
    end_s = time.monotonic() + WAIT_S_MAX
    while waiting(platform):
        assert time.monotonic() < end_s, f"seed {seed}: the spool is not emptied"
        time.sleep(0.05)
    dsn = open_storage(load_settings({}, data_dir=platform.data_dir)).owner_dsn
    with psycopg.connect(dsn) as owner:
        rows = owner.execute("SELECT trace_id, result FROM audit WHERE target = 'nobody'").fetchall()
    kept = Counter(str(trace) for trace, _ in rows)
    codes = {401: "TokenInvalid", 404: "DigitalTwinNotFound", 503: "DatabaseUnavailable"}
    told = {str(trace): str(result) for trace, result in rows}
    lost = [trace for trace in answered if trace not in kept]
    assert not lost, f"seed {seed}: {len(lost)} of {len(answered)} have no row"
    assert {trace for trace, count in kept.items() if count > 1} == set(), f"seed {seed}: doubled"
    wrong = {
        trace: (status, told[trace]) for trace, status in answered.items() if codes[status] != told[trace]
    }
    assert not wrong, f"seed {seed}: {json.dumps(wrong)[:500]}"
    print(f"seed {seed}: {Counter(answered.values())}, each with its row")
