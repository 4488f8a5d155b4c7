"""Differences between models, and what they break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.models import Change, ModelSet, diff_models, diff_sets, parse, validate_value
from gemel.models.changes import Changes, compare_schemas
from gemel.models.schemas import Array, Enum, EnumEntry, Field, Map, Object, Primitive, Schema
from support.models import MOTOR, PUMP, SITE, Document, interface, prop

OLD, NEW = "dtmi:test:thing;1", "dtmi:test:thing;2"
LINK = {"@type": "Relationship", "name": "r"}
TEMPERATURE = {"@type": ["Property", "Temperature"], "name": "x", "schema": "double", "unit": "kelvin"}


def changes(old: list[Document], new: list[Document], *others: Document, **more: Any) -> list[Change]:
    models = parse([interface(OLD, *old), interface(NEW, *new, **more), *others])
    return list(diff_models(models, OLD, models, NEW))


def verdict(old: list[Document], new: list[Document], *others: Document) -> tuple[str, bool]:
    (change,) = changes(old, new, *others)
    assert change.reason
    return change.path, change.compatible


def with_command(**payloads: str) -> Document:
    named = {side: {"name": "value", "schema": schema} for side, schema in payloads.items()}
    return {"@type": "Command", "name": "go", **named}


def enum(*values: int) -> Document:
    entries = [{"name": f"v{value}", "enumValue": value} for value in values]
    return {"@type": "Enum", "valueSchema": "integer", "enumValues": entries}


def fields(*names: str) -> Document:
    return {"@type": "Object", "fields": [{"name": name, "schema": "string"} for name in names]}


CASES: list[tuple[str, list[Document], list[Document], str, bool]] = [
    ("property added", [], [prop("x")], "x", True),
    ("property removed", [prop("x")], [], "x", False),
    ("other kind", [prop("x")], [{"@type": "Telemetry", "name": "x", "schema": "double"}], "x", False),
    ("wider", [prop("x", "integer")], [prop("x", "double")], "x.schema", True),
    ("narrower", [prop("x", "double")], [prop("x", "integer")], "x.schema", False),
    ("long in double", [prop("x", "long")], [prop("x", "double")], "x.schema", False),
    ("other schema", [prop("x", "string")], [prop("x", fields("a"))], "x.schema", False),
    ("field added", [prop("x", fields("a"))], [prop("x", fields("a", "b"))], "x.schema.b", True),
    ("field removed", [prop("x", fields("a", "b"))], [prop("x", fields("a"))], "x.schema.b", False),
    ("value added", [prop("x", enum(1))], [prop("x", enum(1, 2))], "x.schema.v2", True),
    ("value removed", [prop("x", enum(1, 2))], [prop("x", enum(1))], "x.schema.v2", False),
    ("unit changed", [TEMPERATURE], [{**TEMPERATURE, "unit": "degreeCelsius"}], "x.unit", False),
    ("writable", [prop("x")], [prop("x", writable=True)], "x.writable", True),
    ("no longer writable", [prop("x", writable=True)], [prop("x")], "x.writable", False),
    ("text", [prop("x")], [prop("x", description="new")], "x.description", True),
    ("link added", [], [LINK], "r", True),
    ("needed link added", [], [{**LINK, "minMultiplicity": 0, "maxMultiplicity": 2}], "r", True),
    ("target narrowed", [LINK], [{**LINK, "target": OLD}], "r.target", False),
    ("target widened", [{**LINK, "target": OLD}], [LINK], "r.target", True),
    ("fewer links", [LINK], [{**LINK, "maxMultiplicity": 2}], "r.maxMultiplicity", False),
    ("more links", [{**LINK, "maxMultiplicity": 2}], [{**LINK, "maxMultiplicity": 3}], "r.maxMultiplicity", True),
    ("link property", [LINK], [{**LINK, "properties": [prop("p")]}], "r.p", True),
    ("no link property", [{**LINK, "properties": [prop("p")]}], [LINK], "r.p", False),
    ("request wider", [with_command(request="integer")], [with_command(request="long")], "go.request.schema", True),
    ("request narrower", [with_command(request="long")], [with_command(request="integer")], "go.request.schema", False),
    ("answer wider", [with_command(response="integer")], [with_command(response="long")], "go.response.schema", False),
    ("narrow answer", [with_command(response="long")], [with_command(response="integer")], "go.response.schema", True),
    ("request added", [with_command()], [with_command(request="long")], "go.request", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "path", "compatible"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_verdicts(old: list[Document], new: list[Document], path: str, compatible: bool) -> None:
    assert verdict(old, new) == (path, compatible)


def test_the_same_is_no_change() -> None:
    models = parse([MOTOR, SITE, PUMP])
    assert diff_sets(models, models) == ()
    assert diff_sets(models, parse([PUMP, SITE, MOTOR])) == ()


def test_a_unit_where_there_was_none_is_compatible() -> None:
    found = changes([prop("x")], [TEMPERATURE])
    assert {each.path: each.compatible for each in found} == {"x.unit": True, "x.@type": True}


def test_a_target_that_is_a_base_of_the_old_one_is_wider() -> None:
    base, heir = interface("dtmi:test:base;1"), interface("dtmi:test:heir;1", extends="dtmi:test:base;1")
    narrow, wide = {**LINK, "target": "dtmi:test:heir;1"}, {**LINK, "target": "dtmi:test:base;1"}
    assert verdict([narrow], [wide], base, heir) == ("r.target", True)
    assert verdict([wide], [narrow], base, heir) == ("r.target", False)


def test_bases_count_and_so_does_what_they_bring() -> None:
    base = interface("dtmi:test:base;1", prop("b"))
    found = changes([], [], base, extends="dtmi:test:base;1")
    assert [(each.path, each.compatible) for each in found] == [("extends", True), ("b", True)]
    models = parse([base, interface(OLD, extends="dtmi:test:base;1"), interface(NEW)])
    lost = diff_models(models, OLD, models, NEW)
    assert [(each.path, each.compatible) for each in lost] == [("extends", False), ("b", False)]


def test_another_version_of_a_base_is_breaking_and_told_as_one_change() -> None:
    bases = [interface(f"dtmi:test:base;{version}") for version in (1, 2)]
    models = parse(
        [*bases, interface(OLD, extends="dtmi:test:base;1"), interface(NEW, extends="dtmi:test:base;2")]
    )
    (change,) = diff_models(models, OLD, models, NEW)
    assert (change.before, change.after) == ("dtmi:test:base;1", "dtmi:test:base;2")
    assert not change.compatible


def test_components_are_looked_into() -> None:
    parts = [interface("dtmi:test:part;1", prop("p")), interface("dtmi:test:part;2", prop("q"))]
    old, new = ({"@type": "Component", "name": "c", "schema": f"dtmi:test:part;{v}"} for v in (1, 2))
    found = changes([old], [new], *parts)
    assert [(each.path, each.compatible) for each in found] == [
        ("c.schema", True),
        ("c.p", False),
        ("c.q", True),
    ]
    assert verdict([], [old], *parts) == ("c", False)


def test_sets_pair_a_model_with_its_latest_version() -> None:
    before = parse([interface("dtmi:test:a;1", prop("x")), interface("dtmi:test:gone;1")])
    after = parse(
        [
            interface("dtmi:test:a;2"),
            interface("dtmi:test:a;10", prop("x"), prop("y")),
            interface("dtmi:test:b;1"),
        ]
    )
    found = [(each.model, each.path, each.compatible) for each in diff_sets(before, after)]
    assert ("dtmi:test:a;1", "y", True) in found
    assert ("dtmi:test:gone;1", "", False) in found
    assert ("dtmi:test:b;1", "", True) in found
    assert not any(path == "x" for _, path, _ in found)


def test_sets_compare_what_kept_its_identifier() -> None:
    before, after = parse([interface(OLD, prop("x"))]), parse([interface(OLD)])
    (change,) = diff_sets(before, after)
    assert (change.model, change.path, change.before, change.after) == (OLD, "x", "Property", None)
    assert diff_sets(ModelSet(), before)[0].compatible
    assert not diff_sets(before, ModelSet())[0].compatible


KINDS = """boolean byte short integer long unsignedByte unsignedShort unsignedInteger unsignedLong float double
    string date duration""".split()
primitives = st.sampled_from(KINDS).map(Primitive)
enums = st.sets(st.integers(0, 3), min_size=1).map(
    lambda values: Enum("integer", tuple(EnumEntry(f"v{value}", value) for value in sorted(values)))
)


def _nested(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    objects = st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(
        lambda held: Object({name: Field(name, schema) for name, schema in held.items()})
    )
    return st.one_of(objects, inner.map(Array), inner.map(lambda schema: Map("k", "v", schema)))


schemas = st.recursive(st.one_of(primitives, enums), _nested, max_leaves=4)
values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**64),
        st.floats(allow_nan=False),
        st.sampled_from(["P1D", "2020-01-01"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(schemas, schemas, values)
def test_what_is_called_compatible_keeps_every_value(before: Schema, after: Schema, value: object) -> None:
    found = Changes("dtmi:test:x;1")
    compare_schemas("x", before, after, found)
    if validate_value(before, value) is None and all(each.compatible for each in found.found):
        assert validate_value(after, value) is None


@given(schemas)
def test_a_schema_does_not_differ_from_itself(schema: Schema) -> None:
    found = Changes("dtmi:test:x;1")
    compare_schemas("x", schema, schema, found)
    assert found.found == []
