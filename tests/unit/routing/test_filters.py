"""The filter language: what it takes, what it means, and how it refuses."""

from __future__ import annotations

import json
import operator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.routing.filter_parse import TEXT_LENGTH_MAX, parse_filter
from gemel.routing.filters import compile_filter
from gemel.routing.notifications import TYPES

UPDATE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7.0",
    "type": "Microsoft.DigitalTwins.Twin.Update",
    "source": "gemel/default",
    "subject": "floor1",
    "time": "2026-01-31T12:00:00.000000Z",
    "datacontenttype": "application/json",
    "data": {"modelId": "dtmi:example:com:floor4;2", "patch": []},
}
TELEMETRY: dict[str, Any] = {
    "specversion": "1.0",
    "id": "8.3",
    "type": "microsoft.iot.telemetry",
    "source": "gemel/default/room1",
    "time": "2026-01-31T12:00:00.500000Z",
    "dataschema": "dtmi:example:com:floor4;2",
    "datacontenttype": "application/json",
    "data": {
        "errorCode": 201,
        "temperature": 5.5,
        "poweredOn": True,
        "name": "it's \\ odd",
        "prop": None,
        "in": 1,
        "odd name": {"$metadata": {"$model": "dtmi:example:com:floor;1"}},
    },
}


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        # as documented for Azure Digital Twins
        ("true", "ut"),
        ("false", ""),
        ("type = 'Microsoft.DigitalTwins.Twin.Update'", "u"),
        ("source = 'gemel/default'", "u"),
        ("subject = 'floor1'", "u"),
        ("subject = ''", "t"),
        ("dataschema = 'dtmi:example:com:floor4;2'", "t"),
        ("datacontenttype = 'application/json'", "ut"),
        ("specversion = '1.0'", "ut"),
        ("$body.modelId = 'dtmi:example:com:floor4;2'", "u"),
        ("$body.errorCode > 200", "t"),
        ("$body.temperature <= 5.5", "t"),
        ("$body.poweredOn = true", "t"),
        ("$body.prop != null", ""),
        ("$body.errorCode != null", "t"),
        ("STARTS_WITH($body.[[odd name]].$metadata.$model, 'dtmi:example:com:floor')", "t"),
        ("ENDS_WITH($body.modelId, 'floor4;2')", "u"),
        ("CONTAINS(subject, 'oor')", "u"),
        (
            "(type != 'microsoft.iot.telemetry' OR datacontenttype = 'application/json') OR (specversion != '1.0')",
            "ut",
        ),
        # beyond them
        ("id IN ['7.0', '9.0']", "u"),
        ("id NIN ['7.0', '9.0']", "t"),
        ("NOT type = 'microsoft.iot.telemetry'", "u"),
        ("not (subject = 'floor1' and id = '7.0')", "t"),
        ("type = 'a' OR subject = 'floor1' AND id = '7.0'", "u"),
        ("time >= '2026-01-31T13:00:00.25+01:00'", "t"),
        ("time IN ['2026-01-31T12:00:00Z']", "u"),
        ("TYPE = 'microsoft.iot.telemetry' And $BODY.errorCode <> 1", "t"),
        (r"$body.name = 'it\'s \\ odd'", "t"),
        ("$body.in = 1", "t"),
        # types are not mixed
        ("$body.poweredOn = 1", ""),
        ("$body.errorCode = '201'", ""),
        ("$body.errorCode = 201.0", "t"),
        ("$body.poweredOn > 0", ""),
        ("$body.name > 0", ""),
        ("STARTS_WITH($body.errorCode, '2')", ""),
        # what is not there is null
        ("$body.missing = null", "ut"),
        ("$body.missing.deeper != 5", "ut"),
        ("$body.missing < 5", ""),
        ("NOT $body.missing < 5", "ut"),
        ("dataschema != null", "t"),
    ],
)
def test_what_a_filter_takes(text: str, takes: str) -> None:
    found = compile_filter(text)
    assert "".join(name for name, event in (("u", UPDATE), ("t", TELEMETRY)) if found.takes(event)) == takes


