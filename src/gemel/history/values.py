"""One observed value as it is stored, and the fixed order by which two values for one key are ranked."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from gemel.base.errors import InvalidError

__all__ = [
    "BAD",
    "DOUBLE",
    "GOOD",
    "INTEGER",
    "JSON",
    "QUALITIES",
    "REMOVED",
    "Encoded",
    "Rank",
    "Storage",
    "canonical_json",
    "decode",
    "encode",
    "rank",
]

Storage = Literal["double", "integer", "json"]

DOUBLE, INTEGER, JSON, REMOVED = 0, 1, 2, 3
QUALITIES = ("good", "uncertain", "bad")
GOOD, BAD = 0, 2

INT64_MIN = -(2**63)

Rank = tuple[int, int, float, str, int, int]

_json = msgspec.json.Encoder(order="sorted")


class Encoded(NamedTuple):
    """A value as columns: a double or integer in `num`, anything else as canonical JSON in `doc`."""

    num: float | None
    kind: int
    doc: str | None


TRUE, FALSE = Encoded(None, JSON, "true"), Encoded(None, JSON, "false")


def encode(value: Any, storage: Storage) -> Encoded:
    """Return a validated value in its stored form.

    Raises InvalidError (ValueOutOfRange) for what PostgreSQL cannot hold: U+0000 or a lone surrogate in text.
    """
    if storage == "double":
        return Encoded(float(value), DOUBLE, None)
    if storage == "integer":
        return Encoded(float(value), INTEGER, None)
    if type(value) is bool:
        return TRUE if value else FALSE
    try:
        text = canonical_json(value)
    except UnicodeEncodeError as error:
        raise InvalidError("ValueOutOfRange", "The text holds a lone surrogate.") from error
    if "\\u0000" in text and _has_nul(value):
        raise InvalidError("ValueOutOfRange", "The text holds U+0000, which cannot be stored.")
    return Encoded(None, JSON, text)


def decode(num: float | None, kind: int, doc: Any) -> Any:
    """Return the value of a stored form whose `doc` is decoded already; a removed one is None."""
    if kind == DOUBLE:
        return num
    if kind == INTEGER:
        return int(num) if num is not None else None
    return _plain(doc) if kind == JSON else None


def canonical_json(value: Any) -> str:
    """Return the one text of a JSON value: keys sorted, whole numbers without a fraction."""
    # Most are texts, and imports encode millions of them.
    return _json.encode(value if type(value) is str else _plain(value)).decode()


def rank(revision: int, encoded: Encoded, quality: int) -> Rank:
    """Return what two values for one key are compared by; the greater wins, equal ones are the same.

    First the revision, then removed < numbers < other JSON, then the value, then good over bad, then kind.
    """
    num, kind, doc = encoded
    group = 0 if kind == REMOVED else 1 if kind != JSON else 2
    return (revision, group, num or 0.0, doc or "", BAD - quality, kind)


def _plain(value: Any) -> Any:
    """Write each number one way: whole ones of 64 bits as integers, all others as doubles.

    jsonb keeps a double's shortest digits, so a large one comes back as another integer with the same double.
    """
    if isinstance(value, float):
        return int(value) if value.is_integer() and INT64_MIN <= value < -INT64_MIN else value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if INT64_MIN <= value < -INT64_MIN else float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)
