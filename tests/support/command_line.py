"""The command line as a user runs it: real processes against a real `gemel up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gemel.store.server import BundledServer

__all__ = ["ASSETS", "Done", "Site", "serving"]

ASSETS = Path(__file__).parents[2] / "src" / "gemel" / "demo" / "assets"
COMMAND_S_MAX = 60
STOP_S_MAX = 30


class Done(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return its standard output as JSON; it must have ended well."""
        assert self.code in {0, 4}, self
        return json.loads(self.out)

    def error(self) -> dict[str, Any]:
        """Return the error that it told of with --json, on the last line of standard error."""
        body: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return body


class Site:
    """A data directory, the server on it, and commands that find both by themselves."""

    def __init__(self, data: Path, *options: str, **environment: str) -> None:
        self.data = data
        self._options = options
        self._environment = environment
        self.url = ""
        self._server: subprocess.Popen[str] | None = None

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run `gemel` with arguments and further environment variables."""
        done = subprocess.run(
            [sys.executable, "-m", "gemel", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
            env=self.environment(environment),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `gemel` with arguments, its standard output a pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "gemel", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment({}),
        )

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """Return this process's environment without gemel's variables, on this data directory."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GEMEL_")}
        return kept | {"GEMEL_DATA": str(self.data), "COLUMNS": "140"} | self._environment | more

    def start(self, port: int = 0) -> None:
        """Start the server and wait until it says that it is ready."""
        self._server = self.popen("up", "--port", str(port), "--json", *self._options)
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, f"gemel up ended with {self._server.wait(STOP_S_MAX)}"
        self.url = json.loads(line)["url"]

    def stop(self, with_signal: int = signal.SIGINT) -> int:
        """Stop the server with a signal and return its exit status."""
        assert self._server is not None
        self._server.send_signal(with_signal)
        status = self._server.wait(STOP_S_MAX)
        assert self._server.stdout is not None
        self._server.stdout.close()
        self._server = None
        return status

    def close(self) -> None:
        """Stop whatever still runs."""
        if self._server is not None:
            self.stop(signal.SIGKILL)
        BundledServer(self.data).stop()


@contextmanager
def serving(*options: str, **environment: str) -> Iterator[Site]:
    """Serve a data directory of its own for the length of the block, with options of `gemel up` and variables."""
    with tempfile.TemporaryDirectory(prefix="gemel-test-") as folder:
        site = Site(Path(folder, "data"), *options, **environment)
        try:
            site.start()
            yield site
        finally:
            site.close()
