"""Checks JSON values against schemas.

Rules: DTDL v2 to v4 primitive schemas; dates and times per RFC 3339, durations per ISO 8601, geometries per
RFC 7946. A boolean is never a number, 5.0 is never an integer, and NaN and infinity are never values.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache

from gemel.models.literals import DURATION
from gemel.models.schemas import Array, Enum, Geospatial, Map, Object, Primitive, Schema

__all__ = ["INTEGERS", "validate_value"]

_DEPTH_MAX = 64
_DATE_LENGTH_MAX = 40
_FLOAT_MAX = 3.4028234663852886e38
INTEGERS = {
    "byte": (-(2**7), 2**7 - 1),
    "short": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "unsignedByte": (0, 2**8 - 1),
    "unsignedShort": (0, 2**16 - 1),
    "unsignedInteger": (0, 2**32 - 1),
    "unsignedLong": (0, 2**64 - 1),
}
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_DATES = {"date": re.compile(_DATE, re.ASCII), "dateTime": re.compile(f"{_DATE}T{_TIME}", re.ASCII)}
_TEXTS: dict[str, tuple[re.Pattern[str], str]] = {
    "time": (re.compile(_TIME, re.ASCII), "an RFC 3339 time with a zone, such as 12:30:00Z"),
    "duration": (DURATION, "an ISO 8601 duration, such as PT5M"),
    "uuid": (
        re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII),
        "a UUID (RFC 9562)",
    ),
    "bytes": (
        re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII),
        "bytes in base64 (RFC 4648)",
    ),
    "decimal": (re.compile(r"[+-]?(?:[1-9][0-9]*|0)(?:\.[0-9]*)?", re.ASCII), "a decimal number as a string"),
}


_ALWAYS: Mapping[str, type] = {"string": str, "boolean": bool}
"""Kinds of which every value of a Python type is an instance."""


def validate_value(schema: Schema, value: object) -> str | None:
    """Say why a decoded JSON value is not an instance of a schema: what was expected and where; None if it is.

    Time is linear in the size of the value; values nested deeper than 64 are refused.
    """
    if type(schema) is Primitive and type(value) is _ALWAYS.get(schema.kind):
        return None
    return _check(schema, value, "", 0)


def _check(schema: Schema, value: object, at: str, depth: int) -> str | None:
    if depth > _DEPTH_MAX:
        return f"{_where(at)}expected no more than {_DEPTH_MAX} levels of nesting."
    return _CHECKS[type(schema)](schema, value, at, depth)


def _where(at: str) -> str:
    return f"At {at}: " if at else ""


def _expected(what: str, value: object, at: str) -> str:
    return f"{_where(at)}expected {what}, not {_told(value)}."


def _told(value: object) -> str:
    """Return a value as JSON would have it, shortened."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return reprlib.repr(value)


def _primitive(schema: Schema, value: object, at: str, _depth: int) -> str | None:
    assert isinstance(schema, Primitive)
    problem = _primitive_problem(schema.kind, value)
    return None if problem is None else _expected(problem, value, at)


def _primitive_problem(kind: str, value: object) -> str | None:
    """What a value should have been; None when it is that."""
    if kind in ("double", "float"):
        return _real_problem(kind, value)
    if kind in INTEGERS:
        least, most = INTEGERS[kind]
        fits = type(value) is int and least <= value <= most
        return None if fits else f"a whole number from {least} to {most} (DTDL {kind})"
    if kind == "boolean":
        return None if isinstance(value, bool) else "true or false"
    if kind == "string":
        return None if isinstance(value, str) else "a string"
    if kind in _DATES:
        return _date_problem(kind, value)
    pattern, title = _TEXTS[kind]
    return None if isinstance(value, str) and pattern.fullmatch(value) else title


