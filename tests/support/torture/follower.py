"""A slow consumer of the change feed, which goes on after whatever cuts it off, its own death too."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from support.torture.world import Reading

__all__ = ["Follower"]

READ_S_MAX = 3.0
KEPT_EVERY = 10
"""After how many changes it keeps what it took, with the id of the last, as on a disk."""


class _KilledError(Exception):
    pass


class Follower:
    """Reads the changes of some twins in a thread, with pauses, until it is told of the twin named `end`."""

    def __init__(self, url: str, key: str, twins: Sequence[str], end: str, pause_s: float) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._twins = [*twins, end]
        self._end = end
        self._pause_s = pause_s
        self._rng = random.Random(end)
        self._last: str | None = None
        self._kept: tuple[str | None, int, int] = (None, 0, 0)
        self._killed = threading.Event()
        self.told: list[Reading] = []
        self.numbers: list[int] = []
        self.connections = 0
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, and wait until it is known where the feed stands."""
        self._thread.start()
        assert self._begun.wait(30), "the feed does not begin"

    def kill(self) -> None:
        """Have it lose all that it did not keep, and begin again behind what it kept."""
        self._killed.set()

    def finish(self, timeout_s: float) -> bool:
        """Wait until the end was told; return whether it was."""
        ended = self._ended.wait(timeout_s)
        self._stop.set()
        self._thread.join(READ_S_MAX + 10)
        return ended

    def _run(self) -> None:
        while not self._stop.is_set() and not self._ended.is_set():
            try:
                self._follow()
            except httpx.TransportError:
                time.sleep(0.1)
            except _KilledError:
                self._killed.clear()
                self._last, told, numbers = self._kept
                del self.told[told:], self.numbers[numbers:]

    def _follow(self) -> None:
        headers = self._headers | ({} if self._last is None else {"Last-Event-ID": self._last})
        timeout = httpx.Timeout(5, read=READ_S_MAX)
        params = {"twin": self._twins}
        with (
            httpx.Client(base_url=self._url, headers=headers, timeout=timeout) as client,
            client.stream("GET", "/v1/changes", params=params) as response,
        ):
            if response.status_code != 200:
                assert response.status_code in {429, 503}, response.read()
                time.sleep(0.2)
                return
            self.connections += 1
            self._take(response.iter_lines())

    def _take(self, lines: Iterator[str]) -> None:
        """Take whole changes only: the id that ends one is the promise to go on after it."""
        kind, number, held = "", None, list[Reading]()
        for line in lines:
            if self._killed.is_set():
                raise _KilledError
            if line.startswith("id: "):
                number = line[4:]
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == "samples":
                held += _readings(json.loads(line[6:]))
            elif not line and number is not None:
                self._keep(number, held)
                number, held = None, []
                if self._ended.is_set():
                    return
                if self._rng.random() < 0.3:
                    time.sleep(self._pause_s)

    def _keep(self, number: str, held: list[Reading]) -> None:
        self._last = number
        self._begun.set()
        if held:
            self.numbers.append(int(number))
        self.told += [reading for reading in held if reading.twin != self._end]
        if len(self.numbers) % KEPT_EVERY == 0:
            self._kept = number, len(self.told), len(self.numbers)
        if any(reading.twin == self._end for reading in held):
            self._ended.set()


def _readings(body: dict[str, Any]) -> list[Reading]:
    return [
        Reading(told["twin"], told["path"], told["sourceTime"], told["value"], told["revision"])
        for told in body["samples"]
    ]
