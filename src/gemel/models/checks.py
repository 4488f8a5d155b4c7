"""Rules on single elements and on the members of one parent, after all references are followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gemel.models.adjuncts import Adjunct, AdjunctProperty, ParentRule, SiblingRule, ValueRule, adjuncts
from gemel.models.contexts import term_of
from gemel.models.elements import Element, has_type
from gemel.models.errors import Report
from gemel.models.schema_builder import SchemaBuilder
from gemel.models.values import validate_value

__all__ = ["check_elements", "check_values"]


def check_values(elements: Iterable[Element], report: Report) -> None:
    """Check what adjunct types demand of the values of their element."""
    for element in elements:
        for adjunct in element.adjuncts:
            for rule in _with_parents(adjunct):
                for value_rule in rule.values:
                    _check_value_rule(element, value_rule, report)
            for item in adjunct.properties:
                if item.refers and item.child_of is None:
                    _check_value_rule(element, ValueRule(item.id, types=(item.type,)), report)


def _with_parents(adjunct: Adjunct) -> Iterator[Adjunct]:
    current: Adjunct | None = adjunct
    while current is not None:
        yield current
        current = adjuncts().get(current.parent) if current.parent else None


def _check_value_rule(element: Element, rule: ValueRule, report: Report) -> None:
    for held in element.refs.get(rule.property, ()):
        term = term_of(rule.property)
        facts = {"id": element.id, "property": rule.property, "term": term, "other": held.id}
        if rule.types and not any(has_type(held, item, adjuncts()) for item in rule.types):
            report.add("notRequiredType", **facts, rule=_names(rule.types))
        if rule.values and held.id not in rule.values:
            report.add("notRequiredValue", **facts, rule=_names(rule.values))


def _names(identifiers: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(term_of(item) for item in identifiers))


def check_elements(elements: Iterable[Element], report: Report) -> None:
    """Check counts, uniqueness and allowed values, and what adjunct types demand of the surroundings."""
    checker = _Checker(report)
    for element in elements:
        checker.own(element)
        for adjunct in element.adjuncts:
            checker.company(element, adjunct)
            for item in adjunct.properties:
                checker.adjunct_property(element, item)
            for rule in adjunct.parents:
                checker.parents(element, adjunct, rule)
        checker.siblings(element, element.used_by)
        for name, imported in element.imported.items():
            for held in imported:
                checker.siblings(held, [(element, name)])


class _Checker:
    """Runs the checks; remembers which pairs of siblings refer to the same."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.schemas = SchemaBuilder()
        self.referred: set[tuple[str, str, str, str]] = set()

    def own(self, element: Element) -> None:
        for name in element.refs:
            rule = element.rule.properties.get(name)
            if rule is None:
                continue
            if rule.max is not None and rule.max > 1:
                count = len({held.id for held in element.held(name)})
                if count > rule.max:
                    self.report.add(
                        "objectCountAboveMax", id=element.id, property=name, value=count, rule=rule.max
                    )
            if rule.unique:
                self._unique(element, name, rule.unique)
            if rule.values:
                self._allowed(element, name, rule.values)

    def _unique(self, element: Element, name: str, keys: tuple[str, ...]) -> None:
        for key in keys:
            seen: set[tuple[type, object]] = set()
            for held in element.refs[name]:
                value = held.values.get(key)
                if value is None:
                    continue
                if (type(value), value) in seen:
                    self.report.add(
                        "nonUniquePropertyValue", id=element.id, property=name, word=key, value=value
                    )
                seen.add((type(value), value))

    def _allowed(self, element: Element, name: str, values: tuple[str, ...]) -> None:
        for held in element.refs[name]:
            if held.name not in values:
                rule = " or ".join(values)
                self.report.add(
                    "incorrectPropertyValue", id=element.id, property=name, value=term_of(held.id), rule=rule
                )

    def company(self, element: Element, adjunct: Adjunct) -> None:
        """Types that exclude each other."""
        present = {item.id for item in element.adjuncts}
        for unwanted in adjunct.forbids:
            if unwanted in present:
                self.report.add(
                    "disallowedCocotype", id=element.id, value=term_of(adjunct.id), rule=term_of(unwanted)
                )

    def adjunct_property(self, element: Element, item: AdjunctProperty) -> None:
        value = element.values.get(item.id)
        if value is None:
            return
        governing = element.one(item.instance_of) if item.instance_of else None
        if governing is not None:
            problem = validate_value(self.schemas.build(governing), value)
            if problem is not None:
                self.report.add(
                    "nonConformantPropertyValue",
                    id=element.id,
                    property=term_of(item.id),
                    value=value,
                    rule=problem,
                )
        if item.unique:
            for parent, name in element.used_by:
                same = [held for held in parent.refs.get(name, ()) if held.values.get(item.id) == value]
                if len(same) > 1:
                    self.report.add(
                        "nonUniquePropertyValue",
                        id=parent.id,
                        property=name,
                        word=term_of(item.id),
                        value=value,
                    )

    def parents(self, element: Element, adjunct: Adjunct, rule: ParentRule) -> None:
        for parent, name in element.used_by:
            if name != rule.property:
                continue
            facts = {"id": element.id, "property": name, "value": term_of(adjunct.id)}
            if rule.types and not any(_has_adjunct(parent, item) for item in rule.types):
                self.report.add("parentMissingCotype", **facts, rule=_names(rule.types))
            others = [held for held in parent.held(name) if held is not element]
            for other in others:
                # Two that exclude each other are one fault.
                first = rule.no_other not in {item.id for item in element.adjuncts} or element.id < other.id
                if first and rule.no_other is not None and _has_adjunct(other, rule.no_other):
                    self.report.add(
                        "siblingDuplicatesCotype", **facts, other=other.id, rule=term_of(rule.no_other)
                    )
            some = rule.some_other
            if some is not None and not any(_has_adjunct(other, some) for other in others):
                self.report.add("siblingMissingCotype", **facts, rule=term_of(some))

    def siblings(self, element: Element, used_by: Sequence[tuple[Element, str]]) -> None:
        """What types demand of the other members of those that hold an element, inherited ones included."""
        for adjunct in element.adjuncts:
            for of in _with_parents(adjunct):
                for rule in of.siblings:
                    self._sibling(element, rule, used_by)
                for value_rule in of.values:
                    self._value_by_sibling(element, value_rule, used_by)

    def _sibling(self, element: Element, rule: SiblingRule, used_by: Sequence[tuple[Element, str]]) -> None:
        for parent, name, sibling in _siblings(element, rule.key, rule.keyref, used_by):
            if rule.unique is not None:
                self._refer_once(element, rule, parent, name)
            facts: dict[str, object] = {
                "id": element.id,
                "property": term_of(rule.keyref),
                "other": sibling.id,
                "value": element.values.get(rule.keyref),
            }
            if rule.types and not any(has_type(sibling, item, adjuncts()) for item in rule.types):
                self.report.add("notSiblingRequiredType", **facts, rule=_names(rule.types))
            if rule.not_type is not None and has_type(sibling, rule.not_type, adjuncts()):
                self.report.add("disallowedType", **facts, rule=term_of(rule.not_type))
            wanted = element.values.get(rule.property) if rule.property is not None else None
            if isinstance(wanted, str) and not _brought_by(sibling, wanted):
                own = term_of(wanted) in sibling.rule.properties
                fault = "matchingPropertyNotSupplemental" if own else "noMatchingSupplementalProperty"
                self.report.add(fault, **facts, rule=term_of(wanted))

    def _refer_once(self, element: Element, rule: SiblingRule, parent: Element, name: str) -> None:
        key = (
            parent.id,
            name,
            str(element.values.get(rule.keyref)),
            str(element.values.get(rule.unique or "")),
        )
        if key in self.referred:
            value = f"'{key[2]}' and '{term_of(key[3])}'"
            self.report.add("multipleReference", id=parent.id, property=name, other=rule.unique, value=value)
        self.referred.add(key)

    def _value_by_sibling(
        self, element: Element, rule: ValueRule, used_by: Sequence[tuple[Element, str]]
    ) -> None:
        """A value that must be what a property of a sibling belongs to, such as its unit's family."""
        path = rule.parent_of or rule.class_of
        wanted = element.values.get(path) if path is not None else None
        if rule.key is None or rule.keyref is None or not isinstance(wanted, str):
            return
        for _, _, sibling in _siblings(element, rule.key, rule.keyref, used_by):
            for item in _brought_by(sibling, wanted):
                expected = item.child_of if rule.parent_of else item.type
                for held in element.refs.get(rule.property, ()):
                    if held.id != expected:
                        self.report.add(
                            "siblingPropertyMismatch",
                            id=element.id,
                            property=rule.property,
                            value=term_of(held.id),
                            rule=term_of(expected or "nothing"),
                        )


def _siblings(
    element: Element, key: str, keyref: str, used_by: Sequence[tuple[Element, str]]
) -> Iterator[tuple[Element, str, Element]]:
    """Every member of a common parent whose key is what the element refers to."""
    wanted = element.values.get(keyref)
    for parent, name in used_by:
        for held in parent.held(name):
            if wanted is not None and held.values.get(key) == wanted:
                yield parent, name, held
                break


def _brought_by(element: Element, property_id: str) -> list[AdjunctProperty]:
    found = (adjunct.property(property_id) for adjunct in element.adjuncts)
    return [item for item in found if item is not None]


def _has_adjunct(element: Element, type_id: str) -> bool:
    return any(adjunct.id == type_id for adjunct in element.adjuncts)
