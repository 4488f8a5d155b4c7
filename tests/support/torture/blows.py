"""What befalls a run: processes killed, brokers too, networks cut, clocks moved, disks filled."""

from __future__ import annotations

import errno
import os
import signal
import time

import httpx

from bench.platform import Platform
from support.torture.run import TortureRun
from support.torture.sinks import WebhookSink
from support.torture.ways import KafkaWay

__all__ = [
    "cut_network",
    "fill_disk",
    "hush_network",
    "kill_broker",
    "kill_database",
    "kill_follower",
    "kill_receiver",
    "kill_server",
    "kill_worker",
    "move_clock",
    "rebalance",
    "refuse_network",
    "restart_broker",
    "restart_database",
]

READY_S_MAX = 20.0


def kill_server(run: TortureRun) -> None:
    """Kill gemel, and start it again on the database that it left running."""
    run.platform.kill()
    time.sleep(run.rng.uniform(0, 0.3))
    run.platform.start()


def kill_worker(run: TortureRun) -> None:
    """Kill the other server on the database, and start it again after a while."""
    worker = run.needs(run.worker)
    worker.kill()
    time.sleep(run.rng.uniform(0, 3.0))
    worker.start()


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
        for link in run.links:
            link.cut()
        time.sleep(run.rng.uniform(0, 0.2))


def refuse_network(run: TortureRun) -> None:
    """Let no connection through for a while."""
    for link in run.links:
        link.refuse()
    time.sleep(run.rng.uniform(0.1, 1.0))
    for link in run.links:
        link.heal()


def hush_network(run: TortureRun) -> None:
    """Leave connections half open, for so long that senders and followers give them up, or nearly."""
    for link in run.links:
        link.hush()
    time.sleep(run.rng.uniform(0.5, 5.0))
    for link in run.links:
        link.heal()


def kill_broker(run: TortureRun) -> None:
    """Kill -9 the broker, and start it again on what it has on its disk."""
    broker = run.needs(run.broker)
    broker.kill()
    time.sleep(run.rng.uniform(0, 1.0))
    broker.start()


def restart_broker(run: TortureRun) -> None:
    """Stop the broker in good order, and start it again."""
    broker = run.needs(run.broker)
    broker.stop()
    broker.start()


def rebalance(run: TortureRun) -> None:
    """Have a reader leave its group and come back."""
    way = run.way
    assert isinstance(way, KafkaWay)
    way.rebalance()


def kill_receiver(run: TortureRun) -> None:
    """Have the receiver of a route be away for a while."""
    assert run.sink is not None
    receiver = run.sink.receiver
    assert isinstance(receiver, WebhookSink)
    receiver.kill()
    time.sleep(run.rng.uniform(0.1, 1.5))
    receiver.start()


def kill_follower(run: TortureRun) -> None:
    """Have the consumer of the change feed lose what it did not keep, and begin again behind what it kept."""
    for _ in range(run.rng.randrange(1, 5)):
        run.follower.kill()
        time.sleep(run.rng.uniform(0.1, 0.5))


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
