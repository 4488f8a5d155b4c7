"""A real `gemel up` in a process of its own, on a data directory of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

__all__ = ["MemoryWatch", "Platform", "free_port", "running"]

READY_S_MAX = 60.0
WATCH_S = 0.25
"""How often memory is looked at: a look goes through all processes, on the cores that are measured."""
PORTS = range(15_000, 30_000)
"""Below those that the kernel gives to connections."""


class Platform:
    """A started platform: its URL, key and process, and the variables that it has beside ours."""

    def __init__(self, data_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.environment = environment or {}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The default tenant's key."""
        return (self.data_dir / "default.key").read_text().strip()

    def start(self) -> float:
        """Start it and return how many seconds passed until /readyz said so."""
        begun = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "gemel",
            "up",
            "--data",
            str(self.data_dir),
            "--port",
            str(self.port),
        ]
        with (self.data_dir.parent / "up.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        while time.perf_counter() - begun < READY_S_MAX:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200:
                    return time.perf_counter() - begun
            except httpx.TransportError:
                pass
            if self.process.poll() is not None:
                raise RuntimeError((self.data_dir.parent / "up.log").read_text()[-4000:])
            time.sleep(0.02)
        raise TimeoutError("gemel up was not ready in time")

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def kill(self) -> None:
        """Kill the server, and leave its database running alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def database_pid(self) -> int:
        """Return the process id of its database, as soon as there is one."""
        file = self.data_dir / "postgres" / "postmaster.pid"
        begun = time.perf_counter()
        while time.perf_counter() - begun < READY_S_MAX:
            words = file.read_text().split() if file.exists() else []
            if words:
                return int(words[0])
            time.sleep(0.02)
        raise TimeoutError("the database has no process")

    def client(self) -> httpx.Client:
        """Return a client with the key."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60)


@contextmanager
def running(within: Path | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Platform]:
    """Run a platform in a temporary directory, with further variables, and clear it away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gemel-bench-", dir=within))
    os.chmod(folder, 0o755)
    platform = Platform(folder / "data", environment)
    platform.data_dir.mkdir(mode=0o700)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()
        shutil.rmtree(folder, ignore_errors=True)


class MemoryWatch:
    """Samples the resident memory of all gemel processes, PostgreSQL excluded, and keeps the peak."""

    def __init__(self, platform: Platform) -> None:
        assert platform.process is not None
        self._process = psutil.Process(platform.process.pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mib = 0.0

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            total = self._process.memory_info().rss
            for child in self._process.children(recursive=True):
                try:
                    if "postgres" not in child.name():
                        total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_mib = max(self.peak_mib, total / 2**20)


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that no connection is given until somebody does."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
