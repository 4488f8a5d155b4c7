"""The workload: two-value events of 5,000 twins, as request bodies and as the samples they carry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from bench.platform import Platform
from gemel.base.clock import iso_us

__all__ = ["MODEL", "SHARDS", "TWINS", "Template", "bodies", "line_bodies", "make_twins", "samples"]

TWINS = 5_000
SHARDS = 4
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:gemel:bench:Sensor;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "temperature", "schema": "double"},
        {"@type": "Telemetry", "name": "pressure", "schema": "double"},
        {"@type": "Property", "name": "setpoint", "schema": "double"},
    ],
}
EVENT = (
    '{"specversion":"1.0","id":"%d","source":"/bench","type":"gemel.telemetry","subject":"sensor-%d",'
    '"time":"%s","data":{"temperature":%r,"pressure":%r}}'
)
LINE = "sensor,twin=sensor-%d temperature=%r,pressure=%r %d"
START = datetime(2026, 1, 5, tzinfo=UTC)
MARK = "@"


class Template:
    """One event of each of some twins, as lines without their time; `turn` varies the values."""

    def __init__(self, twins: range, turn: int) -> None:
        lines = (EVENT % (twin, twin, MARK, *_values(turn, twin)) for twin in twins)
        self._pieces = "\n".join(lines).encode().split(MARK.encode())

    def at(self, time_us: int) -> bytes:
        """Return the lines, all of one source time (µs)."""
        return iso_us(time_us).encode().join(self._pieces)


def make_twins(platform: Platform, count: int = TWINS) -> None:
    """Upload the model, and make twins by one event each."""
    with platform.client() as client:
        client.post("/models", json=[MODEL]).raise_for_status()
        for start in range(0, count, 1000):
            body = "\n".join(
                EVENT % (-number, number, _time(-1), 0.5, 1.5) for number in range(start, start + 1000)
            )
            answer = client.post(
                "/v1/events",
                content=body,
                headers={"Content-Type": "application/x-ndjson", "Gemel-Create-Model": str(MODEL["@id"])},
            )
            answer.raise_for_status()
            assert answer.json()["quarantined"] == 0, answer.text[:500]


def bodies(shard: int, count: int, size: int) -> Iterator[bytes]:
    """Yield NDJSON bodies of `size` events, `count` events in all, of the twins of one of SHARDS shards.

    A shard is what one gateway sends: its twins' events in order of time.
    """
    for numbers in _numbers(count, size):
        lines = []
        for number in numbers:
            second, twin = _place(shard, number)
            lines.append(EVENT % (number, twin, _time(second), *_values(second, twin)))
        yield "\n".join(lines).encode()


def line_bodies(shard: int, count: int, size: int) -> Iterator[bytes]:
    """Yield the same events as InfluxDB's line protocol, with times in seconds."""
    for numbers in _numbers(count, size):
        lines = []
        for number in numbers:
            second, twin = _place(shard, number)
            lines.append(LINE % (twin, *_values(second, twin), int(START.timestamp()) + second))
        yield "\n".join(lines).encode()


def samples(seconds: range) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return series, source time (µs) and value of the samples of some seconds, in order of arrival."""
    second, twin = np.divmod(np.arange(seconds.start * TWINS, seconds.stop * TWINS), TWINS)
    series = np.stack((twin * 2, twin * 2 + 1), axis=1).reshape(-1)
    time_us = np.repeat((int(START.timestamp()) + second) * 1_000_000, 2)
    value = np.stack(
        (20.0 + (second * 7 + twin) % 997 / 16, 1.0 + (second + twin) % 251 / 64), axis=1
    ).reshape(-1)
    return series.astype(np.int64), time_us.astype(np.int64), value


def _numbers(count: int, size: int) -> Iterator[range]:
    return (range(start, start + size) for start in range(0, count, size))


def _place(shard: int, number: int) -> tuple[int, int]:
    """Return the second and the twin of an event of a shard."""
    width = TWINS // SHARDS
    return number // width, shard * width + number % width


def _values(second: int, twin: int) -> tuple[float, float]:
    return 20.0 + (second * 7 + twin) % 997 / 16, 1.0 + (second + twin) % 251 / 64


def _time(second: int) -> str:
    return (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")
