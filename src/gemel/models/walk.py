"""Walks what elements hold, without recursion: models may be chained longer than the call stack is deep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gemel.models.elements import Element
from gemel.models.language import GraphRule

__all__ = ["Walk", "edges"]

T = TypeVar("T")


@dataclass(slots=True)
class _Open(Generic[T]):
    element: Element
    waiting: Iterator[tuple[str, Element]]
    taken: str = ""
    found: list[tuple[str, Element, T]] = field(default_factory=list)


class Walk(Generic[T]):
    """Computes something of elements from the same thing of those that they hold.

    `combine` gets what was found of each held element, by property; `circle` gets the elements of a circle,
    once for every way into it, and gives what counts where it closes. Each element is computed once.
    """

    def __init__(
        self,
        rule: GraphRule,
        combine: Callable[[Element, list[tuple[str, Element, T]]], T],
        circle: Callable[[list[Element]], T],
    ) -> None:
        """Walk along the edges of a rule."""
        self._rule = rule
        self._combine = combine
        self._circle = circle
        self._done: dict[int, T] = {}

    def of(self, start: Element) -> T:
        """What is to be known of an element."""
        if id(start) in self._done:
            return self._done[id(start)]
        path = [_Open[T](start, edges(start, self._rule))]
        inside = {id(start): 0}
        while True:
            top = path[-1]
            deeper = self._advance(top, path, inside)
            if deeper is not None:
                inside[id(deeper)] = len(path)
                path.append(_Open(deeper, edges(deeper, self._rule)))
                continue
            result = self._combine(top.element, top.found)
            self._done[id(top.element)] = result
            path.pop()
            del inside[id(top.element)]
            if not path:
                return result
            path[-1].found.append((path[-1].taken, top.element, result))

    def _advance(self, top: _Open[T], path: list[_Open[T]], inside: dict[int, int]) -> Element | None:
        """Take edges until one leads to an element not yet computed; None when all are taken."""
        for name, held in top.waiting:
            key = id(held)
            if key in self._done:
                top.found.append((name, held, self._done[key]))
            elif key in inside:
                top.found.append((name, held, self._circle([each.element for each in path[inside[key] :]])))
            else:
                top.taken = name
                return held
        return None


def edges(element: Element, rule: GraphRule) -> Iterator[tuple[str, Element]]:
    """The elements that a rule leads to from one: all that it holds, or those of the named properties."""
    if rule.follow_all:
        yield from element.edges()
        return
    for name in rule.through:
        for held in element.held(name):
            yield name, held