@pytest.mark.parametrize(
    ("text", "line", "position", "piece", "suggestion"),
    [
        ("", 1, 0, "there is nothing", "write true"),
        ("tpye = 'x'", 1, 0, "'tpye'", "Did you mean type?"),
        ("type == 'x'", 1, 6, "unexpected =", "single ="),
        ('type = "x"', 1, 7, "at '\"x\"'", "single quotes"),
        ("type = 'x", 1, 7, "unexpected '", "Close the text"),
        ("type = ", 1, 6, "ends too early", "'text'"),
        ("$body.patch[0].value = 3", 1, 11, "unexpected [", "array"),
        ("STARTSWITH(subject,'x')", 1, 10, "unexpected (", "did you mean STARTS_WITH?"),
        ("type LIKE 'x'", 1, 5, "'LIKE'", "comparison"),
        ("time > 'yesterday'", 1, 7, "RFC 3339", "2026-01-31T12:00:00Z"),
        ("time > '2026-01-31T12:00:00'", 1, 7, "RFC 3339", "Z"),
        ("type = 'a'\n AN id = 'b'", 2, 1, "'AN'", "Did you mean AND?"),
        ("(type = 'a'", 1, 11, "missing )", ")"),
        ("foo = 3", 1, 0, "'foo'", "$body.foo"),
        ("type > null", 1, 7, "no order", "Use = or !="),
        ("$body.x > true", 1, 10, "no order", "Use = or !="),
        ("$body.x = 1e999", 1, 10, "too great", "1.8e308"),
        ("true true", 1, 5, "'true'", "AND"),
        ("type = 'a' AND ?", 1, 15, "unexpected ?", "Nothing"),
        ("type = 'a\x00'", 1, 9, "U+0000", "leave it out"),
        ("type = 'a\ud800'", 1, 9, "U+D800", "leave it out"),
        ("(" * 100 + "true" + ")" * 100 + " OR", 1, 207, "ends too early", "Expected"),
        ("NOT " * 100 + "true", 1, 260, "nested over 64 deep", "IN"),
        ("x" * (TEXT_LENGTH_MAX + 1), 1, TEXT_LENGTH_MAX, "longer than", "Shorten"),
    ],
)
def test_how_a_filter_is_refused(text: str, line: int, position: int, piece: str, suggestion: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_filter(text)
    assert raised.value.code == "EventRouteFilterInvalid"
    assert f"Line={line}, Position={position}, " in raised.value.message
    assert piece in raised.value.message
    assert suggestion in raised.value.message


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-5, 5).map(float)
    | st.text("ab'\\", max_size=3)
)
ORDERS: dict[str, Any] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def written(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return json.dumps(value)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    return (number(one) and number(other) and one == other) or (type(one) is type(other) and one == other)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> tuple[str, Any]:
    """A filter's text, and a function that says by itself what it means of a body."""
    kind = draw(st.sampled_from(["test", "in", "not", "and", "or"] if depth else ["test", "in"]))
    if kind in {"and", "or"}:
        (one, first), (two, second) = draw(conditions(depth=depth - 1)), draw(conditions(depth=depth - 1))
        if kind == "and":
            return f"({one}) AND ({two})", lambda body: first(body) and second(body)
        return f"({one}) OR ({two})", lambda body: first(body) or second(body)
    if kind == "not":
        one, first = draw(conditions(depth=depth - 1))
        return f"NOT ({one})", lambda body: not first(body)
    name, value = draw(st.sampled_from("xyz")), draw(VALUES)
    if kind == "in":
        values = [value, draw(VALUES)]
        listed = ", ".join(map(written, values))
        if draw(st.booleans()):
            return f"$body.{name} IN [{listed}]", lambda body: any(same(body.get(name), v) for v in values)
        return f"$body.{name} NIN [{listed}]", lambda body: not any(same(body.get(name), v) for v in values)
    sign = draw(
        st.sampled_from(["=", "!="] if value is None or isinstance(value, bool) else ["=", "!=", *ORDERS])
    )
    text = f"$body.{name} {sign} {written(value)}"
    if sign in {"=", "!="}:
        return text, lambda body: same(body.get(name), value) is (sign == "=")

    def ordered(body: dict[str, Any]) -> bool:
        found: Any = body.get(name)
        alike = (number(found) and number(value)) or (isinstance(found, str) and isinstance(value, str))
        return bool(alike and ORDERS[sign](found, value))

    return text, ordered


@given(conditions(), st.dictionaries(st.sampled_from("xyz"), VALUES))
def test_filters_mean_what_a_plain_reading_says(condition: tuple[str, Any], body: dict[str, Any]) -> None:
    text, meaning = condition
    assert compile_filter(text).takes({**TELEMETRY, "data": body}) is meaning(body)


@given(conditions(), st.sampled_from(sorted(TYPES)), st.sampled_from(["=", "!="]), st.booleans())
def test_no_type_is_left_out_that_could_be_taken(
    condition: tuple[str, Any], kind: str, sign: str, negated: bool
) -> None:
    text = f"type {sign} '{kind}' AND ({condition[0]})"
    found = compile_filter(f"NOT ({text})" if negated else text)
    for each in TYPES:
        for body in ({}, {"x": 1, "y": "a", "z": True}, {"x": None, "y": -3.5, "z": "b"}):
            assert found.may_take(each) or not found.takes({**TELEMETRY, "type": each, "data": body})


def test_types_that_a_filter_rules_out_are_known() -> None:
    found = compile_filter("type IN ['microsoft.iot.telemetry'] AND $body.x > 3")
    assert [each for each in sorted(TYPES) if found.may_take(each)] == ["microsoft.iot.telemetry"]
    assert not any(compile_filter("false").may_take(each) for each in TYPES)
    assert compile_filter("false").never
    assert not compile_filter("true").never


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with suppress(InvalidError):
        compile_filter(text).takes(TELEMETRY)
