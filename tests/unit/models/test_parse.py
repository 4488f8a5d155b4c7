"""Parsing: what is accepted and built, what is refused and how that is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.models import (
    Array,
    Command,
    Component,
    Enum,
    Map,
    ModelParsingError,
    Object,
    Primitive,
    Property,
    Relationship,
    Telemetry,
    parse,
)
from support.models import CONTEXT_V2, MOTOR, PUMP, SITE, Document, codes, interface, prop

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_contents_are_flat_with_what_is_inherited() -> None:
    pump = parse([MOTOR, SITE, PUMP]).interface("dtmi:test:pump;1")
    assert pump.display_name == {"en": "Pump"}
    assert pump.description == {"en": "Moves water"}
    assert pump.extends == ("dtmi:test:asset;1",)
    assert pump.bases == {"dtmi:test:asset;1"}
    assert list(pump.contents) == [
        "speed",
        "runs",
        "hours",
        "place",
        "mode",
        "motor",
        "start",
        "label",
        "feeds",
    ]
    assert pump.contents["label"].defined_in == "dtmi:test:asset;1"
    assert pump.contents["label"].display_name == {"en": "Label", "de": "Bezeichnung"}
    assert pump.contents["speed"].defined_in == "dtmi:test:pump;1"


def test_semantic_types_are_kept_with_their_units() -> None:
    models = parse([MOTOR, SITE, PUMP])
    speed = models.interface("dtmi:test:pump;1").contents["speed"]
    temperature = models.interface("dtmi:test:motor;1").contents["temperature"]
    assert isinstance(speed, Property)
    assert isinstance(temperature, Telemetry)
    assert (speed.semantic_type, speed.unit) == ("AngularVelocity", "revolutionPerMinute")
    assert (temperature.semantic_type, temperature.unit) == ("Temperature", "degreeCelsius")


def test_units_are_native_in_v2() -> None:
    telemetry = {"@type": ["Telemetry", "Length"], "name": "level", "schema": "double", "unit": "metre"}
    models = parse([interface("dtmi:test:tank;1", telemetry, context=CONTEXT_V2)])
    level = models.interface("dtmi:test:tank;1").contents["level"]
    assert isinstance(level, Telemetry)
    assert (level.semantic_types, level.unit) == (("Length",), "metre")


def test_unknown_types_are_kept_by_name_where_v2_allows_them() -> None:
    telemetry = {"@type": ["Telemetry", "Wetness"], "name": "w", "schema": "double", "shade": 3}
    models = parse([interface("dtmi:test:tank;1", telemetry, context=CONTEXT_V2)])
    assert models.interface("dtmi:test:tank;1").contents["w"].semantic_types == ("Wetness",)


def test_relationships_components_and_commands() -> None:
    contents = parse([MOTOR, SITE, PUMP]).interface("dtmi:test:pump;1").contents
    feeds, motor, start = contents["feeds"], contents["motor"], contents["start"]
    assert isinstance(feeds, Relationship)
    assert (feeds.target, feeds.min_multiplicity, feeds.max_multiplicity) == ("dtmi:test:asset;1", 0, 3)
    assert feeds.properties["since"].schema == Primitive("date")
    assert isinstance(motor, Component)
    assert motor.schema == "dtmi:test:motor;1"
    assert isinstance(start, Command)
    assert start.request is not None
    assert (start.request.name, start.request.schema) == ("ramp", Primitive("duration"))


def test_complex_schemas() -> None:
    schema = {
        "@type": "Object",
        "fields": [
            {"name": "samples", "schema": {"@type": "Array", "elementSchema": "double"}},
            {
                "name": "by",
                "schema": {
                    "@type": "Map",
                    "mapKey": {"name": "who", "schema": "string"},
                    "mapValue": {"name": "count", "schema": "dtmi:test:shared;1"},
                },
            },
        ],
    }
    shared = {
        "@id": "dtmi:test:shared;1",
        "@type": "Enum",
        "valueSchema": "integer",
        "enumValues": [{"name": "one", "enumValue": 1}],
    }
    models = parse([interface("dtmi:test:rig;1", prop("report", schema), schemas=[shared])])
    report = models.interface("dtmi:test:rig;1").contents["report"]
    assert isinstance(report, Property)
    assert isinstance(report.schema, Object)
    samples, by = (report.schema.fields[name].schema for name in ("samples", "by"))
    assert samples == Array(Primitive("double"))
    assert isinstance(by, Map)
    assert (by.key_name, by.value_name) == ("who", "count")
    assert isinstance(by.value, Enum)
    assert [entry.value for entry in by.value.entries] == [1]


def test_a_schema_may_hold_itself_in_v4() -> None:
    tree = {
        "@id": "dtmi:test:tree;1",
        "@type": "Object",
        "fields": [{"name": "left", "schema": "dtmi:test:tree;1"}],
    }
    context = "dtmi:dtdl:context;4"
    models = parse(
        [interface("dtmi:test:wood;1", prop("root", "dtmi:test:tree;1"), schemas=[tree], context=context)]
    )
    root = models.interface("dtmi:test:wood;1").contents["root"]
    assert isinstance(root, Property)
    assert isinstance(root.schema, Object)
    assert root.schema.fields["left"].schema is root.schema


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (interface("dtmi:test:a;1", prop("1x")), ["stringInvalid"]),
        (interface("dtmi:test:a;1", prop("x", "colour")), ["badDtmiOrTerm", "objectCountBelowMin"]),
        (interface("dtmi:test:a;1", {"@type": "Property", "name": "x"}), ["missingObjectProperty"]),
        (interface("dtmi:test:a;1", prop("x", writeable=True)), ["propertyUndefinedTerm"]),
        (interface("dtmi:test:a;1", prop("x"), prop("x")), ["nonUniquePropertyValue"]),
        (interface("dtmi:test:a;1", extends="dtmi:test:b;1"), ["undefinedReference"]),
        (interface("dtmi:test:a;1", extends="dtmi:test:a;1"), ["recursiveStructureNarrow"]),
        (interface("dtmi:dtdl:mine;1"), ["reservedId"]),
        (interface("urn:a"), ["invalidId"]),
        (interface("dtmi:test:a;1", context="dtmi:dtdl:context;9"), ["unrecognizedContextVersion"]),
        ({"@id": "dtmi:test:a;1", "@type": "Interface"}, ["missingContext"]),
        (
            interface("dtmi:test:a;1", prop("x", unit="bar") | {"@type": ["Property", "Temperature"]}),
            ["wrongParent"],
        ),
        (
            interface(
                "dtmi:test:a;1", prop("x", "string", unit="kelvin") | {"@type": ["Property", "Temperature"]}
            ),
            ["notRequiredType"],
        ),
        (interface("dtmi:test:a;1", prop("x", displayName={"xx-yy-zz": "?"})), ["langStringInvalidCode"]),
        (
            interface(
                "dtmi:test:a;1", prop("x", {"@type": "Array", "elementSchema": "double"}), context=CONTEXT_V2
            ),
            ["excludedType"],
        ),
        (
            interface("dtmi:test:a;1", prop("x", unit=None) | {"@type": ["Property", "Temperature"]}),
            ["propertyValueNull"],
        ),
        (42, ["notJsonObject"]),
    ],
)
def test_faults(document: object, expected: list[str]) -> None:
    assert sorted(set(codes([document]))) == sorted(expected)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("most", [0, 1, 500, 501, 2**31 - 1])
def test_only_v2_has_a_greatest_multiplicity(version: int, most: int) -> None:
    """The v2 description and its cases have [1, 500]; those of v3 and v4 only a least, and no case of a greatest."""
    link = {"@type": "Relationship", "name": "feeds", "maxMultiplicity": most}
    found = codes([interface("dtmi:test:a;1", link, context=f"dtmi:dtdl:context;{version}")])
    if most == 0:
        assert found == ["valueBelowRange" if version == 2 else "valueBelowMin"]
    else:
        assert found == (["valueAboveRange"] if version == 2 and most > 500 else [])


def test_what_lies_too_deep_is_named() -> None:
    documents = [
        interface(f"dtmi:test:i{index};1", **({"extends": f"dtmi:test:i{index + 1};1"} if index < 12 else {}))
        for index in range(13)
    ]
    with pytest.raises(ModelParsingError) as caught:
        parse(documents)
    found = [(each.primary_id, each.secondary_id, each.property, each.value) for each in caught.value.errors]
    assert found == [
        ("dtmi:test:i0;1", "dtmi:test:i11;1", "'extends'", "12"),
        ("dtmi:test:i1;1", "dtmi:test:i12;1", "'extends'", "11"),
    ]


def test_what_is_wrong_with_a_document_is_said_of_no_element() -> None:
    with pytest.raises(ModelParsingError) as caught:
        parse([{"@id": "dtmi:test:a;1", "@type": "Interface"}])
    (error,) = caught.value.errors
    assert (error.primary_id, error.document, error.line) == (None, 0, 1)
    assert error.message.startswith("dtmi:test:a;1 has no @context.")


def test_every_fault_of_an_upload_is_reported_and_nothing_is_kept() -> None:
    documents = [interface(f"dtmi:test:m{index};1", prop(f"_{index}")) for index in range(3)]
    with pytest.raises(ModelParsingError) as caught:
        parse([MOTOR, *documents])
    error = caught.value
    assert error.code == "DTDLParserError"
    assert [each.property for each in error.errors] == ["name"] * 3
    assert [each.primary_id for each in error.errors] == [
        f"dtmi:test:m{index}:_contents:___{index};1" for index in range(3)
    ]
    assert [detail.code for detail in error.details] == ["dtmi:dtdl:parsingError:stringInvalid"] * 3
    assert "'name' is _0" in error.details[0].message


def test_errors_are_bounded() -> None:
    documents = [interface(f"dtmi:test:m{index};1", prop("_")) for index in range(1_200)]
    assert len(codes(documents)) == 1_000


def test_undefined_extensions_are_as_the_version_or_the_caller_says() -> None:
    context = ["dtmi:dtdl:context;3", "dtmi:test:extension;1"]
    document = interface("dtmi:test:a;1", prop("x") | {"@type": ["Property", "Odd"]}, context=context)
    assert codes([document]) == ["unresolvableContextSpecifier"]
    assert codes([document], allow_undefined_extensions=True) == []
    old = document | {"@context": [CONTEXT_V2, "dtmi:test:extension;1"]}
    assert codes([old]) == []
    assert codes([old], allow_undefined_extensions=False) == ["unresolvableContextSpecifier"]


def test_the_newest_version_can_be_limited() -> None:
    assert codes([MOTOR], max_dtdl_version=2) == ["disallowedContextVersion"]


def test_lists_may_be_nested() -> None:
    assert parse([[MOTOR, [SITE]], PUMP]).ids == parse([PUMP, SITE, MOTOR]).ids


@pytest.mark.parametrize(
    "link",
    [
        lambda index: {"extends": f"dtmi:test:i{index};1"},
        lambda index: {"contents": [{"@type": "Component", "name": "c", "schema": f"dtmi:test:i{index};1"}]},
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_chains_longer_than_the_call_stack(link: Callable[[int], Document], closed: bool) -> None:
    count = 3_000
    documents = [interface(f"dtmi:test:i{index};1") | link((index + 1) % count) for index in range(count)]
    if not closed:
        documents[-1] = interface(f"dtmi:test:i{count - 1};1")
    assert codes(documents)


def test_documents_nested_too_deeply() -> None:
    schema: object = "double"
    for _ in range(200):
        schema = {"@type": "Array", "elementSchema": schema}
    assert "excessiveNesting" in codes([interface("dtmi:test:a;1", prop("x", schema))])


@given(JSON)
def test_any_json_is_parsed_or_refused(value: object) -> None:
    codes([value])


@given(st.permutations([MOTOR, SITE, PUMP]))
def test_the_order_of_documents_does_not_matter(documents: list[Document]) -> None:
    found = parse(documents).interface("dtmi:test:pump;1")
    assert found == parse([MOTOR, SITE, PUMP]).interface("dtmi:test:pump;1")


@given(st.data())
def test_a_damaged_model_is_parsed_or_refused(data: st.DataObject) -> None:
    document: Document = dict(PUMP)
    key = data.draw(st.sampled_from([*document, "@graph", "schemas", "unit"]))
    document[key] = data.draw(JSON)
    codes([MOTOR, SITE, document])
