"""Reads the properties of an element: those of its class, those of its adjunct types, and unknown ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gemel.models.adjuncts import Adjunct, AdjunctProperty, adjuncts
from gemel.models.contexts import Scope, term_of
from gemel.models.elements import Element, Place, Reference, values_of
from gemel.models.errors import Report
from gemel.models.language import PropertyRule
from gemel.models.literals import Literal, read_literal
from gemel.models.types import Kinds

__all__ = ["ElementReader", "read_properties"]


class ElementReader(Protocol):
    """What reads the elements that properties hold, and takes note of references."""

    report: Report
    references: list[Reference]

    def read_held(self, raw: Mapping[str, object], around: Scope, place: Place) -> Element | None:
        """Read an object that a property holds; None when it is not an element."""


def read_properties(
    reader: ElementReader, raw: Mapping[str, object], scope: Scope, element: Element, kinds: Kinds, depth: int
) -> None:
    """Fill an element from its object; what it refers to is noted with the reader."""
    _Properties(reader, scope, element, kinds, depth).read(raw)


class _Properties:
    """Reads the properties of one element."""

    def __init__(
        self, reader: ElementReader, scope: Scope, element: Element, kinds: Kinds, depth: int
    ) -> None:
        self.reader = reader
        self.report = reader.report
        self.scope = scope
        self.element = element
        self.kinds = kinds
        self.depth = depth
        self.stated = False
        self.seen: set[str] = set()

    def read(self, raw: Mapping[str, object]) -> None:
        self.stated = "@type" in raw
        for name, value in raw.items():
            if name.startswith("@"):
                continue
            key = self.element.rule.aliases.get(name)
            if key is not None:
                if not self._first(key, key):
                    continue
                if value is None:
                    self.report.add("propertyValueNull", id=self.element.id, property=name)
                else:
                    self._own(self.element.rule.properties[key], value)
            elif not self._adjunct(name, value):
                self._unknown(name)
        self._check_missing()

    def _first(self, key: str, term: str) -> bool:
        """Whether a property comes for the first time; by term and by DTMI it could come twice."""
        if key in self.seen:
            self.report.add("duplicatePropertyName", id=self.element.id, property=term)
            return False
        self.seen.add(key)
        return True

    def _own(self, rule: PropertyRule, value: object) -> None:
        if rule.literal is not None:
            at = Literal(self.element.id, rule.name, self.scope, self.report, rule)
            found = read_literal(at, rule.literal, value)
            if found is not None:
                self.element.values[rule.name] = found
            return
        count = 0
        for item in values_of(value):
            if rule.max == 1 and count > 0:
                self.report.add("objectMultipleValues", id=self.element.id, property=rule.name)
                return
            count += self._held(rule, item)
        if count < rule.min:
            self.report.add(
                "objectCountBelowMin", id=self.element.id, property=rule.name, value=count, rule=rule.min
            )

    def _held(self, rule: PropertyRule, item: object) -> int:
        """Take one value that must be an element or refer to one; 1 when it does."""
        assert rule.cls is not None
        expected = self.scope.version.classes[rule.cls]
        if isinstance(item, str):
            target = self.scope.resolve(item)
            if target is None:
                self._fault("badDtmiOrTerm", rule.name, item, self.scope.version.number)
                return 0
            self._note(rule.name, target, item, rule=rule, concrete=expected.concrete)
            return 1
        if not isinstance(item, dict):
            self._fault("refNotStringOrObject", rule.name, item)
            return 0
        place = Place(
            rule.cls,
            self.element,
            rule.name,
            rule,
            expected.type_optional and not rule.id_required,
            self.depth + 1,
        )
        held = self.reader.read_held(item, self.scope, place)
        if held is None:
            return 0
        self._note(rule.name, held.id, None, rule=rule)
        return 1

    def _note(
        self,
        name: str,
        target: str,
        text: str | None,
        rule: PropertyRule | None = None,
        concrete: frozenset[str] = frozenset(),
    ) -> None:
        reference = Reference(self.element, name, target, text, rule, concrete=concrete)
        self.reader.references.append(reference)

    def _adjunct(self, name: str, value: object) -> bool:
        """Read a property that an adjunct type brings; False when none does."""
        identifier = self.scope.resolve(name)
        if identifier is None:
            return False
        for adjunct in self.kinds.adjuncts:
            found = _property_of(adjunct, identifier)
            if found is not None:
                if not self._first(identifier, term_of(identifier)):
                    return True
                if value is None and found.type != "JSON":
                    self.report.add("propertyValueNull", id=self.element.id, property=name)
                else:
                    self._adjunct_value(found, value)
                return True
        return False

    def _adjunct_value(self, found: AdjunctProperty, value: object) -> None:
        if found.refers:
            self._adjunct_refs(found, value)
            return
        rule = PropertyRule(
            found.id,
            literal=found.type,
            min=found.min,
            max=found.max,
            max_length={} if found.max_length is None else {"": found.max_length},
            pattern=found.pattern,
            at_least=found.at_least,
            at_most=found.at_most,
        )
        at = Literal(self.element.id, found.id, self.scope, self.report, rule)
        read = read_literal(at, found.type, value)
        if read is not None:
            self.element.values[found.id] = read

    def _adjunct_refs(self, found: AdjunctProperty, value: object) -> None:
        count = 0
        term = term_of(found.id)
        for item in values_of(value):
            if not found.plural and count > 0:
                self.report.add("objectMultipleValues", id=self.element.id, property=term)
                return
            count += self._adjunct_ref(found, term, item)
        if count < found.min:
            self.report.add(
                "objectCountBelowMin", id=self.element.id, property=term, value=count, rule=found.min
            )

    def _adjunct_ref(self, found: AdjunctProperty, term: str, item: object) -> int:
        if isinstance(item, str):
            target = self.scope.resolve(item)
            if target is None:
                self._fault("badDtmiOrTerm", term, item, self.scope.version.number)
                return 0
            self.reader.references.append(Reference(self.element, found.id, target, item, adjunct=found))
            return 1
        if not isinstance(item, dict):
            self._fault("refNotStringOrObject", term, item)
            return 0
        family = adjuncts().get(found.type)
        if family is None:
            self._fault("refObjectNotAllowed", term, item)
            return 0
        place = Place(family.kind, self.element, found.id, None, depth=self.depth + 1)
        held = self.reader.read_held(item, self.scope, place)
        if held is None:
            return 0
        self.reader.references.append(Reference(self.element, found.id, held.id, None, adjunct=found))
        return 1

    def _unknown(self, name: str) -> None:
        """A property that no type of the element has: a mistake, unless an unknown type may bring it."""
        if self.scope.version.checks_unknown_properties and self._is_mistaken(name):
            return
        if self.kinds.undefined:
            return
        if self.stated:
            self.report.add("noTypeThatAllows", id=self.element.id, property=name)
        else:
            rule = self.element.rule.name
            self.report.add("inferredTypeDoesNotAllow", id=self.element.id, property=name, rule=rule)

    def _is_mistaken(self, name: str) -> bool:
        number = self.scope.version.number
        if self.scope.resolve(name) is not None:
            fault = "propertyIrrelevantDtmiOrTerm" if self.scope.complete else ""
        elif name.startswith("dtmi:"):
            fault = "propertyInvalidDtmi"
        elif ":" in name:
            fault = "propertyNotDtmiNorTerm"
        else:
            fault = "propertyUndefinedTerm" if self.scope.complete else ""
        if fault:
            self.report.add(fault, id=self.element.id, property=name, rule=number)
        return bool(fault)

    def _check_missing(self) -> None:
        element = self.element
        for key in element.rule.required:
            if key not in self.seen:
                kind = "Object" if element.rule.properties[key].literal is None else "Literal"
                self.report.add(f"missing{kind}Property", id=element.id, property=key)
        for adjunct in self.kinds.adjuncts:
            for item in adjunct.properties:
                if item.min > 0 and item.id not in self.seen:
                    kind = "Object" if item.refers else "Identifier" if item.type == "IRI" else "Literal"
                    self.report.abandon(
                        f"missingSupplemental{kind}Property",
                        id=element.id,
                        property=term_of(item.id),
                        value=term_of(adjunct.id),
                    )

    def _fault(self, name: str, term: str, value: object, rule: object = None) -> None:
        self.report.add(name, id=self.element.id, property=term, value=value, rule=rule)


def _property_of(adjunct: Adjunct, identifier: str) -> AdjunctProperty | None:
    """The property with an identifier that a type or one above it brings."""
    current: Adjunct | None = adjunct
    while current is not None:
        found = current.property(identifier)
        if found is not None:
            return found
        current = adjuncts().get(current.parent) if current.parent else None
    return None
