"""How ways in other than CloudEvents write what a run tells, and under which codes and names poison is set aside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from support.torture.world import Dialect

__all__ = ["DEVICE", "DEVICE_MAPPING", "OPC_UA", "OPC_UA_MAPPING", "PLANT_NAMESPACE"]

PLANT_NAMESPACE = "urn:gemel:torture:plant"

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

OPC_UA_MAPPING: Mapping[str, Any] = {
    "version": 2,
    "source": "/torture",
    "time": {"path": "time", "format": "iso"},
    "twins": [
        {
            "twin": "{thing}",
            "quality": "quality",
            "values": {"speed": "values.speed", "flow": "values.flow", "smell": "values.smell"},
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


def _as_write(event: dict[str, Any]) -> bytes:
    """Write an event as what is to become of a variable: thing, name, time, value."""
    ((path, value),) = event["data"].items()
    return json.dumps([event["subject"], path, event["time"], value]).encode()


def _name_of_change(event: dict[str, Any]) -> str:
    (path,) = event["data"]
    whole = event["time"] if "." in event["time"] else event["time"].replace("Z", ".000000Z")
    return f"nsu={PLANT_NAMESPACE};s={event['subject']}.{path}@{whole}"


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

# A node's values come in the order of their times. One of the far future that was missed is not looked for.
OPC_UA = Dialect(
    _as_write,
    {code: code for code in ("PathNotInModel", "WrongType", "TimeInFuture")},
    _name_of_change,
    frozenset({"TimeInFuture"}),
    ordered=True,
)
