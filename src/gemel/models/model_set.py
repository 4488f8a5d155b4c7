"""A set of models that fit together, and the questions that other floors ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from functools import cached_property

from gemel.base.errors import NotFoundError
from gemel.models.elements import Element
from gemel.models.interface_builder import build_interface
from gemel.models.interfaces import Interface

__all__ = ["ModelSet"]


class ModelSet:
    """An immutable set of interfaces whose references all lead somewhere within it."""

    def __init__(self, elements: Mapping[str, Element] | None = None) -> None:
        """Hold the elements of whole interfaces; `parse` makes model sets, others only start with none."""
        self._elements = dict(elements or {})
        self._built: dict[str, Interface] = {}
        self._bases: dict[str, frozenset[str]] = {}

    @property
    def elements(self) -> Mapping[str, Element]:
        """The parts of all interfaces by identifier, for reading further models against them."""
        return self._elements

    @cached_property
    def _interfaces(self) -> dict[str, Element]:
        return {key: element for key, element in self._elements.items() if element.rule.partition}

    @cached_property
    def ids(self) -> frozenset[str]:
        """The DTMIs of all interfaces."""
        return frozenset(self._interfaces)

    def __contains__(self, dtmi: object) -> bool:
        return dtmi in self._interfaces

    def __len__(self) -> int:
        return len(self._interfaces)

    def interface(self, dtmi: str) -> Interface:
        """The interface of a DTMI; NotFoundError `ModelNotFound` when there is none."""
        found = self._built.get(dtmi)
        if found is None:
            found = self._built[dtmi] = build_interface(self._element(dtmi))
        return found

    def is_a(self, dtmi: str, ancestor: str) -> bool:
        """Whether twins of a model are also of another: the same, or one that it extends."""
        if dtmi == ancestor:
            return dtmi in self._interfaces
        bases = self._bases.get(dtmi)
        if bases is None:
            bases = self._bases[dtmi] = _reach(self._extends.get(dtmi, ()), self._extends)
        return ancestor in bases

    def descendants(self, dtmi: str, exact: bool = False) -> frozenset[str]:
        """A model and, unless `exact`, all that extend it, however far; empty when it is not in the set."""
        if dtmi not in self._interfaces:
            return frozenset()
        return frozenset({dtmi}) if exact else _reach({dtmi}, self._extended_by)

    def dependencies(self, dtmi: str) -> frozenset[str]:
        """All models that a model needs, however far: those it extends and those of its components.

        Relationship targets are not needed: they may be added later.
        """
        self._element(dtmi)
        return _reach({dtmi}, self._needs) - {dtmi}

    def referrers(self, dtmi: str) -> frozenset[str]:
        """The models that extend a model or have it as a component, directly."""
        return self._needed_by.get(dtmi, frozenset())

    def without(self, dtmis: Set[str]) -> ModelSet:
        """The set less some models; those that still need them are the caller's to check (`referrers`)."""
        kept = {
            key: element
            for key, element in self._elements.items()
            if key not in dtmis and (element.rule.partition or element.home not in dtmis)
        }
        return ModelSet(kept)

    def _element(self, dtmi: str) -> Element:
        element = self._interfaces.get(dtmi)
        if element is None:
            raise NotFoundError(
                "ModelNotFound", f"There is no model {dtmi!r}.", hint="See `gemel models list`."
            )
        return element

    @cached_property
    def _needs(self) -> dict[str, frozenset[str]]:
        return {key: frozenset(_needed(element)) for key, element in self._interfaces.items()}

    @cached_property
    def _needed_by(self) -> dict[str, frozenset[str]]:
        return _inverse(self._needs)

    @cached_property
    def _extends(self) -> dict[str, frozenset[str]]:
        return {
            key: frozenset(held.id for held in element.refs.get("extends", ()))
            for key, element in self._interfaces.items()
        }

    @cached_property
    def _extended_by(self) -> dict[str, frozenset[str]]:
        return _inverse(self._extends)


def _needed(element: Element) -> Iterable[str]:
    for held in element.refs.get("extends", ()):
        yield held.id
    for content in element.refs.get("contents", ()):
        if content.rule.name == "Component":
            for held in content.refs.get("schema", ()):
                yield held.id


def _inverse(links: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for source, targets in links.items():
        for target in targets:
            found.setdefault(target, set()).add(source)
    return {target: frozenset(sources) for target, sources in found.items()}


def _reach(start: Iterable[str], links: Mapping[str, Iterable[str]]) -> frozenset[str]:
    found = set(start)
    waiting = list(found)
    while waiting:
        for target in links.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return frozenset(found)
