"""Messages that reach the platform as changes of an OPC UA server's variables, or by its history."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench.platform import Platform, free_port
from support.tcp_proxy import TcpProxy
from support.torture.dialects import OPC_UA_MAPPING
from support.torture.reading import history_of, newest_set_aside, set_aside
from support.torture.ways import SETTLED_S_MAX, Count, put_twins, remove_sources, start_source
from support.torture.world import PATHS, World, expected

__all__ = ["OpcUaWay", "PlantProcess"]

START_S_MAX = 60.0
ANSWER_S_MAX = 10.0
BEFORE = 6
"""How many batches are written before the source starts, so that it finds them in the history."""


class PlantProcess:
    """The plant of support.torture.plant, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, self._control = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def start(self) -> None:
        """Start it on what it wrote down, and wait until it takes connections."""
        program = [sys.executable, "-m", "support.torture.plant"]
        ports = [str(self.port), str(self._control), str(self._folder)]
        with (self._folder / "plant.log").open("ab") as log:
            self._process = subprocess.Popen([*program, *ports], stdout=log, stderr=log)
        until = time.monotonic() + START_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._control), 1).close()
            except OSError:
                assert self._process.poll() is None, (self._folder / "plant.log").read_text()[-4000:]
                assert time.monotonic() < until, "the plant does not start"
                time.sleep(0.05)
            else:
                return

    def stop(self, with_signal: int = signal.SIGINT) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(START_S_MAX)
            self._process = None

    def kill(self) -> None:
        """Kill -9."""
        self.stop(signal.SIGKILL)

    def write(self, bodies: Sequence[bytes]) -> None:
        """Have variables change, until the plant has said that it keeps it; it is written again where it was killed."""
        until = time.monotonic() + SETTLED_S_MAX
        line = b"[" + b",".join(bodies) + b"]\n"
        while True:
            assert time.monotonic() < until, "the plant did not keep what was written in time"
            try:
                if self._link is None:
                    self._link = socket.create_connection(("127.0.0.1", self._control), ANSWER_S_MAX)
                self._link.sendall(line)
                if self._link.recv(16) == b"kept\n":
                    return
            except OSError:
                pass
            self.close()
            time.sleep(0.05)

    def close(self) -> None:
        """Let go of the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None


class OpcUaWay:
    """A source that reads a plant through a proxy, from the beginning of its history."""

    def __init__(self, platform: Platform, count: Count) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gemel-plant-")
        self.broker = PlantProcess(Path(self._folder.name))
        self.links: Sequence[TcpProxy] = (TcpProxy(self.broker.port),)
        self._platform = platform
        self._count = count
        self._world: World | None = None
        self._aside_before = newest_set_aside(platform)
        self._batches = 0

    def begin(self, world: World) -> None:
        """Make the twins and start the plant; the source starts later."""
        self._world = world
        put_twins(self._platform, world)
        keys = [(twin, path) for twin in world.twins for path in (*PATHS, "smell")]
        nodes = Path(self._folder.name) / "nodes.json"
        nodes.write_text(json.dumps([*keys, (world.end, "speed")]), "utf-8")
        self.broker.start()

    def send(self, bodies: Sequence[bytes]) -> None:
        """Have the plant's variables change."""
        self._count("requests", 1)
        self.broker.write(bodies)
        self._batches += 1
        if self._batches == BEFORE:
            self._start()

    def finish(self, marker: bytes) -> None:
        """Wait until all is there, and then have the last variable change."""
        assert self._world is not None
        outcome = expected(self._world.messages)
        until = time.monotonic() + SETTLED_S_MAX
        values, aside = len(outcome.history), len(outcome.set_aside)
        while (found := self._found(self._world))[0] < values or found[1] < aside:
            assert time.monotonic() < until, f"{found} of {values} values and {aside} rejected events"
            time.sleep(0.2)
        self.send([marker])

    def close(self) -> None:
        """Stop the source and the plant."""
        self.broker.close()
        for link in self.links:
            link.close()
        if self._world is not None:
            with contextlib.suppress(httpx.HTTPStatusError):
                remove_sources(self._platform, [self._world.tag])
        self.broker.kill()
        self._folder.cleanup()

    def _start(self) -> None:
        """Describe and start the source, though the platform be killed meanwhile."""
        assert self._world is not None
        connection = {
            "url": f"opc.tcp://127.0.0.1:{self.links[0].port}/plant", "nodes": ["Plant/*/*"], "queue": 5,
            "publishing_ms": 20, "sampling_ms": 0, "timeout_s": 2, "history": "2026-03-01T00:00:00Z",
        }  # fmt: skip
        until = time.monotonic() + SETTLED_S_MAX
        while True:
            try:
                return start_source(self._platform, self._world.tag, "opcua", connection, OPC_UA_MAPPING)
            except (httpx.TransportError, httpx.HTTPStatusError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def _found(self, world: World) -> tuple[int, int]:
        codes = {code for code, _ in expected(world.messages).set_aside}
        with self._platform.client() as client:
            values = sum(1 for twin in world.twins for _ in history_of(client, twin))
            aside = sum(1 for code, _ in set_aside(client, self._aside_before) if code in codes)
        return values, aside
