"""What of a twin is not as its model says: each with a severity, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from gemel.graph.content import value_fault
from gemel.graph.link_rules import Fits, LinkFault, Links, outgoing_faults, unmet_minimums
from gemel.history.state import StateValue
from gemel.models import TwinType

__all__ = ["RULES", "CheckedTwin", "Finding", "twin_findings"]


class Rule(NamedTuple):
    """How bad it is that a kind of rule is broken, and what to do."""

    severity: str
    hint: str


ERROR, WARNING = "error", "warning"
RULES: Mapping[str, Rule] = {
    "modelDecommissioned": Rule(
        WARNING, "`gemel models upgrade --from OLD --to NEW` moves the twins of a model to another."
    ),
    "component": Rule(ERROR, "PUT the twin with every component of its model, and no other."),
    "value": Rule(ERROR, "Patch the value, or remove it."),
    "relationship": Rule(ERROR, "Delete the relationships, or give the twin a model that has them."),
    "target": Rule(ERROR, "Lead the relationships elsewhere, or give one of the twins another model."),
    "maxMultiplicity": Rule(ERROR, "Delete those that are too many."),
    "minMultiplicity": Rule(WARNING, "`gemel relate` adds what is missing."),
    "relationshipProperty": Rule(ERROR, "Patch the relationship, or put it anew."),
}
"""The kinds of findings."""


class Finding(NamedTuple):
    """One thing that is not as a model says: of which kind, of which twin, and where in it."""

    severity: str
    kind: str
    twin: str
    part: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class CheckedTwin:
    """A twin with what is to be checked of it; `relationship_faults` by relationship."""

    twin_id: str
    twin_type: TwinType
    decommissioned: bool
    components: Mapping[str, str]
    values: Sequence[StateValue]
    links: Sequence[Links]
    relationship_faults: Sequence[tuple[str, str]]


def twin_findings(twin: CheckedTwin, fits: Fits) -> Iterator[Finding]:
    """Yield everything about a twin that is not as its model says."""
    twin_type = twin.twin_type
    if twin.decommissioned:
        yield _finding(twin, "modelDecommissioned", "", f"{twin_type.model} is decommissioned.")
    for path in sorted(twin_type.components.keys() | twin.components.keys()):
        yield from _component(twin, path)
    for value in twin.values:
        if value.role == "property" and not value.removed:
            fault = value_fault(value.path, twin_type.slots.get(value.path), value.value)
            if fault is not None:
                yield _finding(twin, "value", value.path, fault)
    faults: Iterator[LinkFault] = chain(
        outgoing_faults(twin.links, twin_type, fits), unmet_minimums(twin.links, twin_type)
    )
    for link in faults:
        yield _finding(twin, link.kind, link.name, link.message)
    for relationship_id, fault in twin.relationship_faults:
        yield _finding(twin, "relationshipProperty", relationship_id, fault)


def _component(twin: CheckedTwin, path: str) -> Iterator[Finding]:
    wanted, there = twin.twin_type.components.get(path), twin.components.get(path)
    if there is None:
        yield _finding(twin, "component", path, f"The twin has no component {path}.")
    elif wanted is None:
        said = f"The model {twin.twin_type.model} has no component {path}."
        yield _finding(twin, "component", path, said)
    elif wanted != there:
        yield _finding(twin, "component", path, f"The component {path} is of {there}, and not of {wanted}.")


def _finding(twin: CheckedTwin, kind: str, part: str, message: str) -> Finding:
    severity, hint = RULES[kind]
    return Finding(severity, kind, twin.twin_id, part, message, hint)
