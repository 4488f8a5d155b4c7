"""Values read back from the platform: the last ones, or those of a recording's moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from gemel.base.clock import iso_us, to_us
from gemel.connectors.sender import Server

__all__ = ["Held", "LastValues", "RecordedValues", "Values"]

LOOK_BACK_US = 20_000_000
ROWS_MAX = 5000


class Held(NamedTuple):
    """A value as the platform holds it, with its source time (µs) and DTDL unit."""

    value: Any
    source_us: int
    unit: str | None


class Values(Protocol):
    """A way to read a twin's values."""

    def read(self, server: Server, twin: str) -> dict[str, Held]:
        """Return the values by dotted path. Raises GemelError for what the platform refuses."""


class LastValues:
    """The last value of each path."""

    def read(self, server: Server, twin: str) -> dict[str, Held]:
        """Return them as /v1/twins/{id}/telemetry gives them."""
        held = server.send("GET", f"/v1/twins/{quote(twin, safe='')}/telemetry").json()["values"]
        return {path: Held(v["value"], _us(v["sourceTime"]), v["unit"]) for path, v in held.items()}


@dataclass(frozen=True, slots=True)
class RecordedValues:
    """The values as of a moment in the past, from history: the last ones may be of an earlier replay.

    `moment_us` is None where nothing was acknowledged yet. Only samples of the last 20 s before the moment
    are looked at.
    """

    moment_us: Callable[[], int | None]
    units: Mapping[tuple[str, str], str]

    def read(self, server: Server, twin: str) -> dict[str, Held]:
        """Return them as /v1/twins/{id}/history gives them."""
        moment_us = self.moment_us()
        if moment_us is None:
            return {}
        window = {"from": iso_us(moment_us - LOOK_BACK_US), "to": iso_us(moment_us + 1), "limit": ROWS_MAX}
        rows = server.send("GET", f"/v1/twins/{quote(twin, safe='')}/history", params=window).json()["values"]
        # In the order of time: the last of each path remains.
        return {r["path"]: Held(r["value"], _us(r["time"]), self.units.get((twin, r["path"]))) for r in rows}


def _us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))
