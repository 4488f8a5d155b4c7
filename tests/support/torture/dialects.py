"""How ways in other than CloudEvents write what a run tells, and under which codes and names poison is set aside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from support.torture.world import Dialect

__all__ = ["DEVICE", "DEVICE_MAPPING"]

DEVICE_MAPPING: Mapping[str, Any] = {
    "version": 2,
    "source": "/torture",
    "topic": "{run}/{device}",
    "id": "n",
    "time": {"path": "at", "format": "iso"},
    "twins": [
        {
            "twin": "{of.thing}",
            "values": {
                "speed": "told.speed",
                "flow": {"path": "told.flow", "expr": "value / 2.0"},
                "smell": "told.smell",
            },
        }
    ],
}


def _as_device(event: dict[str, Any]) -> bytes:
    """Write an event as a device of no standard would: nested, its flow doubled."""
    told = dict(event["data"])
    if "flow" in told:
        told["flow"] *= 2
    return json.dumps(
        {"n": event["id"], "of": {"thing": event["subject"]}, "at": event["time"], "told": told}
    ).encode()


DEVICE = Dialect(
    _as_device,
    {
        "EventMalformed": "MappingFailed",
        "PathNotInModel": "PathNotInModel",
        "WrongType": "WrongType",
        "TimeInFuture": "TimeInFuture",
        "TimeNaive": "MappingFailed",
    },
    again=True,
)
