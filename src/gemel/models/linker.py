"""Follows references: each must lead to an element that may stand there."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from gemel.models.adjuncts import adjuncts, unit_systems
from gemel.models.contexts import Options, is_reserved, term_of
from gemel.models.elements import Element, Reference
from gemel.models.errors import Report
from gemel.models.language import language, metamodel_file
from gemel.models.reader import Reader

__all__ = ["link", "standard_element", "undefined"]


def link(
    references: Iterable[Reference],
    elements: Mapping[str, Element],
    known: Mapping[str, Element],
    report: Report,
) -> None:
    """Connect elements to those they refer to.

    `elements` are new; `known` were there before. Faults are reported; when something that is referred to
    does not exist at all, nothing is connected.
    """
    found = [(reference, _target(reference, elements, known, report)) for reference in references]
    report.raise_if_any()
    for reference, target in found:
        assert target is not None
        if _check(reference, target, elements, known, report):
            _connect(reference, target)


def undefined(
    references: Iterable[Reference], elements: Mapping[str, Element], known: Mapping[str, Element]
) -> list[str]:
    """The identifiers that are referred to and that neither these elements nor the language define, in order."""
    targets = dict.fromkeys(
        each.target for each in references if each.text is None or each.text.startswith("dtmi:")
    )
    return [each for each in targets if each not in elements and each not in known and not is_reserved(each)]


def _target(
    reference: Reference, elements: Mapping[str, Element], known: Mapping[str, Element], report: Report
) -> Element | None:
    target = reference.target
    found = elements.get(target) or known.get(target) or standard_element(target)
    if found is not None:
        return found
    facts = {"id": reference.source.id, "property": term_of(reference.property), "other": target}
    if reference.text is not None and not reference.text.startswith("dtmi:"):
        report.add("badType", **facts, value="no such element", rule=_wanted(reference))
    elif is_reserved(target):
        report.add("undefinedReservedId", **facts)
    else:
        report.add("undefinedReference", **facts)
    return None


def _wanted(reference: Reference) -> str:
    if reference.rule is not None and reference.rule.cls is not None:
        return reference.rule.cls
    return "an element"


def _check(
    reference: Reference,
    target: Element,
    elements: Mapping[str, Element],
    known: Mapping[str, Element],
    report: Report,
) -> bool:
    """Whether a reference may lead to its target; False when it may not even be connected."""
    source = reference.source
    term = term_of(reference.property)
    facts = {"id": source.id, "property": reference.property, "term": term, "other": reference.target}
    home = source.id if source.rule.partition or source.home is None else source.home
    if not target.rule.partition and target.home is not None and target.home != home:
        report.add("crossPartitionReference", **facts, value=target.home)
        return False
    if reference.concrete and target.rule.name not in reference.concrete:
        wanted = " or ".join(sorted(reference.concrete))
        report.add("badType", **facts, value=f"of type {target.rule.name}", rule=wanted)
        return False
    _check_rule(reference, target, facts, report)
    child_of = reference.adjunct.child_of if reference.adjunct is not None else None
    if child_of is not None and target.holder != child_of:
        report.add("wrongParent", **facts, value=target.holder or "nothing", rule=child_of)
    return True


def _check_rule(reference: Reference, target: Element, facts: dict[str, str], report: Report) -> None:
    rule = reference.rule
    if rule is None:
        return
    if reference.text is not None and rule.versions and target.version not in rule.versions:
        versions = ", ".join(map(str, rule.versions))
        report.add("disallowedVersionReference", **facts, value=target.version, rule=versions)
    if rule.key is not None and not target.values.get(rule.key):
        report.add("missingDictKeyPropertyValue", **facts, value=rule.key)


def _connect(reference: Reference, target: Element) -> None:
    source = reference.source
    source.refs.setdefault(reference.property, []).append(target)
    # Interfaces may be shared between model sets, and standard elements are: neither is told who uses it.
    if target.home is not None and not target.rule.partition:
        target.used_by.append((source, reference.property))


@functools.cache
def _standard_elements() -> dict[str, Element]:
    """The elements that the language and its extensions define themselves."""
    found: dict[str, Element] = {}
    for number, rules in language().versions.items():
        for name in rules.primitive_schemas:
            _add_primitive(found, name, number)
        for name in rules.classes["Command"].properties["commandType"].values:
            identifier = f"dtmi:dtdl:instance:CommandType:{name};{number}"
            found[identifier] = Element(identifier, rules.classes["CommandType"], number, "")
            found[identifier].values["name"] = name
    _add_units(found)
    reader = Reader(Options(), {}, Report())
    reader.reserved_ok = True
    for group in metamodel_file("elements.json")["groups"]:
        for number in group["versions"]:
            reader.read(_with_version(element, number) for element in group["elements"])
    reader.report.raise_if_any()
    for reference in reader.references:
        _connect(reference, reader.elements.get(reference.target) or found[reference.target])
    return found | reader.elements


def _add_primitive(found: dict[str, Element], name: str, number: int) -> None:
    """A primitive schema is the same element in every version since its first."""
    identifier = f"dtmi:dtdl:instance:Schema:{name};{number}"
    earlier = found.get(f"dtmi:dtdl:instance:Schema:{name};{number - 1}")
    cls = language().versions[number].classes[name[0].upper() + name[1:]]
    element = earlier or Element(identifier, cls, number, "")
    element.values["name"] = name
    found[identifier] = element


def _add_units(found: dict[str, Element]) -> None:
    """Units are elements: of a class of their own in DTDL v2, members of an enumeration later."""
    for system in unit_systems():
        classes = language().versions[system.version].classes
        for kind, families in (("unit", system.families), ("prefix", system.prefixes)):
            for family, terms in families.items():
                family_id = system.id_of("family", family)
                cls = "EnumValue" if not system.by_class else "Unit" if kind == "unit" else "UnitAttribute"
                members = [
                    Element(system.id_of(kind, term), classes[cls], system.version, "") for term in terms
                ]
                for member, term in zip(members, terms, strict=True):
                    member.values["name"] = term
                    found[member.id] = member
                    if system.by_class:
                        member.adjuncts = (adjuncts()[family_id],)
                    else:
                        member.holder = family_id
                        member.values["enumValue"] = term
                if not system.by_class:
                    family_enum = Element(family_id, classes["Enum"], system.version, "")
                    family_enum.refs["enumValues"] = members
                    family_enum.refs["valueSchema"] = [found["dtmi:dtdl:instance:Schema:string;2"]]
                    found[family_id] = family_enum


def _with_version(raw: object, number: int) -> object:
    """Fill the version into the identifiers of a stored element, and its context where it states none."""
    if isinstance(raw, dict):
        return {key: _with_version(value, number) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_with_version(value, number) for value in raw]
    if isinstance(raw, str):
        return raw.replace(";@", f";{number}")
    return raw


def standard_element(identifier: str) -> Element | None:
    """The element of the language or a published extension with an identifier; None for all others."""
    return _standard_elements().get(identifier) if is_reserved(identifier) else None
