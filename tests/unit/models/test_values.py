"""Values against schemas."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.models import (
    Array,
    Enum,
    EnumEntry,
    Field,
    Geospatial,
    Map,
    Object,
    Primitive,
    Schema,
    validate_value,
)

RING = [[0, 0], [0, 1], [1, 1], [0, 0]]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
INSTANCES: dict[str, st.SearchStrategy[object]] = {
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(),
    "date": st.dates().map(date.isoformat),
    "dateTime": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    "uuid": st.uuids().map(str),
}
PRIMITIVES = st.sampled_from(sorted(INSTANCES)).map(Primitive)
SCHEMAS: st.SearchStrategy[Schema] = st.recursive(
    PRIMITIVES,
    lambda inner: (
        inner.map(Array)
        | inner.map(lambda schema: Map("key", "value", schema))
        | st.dictionaries(st.sampled_from("abc"), inner).map(
            lambda fields: Object({name: Field(name, schema) for name, schema in fields.items()})
        )
    ),
    max_leaves=6,
)


def instances(schema: Schema) -> st.SearchStrategy[object]:
    if isinstance(schema, Array):
        return st.lists(instances(schema.element), max_size=3)
    if isinstance(schema, Map):
        return st.dictionaries(st.text(), instances(schema.value), max_size=3)
    if isinstance(schema, Object):
        fields = {name: instances(field.schema) for name, field in schema.fields.items()}
        return st.fixed_dictionaries({}, optional=fields)
    assert isinstance(schema, Primitive)
    return INSTANCES[schema.kind]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("boolean", [True, False], [0, 1, "true", None]),
        ("integer", [0, -(2**31), 2**31 - 1], [5.0, 2**31, True, "5", None]),
        ("long", [2**63 - 1, -(2**63)], [2**63, 5.0, False]),
        ("double", [0, 1.5, 10**300, -0.0], [math.nan, math.inf, 10**400, True, "1"]),
        ("float", [3.4e38, 1], [3.5e38, -math.inf, True]),
        ("string", ["", "x"], [1, None, ["x"]]),
        ("date", ["2024-02-29"], ["2023-02-29", "2024-2-9", "20240229", 1]),
        ("time", ["23:59:59.5Z", "00:00:00+11:45"], ["24:00:00Z", "12:00:60Z", "12:00:00", "12:00Z"]),
        ("dateTime", ["2024-02-29T00:00:00Z"], ["2024-02-29", "2024-02-30T00:00:00Z", "2024-02-29T00:00:00"]),
        ("duration", ["PT5M", "P1Y2M3DT4H5M6.7S", "P2W"], ["P", "PT", "5M", "P1Y2W", "PT1.5H2M"]),
        ("unsignedByte", [0, 255], [-1, 256]),
        ("bytes", ["", "aGk="], ["aGk", "a-k="]),
        ("decimal", ["1.50", "-0"], [1.5, "01", "1e3"]),
    ],
)
def test_primitives(kind: str, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if validate_value(Primitive(kind), value) is not None] == []
    assert [value for value in bad if validate_value(Primitive(kind), value) is None] == []


def test_the_message_says_what_and_where() -> None:
    rows = Array(Object({"level": Field("level", Primitive("double"))}))
    assert validate_value(rows, [{"level": 1}, {"level": "high"}]) == (
        "At [1].level: expected a number (DTDL double), not 'high'."
    )
    assert validate_value(rows, [{"depth": 1}]) == "At [0]: expected no field 'depth'; the fields are level."
    assert validate_value(Primitive("string"), None) == "expected a string, not null."


def test_enumerations() -> None:
    numbers = Enum("integer", (EnumEntry("off", 0), EnumEntry("on", 1)))
    assert validate_value(numbers, 1) is None
    assert [validate_value(numbers, value) is None for value in (True, 1.0, 2, "on")] == [False] * 4


@pytest.mark.parametrize(
    ("kind", "coordinates", "wrong"),
    [
        ("point", [1.5, 2, 3], [1]),
        ("multiPoint", [[1, 2]], [1, 2]),
        ("lineString", [[1, 2], [3, 4]], [[1, 2]]),
        ("multiLineString", [[[1, 2], [3, 4]]], [[1, 2], [3, 4]]),
        ("polygon", [RING], [RING[:3]]),
        ("multiPolygon", [[RING]], [[[*RING[:3], [9, 9]]]]),
    ],
)
def test_geometries(kind: str, coordinates: object, wrong: object) -> None:
    name = kind[0].upper() + kind[1:]
    assert validate_value(Geospatial(kind), {"type": name, "coordinates": coordinates}) is None
    assert validate_value(Geospatial(kind), {"type": name, "coordinates": wrong}) is not None
    assert validate_value(Geospatial(kind), {"type": kind, "coordinates": coordinates}) is not None
    assert validate_value(Geospatial(kind), {"type": name}) is not None


def test_nesting_is_bounded() -> None:
    fields: dict[str, Field] = {}
    tree = Object(fields)
    fields["next"] = Field("next", tree)
    value: dict[str, object] = {}
    for _ in range(200):
        value = {"next": value}
    assert "levels of nesting" in (validate_value(tree, value) or "")


@given(st.data(), SCHEMAS)
def test_instances_of_a_schema_fit_it(data: st.DataObject, schema: Schema) -> None:
    assert validate_value(schema, data.draw(instances(schema))) is None


@given(SCHEMAS, JSON)
def test_any_json_is_judged(schema: Schema, value: object) -> None:
    problem = validate_value(schema, value)
    assert problem is None or problem.endswith(".")


@given(st.datetimes(), st.integers(-23 * 60, 23 * 60))
def test_times_of_every_zone_fit(moment: datetime, offset_min: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    assert validate_value(Primitive("dateTime"), zoned.isoformat()) is None