def _real_problem(kind: str, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"a number (DTDL {kind})"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return "a finite number of 64 bits"
    if kind == "float" and abs(number) > _FLOAT_MAX:
        return "a number in the range of 32-bit floats"
    return None


def _date_problem(kind: str, value: object) -> str | None:
    # What is put together is often of one time.
    if isinstance(value, str) and len(value) <= _DATE_LENGTH_MAX:
        return _known_date_problem(kind, value)
    return _text_date_problem(kind, value)


@lru_cache(maxsize=1024)
def _known_date_problem(kind: str, value: str) -> str | None:
    return _text_date_problem(kind, value)


def _text_date_problem(kind: str, value: object) -> str | None:
    match = _DATES[kind].fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        try:
            date(int(match["year"]), int(match["month"]), int(match["day"]))
        except ValueError:
            match = None
    if match is not None:
        return None
    if kind == "date":
        return "an RFC 3339 date, such as 2026-01-31"
    return "an RFC 3339 date and time with a zone, such as 2026-01-31T12:30:00Z"


def _enum(schema: Schema, value: object, at: str, _depth: int) -> str | None:
    assert isinstance(schema, Enum)
    wanted = int if schema.kind == "integer" else str
    if type(value) is wanted and any(entry.value == value for entry in schema.entries):
        return None
    names = [repr(entry.value) for entry in schema.entries]
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return _expected(f"one of {shown}" if names else "nothing: the enumeration is empty", value, at)


def _object(schema: Schema, value: object, at: str, depth: int) -> str | None:
    assert isinstance(schema, Object)
    if not isinstance(value, dict):
        return _expected("an object", value, at)
    for name, item in value.items():
        field = schema.fields.get(name)
        if field is None:
            known = ", ".join(schema.fields) or "none"
            return f"{_where(at)}expected no field {name!r}; the fields are {known}."
        problem = _check(field.schema, item, f"{at}.{name}" if at else name, depth + 1)
        if problem is not None:
            return problem
    return None


def _map(schema: Schema, value: object, at: str, depth: int) -> str | None:
    assert isinstance(schema, Map)
    if not isinstance(value, dict):
        return _expected("an object", value, at)
    for name, item in value.items():
        problem = _check(schema.value, item, f"{at}.{name}" if at else str(name), depth + 1)
        if problem is not None:
            return problem
    return None


def _array(schema: Schema, value: object, at: str, depth: int) -> str | None:
    assert isinstance(schema, Array)
    if not isinstance(value, list):
        return _expected("an array", value, at)
    for index, item in enumerate(value):
        problem = _check(schema.element, item, f"{at}[{index}]", depth + 1)
        if problem is not None:
            return problem
    return None


def _is_position(value: object) -> bool:
    if not isinstance(value, list) or len(value) < 2:
        return False
    return all(_real_problem("double", number) is None for number in value)


def _is_list_of(value: object, fits: Callable[[object], bool], least: int = 0) -> bool:
    return isinstance(value, list) and len(value) >= least and all(fits(item) for item in value)


def _is_line(value: object) -> bool:
    return _is_list_of(value, _is_position, least=2)


def _is_ring(value: object) -> bool:
    return _is_list_of(value, _is_position, least=4) and isinstance(value, list) and value[0] == value[-1]


def _is_polygon(value: object) -> bool:
    return _is_list_of(value, _is_ring)


_GEOMETRIES: dict[str, tuple[Callable[[object], bool], str]] = {
    "point": (_is_position, "[longitude, latitude]"),
    "multiPoint": (lambda value: _is_list_of(value, _is_position), "a list of positions"),
    "lineString": (_is_line, "a list of two or more positions"),
    "multiLineString": (lambda value: _is_list_of(value, _is_line), "a list of lines"),
    "polygon": (_is_polygon, "a list of closed rings of four or more positions"),
    "multiPolygon": (lambda value: _is_list_of(value, _is_polygon), "a list of polygons"),
}


def _geospatial(schema: Schema, value: object, at: str, _depth: int) -> str | None:
    assert isinstance(schema, Geospatial)
    name = schema.kind[0].upper() + schema.kind[1:]
    fits, title = _GEOMETRIES[schema.kind]
    if not isinstance(value, Mapping) or set(value) != {"type", "coordinates"} or value["type"] != name:
        return _expected(f'a GeoJSON object {{"type": "{name}", "coordinates": ...}}', value, at)
    if not fits(value["coordinates"]):
        return _expected(f"coordinates to be {title}", value["coordinates"], at)
    return None


_CHECKS: dict[type, Callable[[Schema, object, str, int], str | None]] = {
    Primitive: _primitive,
    Enum: _enum,
    Object: _object,
    Map: _map,
    Array: _array,
    Geospatial: _geospatial,
}
