"""Reading `--set` and `--remove`: dotted paths and JSON values, to twin bodies and JSON Patch."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gemel.base.errors import InvalidError

__all__ = ["assignments", "nested", "patch", "pointer"]


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Read `path=value` texts; a value that is JSON is taken as such, any other is a string.

    >>> assignments(["temperature=21.5", "motor.mode=fast", 'label="7"'])
    {'temperature': 21.5, 'motor.mode': 'fast', 'label': '7'}
    """
    read: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(".")):
            raise InvalidError(
                "UsageInvalid", f"--set {text!r} is not PATH=VALUE.", "As in --set motor.speed=3."
            )
        if path in read:
            raise InvalidError("UsageInvalid", f"--set names {path} twice.", "Give each path once.")
        read[path] = _value(text, value)
    return read


def nested(values: Mapping[str, Any], components: Collection[str] = ()) -> dict[str, Any]:
    """Return values by dotted path as a twin body; `components` names the dotted paths of components.

    Each component becomes an object with the `$metadata` that the API wants of it.

    >>> nested({"motor.speed": 3}, ["motor"])
    {'motor': {'$metadata': {}, 'speed': 3}}
    """
    body: dict[str, Any] = {}
    for component in sorted(components):
        _descend(body, component.split("."), component)["$metadata"] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        place = _descend(body, parents, path)
        if last in place:
            raise InvalidError(
                "UsageInvalid",
                f"--set {path} stands beside a path within it.",
                f"As in --set {path}.NAME=VALUE.",
            )
        place[last] = value
    return body


def patch(values: Mapping[str, Any], removed: Iterable[str]) -> list[dict[str, Any]]:
    """Return the JSON Patch that sets values and removes paths.

    >>> patch({"motor.speed": 3}, ["label"])
    [{'op': 'add', 'path': '/motor/speed', 'value': 3}, {'op': 'remove', 'path': '/label'}]
    """
    sets = [{"op": "add", "path": pointer(path), "value": value} for path, value in values.items()]
    return sets + [{"op": "remove", "path": pointer(path)} for path in removed]


def pointer(path: str) -> str:
    """Return a dotted path as a JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path.split("."))


def _descend(body: dict[str, Any], parents: Iterable[str], path: str) -> dict[str, Any]:
    place = body
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InvalidError("UsageInvalid", f"--set {path} goes through {parent}, which has a value.")
    return place


def _value(text: str, value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_refuse, parse_float=_finite)
    except _NotJsonError as error:
        raise InvalidError(
            "UsageInvalid",
            f"--set {text!r}: {error} is not a value.",
            "Leave it out, or quote it as a string.",
        ) from error
    except ValueError:
        return value


class _NotJsonError(Exception):
    pass


def _refuse(constant: str) -> Any:
    raise _NotJsonError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NotJsonError(text)
    return number
