"""What befalls a run: processes killed, networks cut, clocks moved, disks filled."""

from __future__ import annotations

import errno
import os
import signal
import time

import httpx

from bench.platform import Platform
from support.torture.run import TortureRun

__all__ = [
    "cut_network",
    "fill_disk",
    "hush_network",
    "kill_database",
    "kill_server",
    "move_clock",
    "refuse_network",
    "restart_database",
]

READY_S_MAX = 20.0


def kill_server(run: TortureRun) -> None:
    """Kill gemel, and start it again on the database that it left running."""
    run.platform.kill()
    time.sleep(run.rng.uniform(0, 0.3))
    run.platform.start()


def kill_database(run: TortureRun) -> None:
    """Kill the postmaster, and wait until its supervisor has it running again."""
    os.kill(run.platform.database_pid(), signal.SIGKILL)
    wait_ready(run.platform)


def restart_database(run: TortureRun) -> None:
    """Have the database break off all it does and stop, as for a restart; its supervisor starts it again."""
    os.kill(run.platform.database_pid(), signal.SIGINT)
    wait_ready(run.platform)


def cut_network(run: TortureRun) -> None:
    """Break all connections, some times."""
    for _ in range(run.rng.randrange(1, 5)):
        run.proxy.cut()
        time.sleep(run.rng.uniform(0, 0.2))


def refuse_network(run: TortureRun) -> None:
    """Let no connection through for a while."""
    run.proxy.refuse()
    time.sleep(run.rng.uniform(0.1, 1.0))
    run.proxy.heal()


def hush_network(run: TortureRun) -> None:
    """Leave connections half open, for so long that senders and followers give them up, or nearly."""
    run.proxy.hush()
    time.sleep(run.rng.uniform(0.5, 5.0))
    run.proxy.heal()


def move_clock(run: TortureRun) -> None:
    """Set the wall clock of gemel and its database forward or back, by up to a day; then back to what it is."""
    assert run.clock is not None
    for _ in range(run.rng.randrange(1, 4)):
        run.clock.shift(run.rng.choice([-1, 1]) * run.rng.randrange(1, 86_400))
        time.sleep(run.rng.uniform(0.1, 0.5))
    run.clock.shift(0)


def fill_disk(run: TortureRun) -> None:
    """Let nothing more be written below the data directory for a while."""
    filler = run.platform.data_dir.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            for block in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(block))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            time.sleep(run.rng.uniform(0.3, 1.5))
        finally:
            filler.unlink()
    wait_ready(run.platform)


def wait_ready(platform: Platform) -> None:
    """Wait until the server says that it is ready."""
    time.sleep(0.3)
    until = time.monotonic() + READY_S_MAX
    while time.monotonic() < until:
        try:
            if httpx.get(f"{platform.url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("not ready again in time")
