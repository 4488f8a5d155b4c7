"""Sample payloads seen as fields: where values stand, and what they look like."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from gemel.base.errors import InvalidError
from gemel.mapping.paths import PLAIN
from gemel.mapping.tables import UNIX_FORMATS

__all__ = ["Leaf", "Shape", "leaves_of", "read_samples", "shapes_of", "time_format"]

VALUES_MAX: Final = 100
DEPTH_MAX: Final = 8
YEARS: Final = (946_684_800, 4_102_444_800)
"""Seconds of 2000 and 2100: between them a number may be a time."""


@dataclass(slots=True)
class Leaf:
    """A field that is no object: its path from the item, and values seen of it."""

    path: str
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to see payloads: what each event would be of (`each`, None for the whole payload), and its fields."""

    each: str | None
    leaves: dict[str, Leaf]


def read_samples(data: bytes, name: str) -> list[bytes]:
    """Return the messages of a sample file: the JSON document that it is, or else its lines.

    Raises InvalidError (FileUnreadable) where there is none.
    """
    if not data.strip():
        raise InvalidError("FileUnreadable", f"{name} is empty.", "Give it a message, or one a line.")
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [line for line in data.split(b"\n") if line.strip()]
    return [data]


def shapes_of(payloads: Sequence[Any]) -> list[Shape]:
    """Return the ways to see payloads: as they are, and by each of their lists of objects."""
    shapes = [Shape(None, _leaves(payloads))] if any(isinstance(each, dict) for each in payloads) else []
    lists: dict[str, list[Any]] = {}
    for payload in payloads:
        for path, found in _lists(payload, "", 0):
            lists.setdefault(path or "@", []).extend(found)
    return shapes + [Shape(path, _leaves(items)) for path, items in lists.items()]


def leaves_of(payload: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a payload that are no objects, with their paths."""
    yield from _walk(payload, "", 0)


def time_format(values: Sequence[Any]) -> str | None:
    """Return the format in which all values are times, or None."""
    if values and all(type(value) in (int, float) for value in values):
        for name, nanoseconds in UNIX_FORMATS.items():
            if all(YEARS[0] <= value * nanoseconds / 1e9 <= YEARS[1] for value in values):
                return name
    if values and all(isinstance(value, str) and len(value) >= 10 for value in values):
        try:
            for value in values:
                datetime.fromisoformat(value)
        except ValueError:
            return None
        return "iso"
    return None


def _leaves(items: Sequence[Any]) -> dict[str, Leaf]:
    leaves: dict[str, Leaf] = {}
    for item in items:
        for path, value in _walk(item, "", 0):
            leaf = leaves.setdefault(path, Leaf(path))
            if value is not None and len(leaf.values) < VALUES_MAX:
                leaf.values.append(value)
    return leaves


def _walk(at: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(at, dict) and depth < DEPTH_MAX:
        for key, value in at.items():
            yield from _walk(value, f"{path}.{_quoted(key)}" if path else _quoted(key), depth + 1)
    elif path:
        yield path, at


def _lists(at: Any, path: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(at, list) and at and all(isinstance(item, dict) for item in at):
        yield path, at
    elif isinstance(at, dict) and depth < DEPTH_MAX:
        for key, value in at.items():
            if PLAIN.fullmatch(key) and "." not in key:
                yield from _lists(value, f"{path}.{key}" if path else key, depth + 1)


def _quoted(key: str) -> str:
    if PLAIN.fullmatch(key) and "." not in key:
        return key
    try:
        return msgspec.json.encode(key).decode()
    except UnicodeEncodeError:
        return json.dumps(key)  # half of a surrogate pair
