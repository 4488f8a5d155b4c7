"""The tables of the language agree with each other and with the code that reads them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gemel.models
from gemel.models.adjuncts import UnitSystem, adjuncts, unit_systems
from gemel.models.contexts import is_reserved, term_of
from gemel.models.elements import Element
from gemel.models.errors import ModelParsingError, Report
from gemel.models.language import language, metamodel_file
from gemel.models.linker import standard_element

SOURCES = sorted(Path(gemel.models.__file__).parent.glob("*.py"))


def test_every_class_of_a_property_exists_in_its_version() -> None:
    for version in language().versions.values():
        for cls in version.classes.values():
            for rule in cls.properties.values():
                assert (rule.cls is None) != (rule.literal is None), (cls.name, rule.name)
                assert rule.cls is None or rule.cls in version.classes, (cls.name, rule.name)


def test_every_graph_rule_names_what_exists() -> None:
    for version in language().versions.values():
        properties = {name for cls in version.classes.values() for name in cls.properties}
        for rule in version.graph_rules:
            assert rule.of in version.classes
            assert set(rule.through) <= properties


def test_every_adjunct_type_stands_on_classes_that_exist() -> None:
    classes = {name for version in language().versions.values() for name in version.classes}
    table = adjuncts()
    for adjunct in table.values():
        assert adjunct.on is None or adjunct.on <= classes, adjunct.id
        parent = adjunct.parent
        assert parent is None or parent in table or parent.startswith("dtmi:dtdl:class:"), adjunct.id


@pytest.mark.parametrize("system", unit_systems(), ids=lambda system: str(system.context))
def test_every_unit_is_an_element_of_its_family(system: UnitSystem) -> None:
    assert set(system.types.values()) <= set(system.families)
    for family, units in system.families.items():
        for unit in units:
            element = standard_element(system.id_of("unit", unit))
            assert isinstance(element, Element)
            assert element.name == unit
            family_id = system.id_of("family", family)
            assert family_id in (element.holder, *(adjunct.id for adjunct in element.adjuncts))


def test_identifiers_of_the_language_are_reserved_and_have_terms() -> None:
    assert is_reserved("dtmi:dtdl:class:Property;3")
    assert not is_reserved("dtmi:test:x;1")
    assert term_of("dtmi:dtdl:class:Property;3") == "Property"
    assert term_of("dtmi:test:x;1") == "dtmi:test:x;1"


def test_every_fault_that_the_code_names_has_a_message() -> None:
    messages = set(metamodel_file("messages.json")["messages"])
    named = {name for path in SOURCES for name in _reported(ast.parse(path.read_text("utf-8")))}
    assert named - messages == set()
    for name in messages:
        report = Report()
        report.add(name, id="dtmi:test:x;1", other="o", property="p", value=1, rule="r")
        assert report.errors[0].message.endswith(".")
        assert report.errors[0].code == f"dtmi:dtdl:parsingError:{name}"


def _reported(tree: ast.AST) -> list[str]:
    """The literal first arguments of calls that report a fault."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            reports = node.func.attr in {"add", "abandon", "fault", "_fault", "_abandon"}
            if reports and isinstance(first, ast.Constant) and isinstance(first.value, str):
                names.append(first.value)
    return names


def test_reports_survive_values_from_outside() -> None:
    nested: object = 1
    for _ in range(5_000):
        nested = [nested]
    report = Report()
    report.add("notJsonObject", value=nested)
    report.add("stringInvalid", id="dtmi:test:x;1", value="\ud800" + "x" * 10_000)
    with pytest.raises(ModelParsingError) as caught:
        report.raise_if_any()
    assert all(len(detail.message.encode()) < 1_000 for detail in caught.value.details)
