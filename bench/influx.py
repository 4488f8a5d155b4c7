"""InfluxDB 1.6 as a peer: the server of Debian's package, on loopback, with data of its own that is cleared away."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.platform import free_port

__all__ = ["Influx", "running_influx"]

DATABASE = "bench"
READY_S_MAX = 30.0
PACKAGE = "influxdb"
# The package's defaults, but for where things lie, and for what leaves the machine: every write is synced to disk
# before it is acknowledged (wal-fsync-delay is 0s by default).
SETTINGS = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[monitor]
store-enabled = false
"""


class Influx:
    """A started server: its version, and the port it answers on."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.write_path = f"/write?db={DATABASE}&precision=s"

    @property
    def version(self) -> str:
        """Its version, as it tells it."""
        return httpx.get(f"http://127.0.0.1:{self.port}/ping").headers["X-Influxdb-Version"]

    def ask(self, statement: str) -> list[list[object]]:
        """Return the rows of the answer to a statement; raises RuntimeError where it is refused."""
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/query", data={"db": DATABASE, "q": statement}, timeout=60
        )
        result = answer.json()["results"][0]
        if "error" in result:
            raise RuntimeError(result["error"])
        series = result.get("series", [])
        return series[0]["values"] if series else []


@contextmanager
def running_influx() -> Iterator[Influx]:
    """Run the server in a temporary folder, and clear it away at the end."""
    with tempfile.TemporaryDirectory(prefix="gemel-bench-influx-") as name:
        folder = Path(name)
        program = shutil.which("influxd") or _unpacked(folder)
        influx = Influx(free_port())
        settings = folder / "influxdb.conf"
        settings.write_text(SETTINGS.format(folder=folder, port=influx.port, rpc_port=free_port()))
        with (folder / "influxd.log").open("wb") as log:
            process = subprocess.Popen([program, "-config", str(settings)], stdout=log, stderr=log)
        try:
            _wait(influx, process, folder / "influxd.log")
            influx.ask(f"CREATE DATABASE {DATABASE}")
            yield influx
        finally:
            process.terminate()
            process.wait(60)


def _unpacked(folder: Path) -> str:
    """Return the program out of Debian's package, fetched and unpacked without installing it."""
    # Fetching drops to an account that must be able to write there.
    os.chmod(folder, 0o777)
    for command in (["apt-get", "--quiet", "download", PACKAGE], ["sh", "-c", f"dpkg -x {PACKAGE}_*.deb ."]):
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SystemExit(
                f"InfluxDB is not here: install influxd 1.6 ({command[0]} is not here either)."
            ) from None
        if done.returncode:
            raise SystemExit(
                f"InfluxDB is not here, and Debian's package {PACKAGE} could not be had: {done.stderr.strip()}\n"
                "Run apt-get update, or install influxd 1.6, and try again."
            )
    return str(folder / "usr/bin/influxd")


def _wait(influx: Influx, process: subprocess.Popen[bytes], log: Path) -> None:
    begun = time.perf_counter()
    while time.perf_counter() - begun < READY_S_MAX:
        try:
            if httpx.get(f"http://127.0.0.1:{influx.port}/ping", timeout=1).status_code == 204:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"InfluxDB did not start: {log.read_text()[-2000:]}")
