"""Load with disorder and poison through blows of each kind; afterwards all equals the model, set for set.

State, history, quarantine and change feed are read as a user reads them. What was acknowledged is sent again only
where the stream itself repeats it. `make faults` runs many more seeds than `make test`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from bench.ingest import owner_dsn
from bench.platform import Platform, running
from support.torture import blows
from support.torture.clock import ShiftedClock
from support.torture.run import Blow, Scene, TortureRun
from support.torture.stage import learn, open_folder
from support.torture.world import STEADY

KINDS: dict[str, list[Blow]] = {
    "server": [blows.kill_server],
    "database": [blows.kill_database, blows.restart_database],
    "network": [blows.cut_network, blows.refuse_network, blows.hush_network],
    "mixed": [blows.kill_server, blows.kill_database, blows.cut_network, blows.hush_network],
    "feed": [blows.kill_follower, blows.kill_server, blows.cut_network],
}
BLOWS = 2
SMALL_HEADS = Path(__file__).parent.parent / "support/small_heads"
SMALL_DISK = "size=320m"
HOUR_S = 3_600


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running() as platform:
        learn(platform)
        yield platform


@pytest.fixture(scope="module")
def clocked() -> Iterator[tuple[Platform, ShiftedClock]]:
    """A platform, and the wall clock that it and its database go by."""
    with open_folder() as folder:
        clock = ShiftedClock(folder)
        with running(environment=clock.environment) as platform:
            learn(platform)
            clock.shift(HOUR_S)
            assert told_s(platform) > time.time() + HOUR_S / 2, "the clock does not move"
            clock.shift(0)
            yield platform, clock


@pytest.fixture(scope="module")
def packing() -> Iterator[Platform]:
    """A platform that packs all the time, and whatever it can."""
    path = os.pathsep.join([str(SMALL_HEADS), os.environ.get("PYTHONPATH", "")])
    with running(environment={"PYTHONPATH": path}) as platform:
        learn(platform)
        yield platform
        with psycopg.connect(owner_dsn(platform)) as owner:
            found = owner.execute(
                "SELECT (SELECT count(*) FROM sample), count(*) FROM sample_pack"
            ).fetchone()
            assert found is not None
            assert found[1] > 20, f"rows and packs: {found}"


@pytest.fixture(scope="module")
def confined() -> Iterator[Platform]:
    """A platform on a disk of its own, a small one. It takes the right to mount one."""
    with open_folder() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", str(folder)], check=True)
        try:
            os.chmod(folder, 0o755)
            with running(folder) as platform:
                learn(platform)
                yield platform
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_all_equals_the_model_after(
    platform: Platform, survived: dict[str, Counter[str]], kind: str, fault_seed: int
) -> None:
    run = TortureRun(platform, fault_seed, kind)
    run.go([run.rng.choice(KINDS[kind]) for _ in range(BLOWS)])
    survived[kind] += run.counts


def test_all_equals_the_model_while_samples_are_packed(
    packing: Platform, survived: dict[str, Counter[str]], fault_seed: int
) -> None:
    run = TortureRun(packing, fault_seed, "packing", Scene(dialect=STEADY))
    run.go([run.rng.choice(KINDS["mixed"]) for _ in range(BLOWS)])
    survived["packing"] += run.counts


def test_all_equals_the_model_whatever_the_clock_says(
    clocked: tuple[Platform, ShiftedClock], survived: dict[str, Counter[str]], fault_seed: int
) -> None:
    platform, clock = clocked
    run = TortureRun(platform, fault_seed, "clock", Scene(clock))
    run.go([blows.move_clock] * BLOWS)
    survived["clock"] += run.counts


def test_all_equals_the_model_after_a_full_disk(
    confined: Platform, survived: dict[str, Counter[str]], costly_seed: int
) -> None:
    run = TortureRun(confined, costly_seed, "disk")
    run.go([blows.fill_disk] * BLOWS)
    survived["disk"] += run.counts


def told_s(platform: Platform) -> float:
    """Return the time that the server tells, once it had a second to see its clock anew."""
    time.sleep(1.5)
    return parsedate_to_datetime(httpx.get(f"{platform.url}/healthz").headers["date"]).timestamp()
