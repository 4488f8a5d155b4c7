"""Event filters compiled to predicates over events. Pure.

A member that is not there counts as null: it equals null and nothing else, differs from every other value, and
has no order and no text. So every condition is true or false, and NOT turns one into the other. Values of
different types are never equal and have no order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import ge, gt, le, lt
from typing import Any

from gemel.base.clock import to_us
from gemel.routing.filter_parse import parse_filter
from gemel.routing.filter_tree import (
    And,
    Attribute,
    Compare,
    Condition,
    Constant,
    Field,
    HasText,
    Not,
    OneOf,
    Operator,
    Or,
    Scalar,
    TextPlace,
)

__all__ = ["EventFilter", "compile_filter"]

Event = Mapping[str, Any]
Predicate = Callable[[Event], bool]

ORDERS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.LT: lt,
    Operator.LE: le,
    Operator.GT: gt,
    Operator.GE: ge,
}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter: `takes(event)` decides on a CloudEvent as a mapping; `never` says that it takes none."""

    condition: Condition
    takes: Predicate
    never: bool

    def may_take(self, event_type: str) -> bool:
        """Say whether an event of this type could be taken, whatever else it holds."""
        return _possible(self.condition, event_type)[0]


@lru_cache(maxsize=1024)
def compile_filter(text: str) -> EventFilter:
    """Return the filter of a text. Raises InvalidError (EventRouteFilterInvalid)."""
    condition = parse_filter(text)
    return EventFilter(condition, _predicate(condition), condition == Constant(value=False))


def _predicate(condition: Condition) -> Predicate:
    if isinstance(condition, Constant):
        value = condition.value
        return lambda event: value
    if isinstance(condition, Not):
        part = _predicate(condition.part)
        return lambda event: not part(event)
    if isinstance(condition, And | Or):
        parts = [_predicate(each) for each in condition.parts]
        if isinstance(condition, And):
            return lambda event: all(part(event) for part in parts)
        return lambda event: any(part(event) for part in parts)
    return _test(condition)


def _test(test: Compare | OneOf | HasText) -> Predicate:
    read = _reader(test.field)
    if isinstance(test, Compare):
        check = _comparison(test.operator, test.value)
    elif isinstance(test, OneOf):
        check = _membership(test.values, negated=test.negated)
    else:
        check = _text(test.place, test.text)
    return lambda event: check(read(event))


def _reader(field: Field) -> Callable[[Event], Any]:
    if field is Attribute.TIME:
        return lambda event: to_us(datetime.fromisoformat(event["time"]))
    if field is Attribute.SUBJECT:
        return lambda event: event.get("subject", "")
    if isinstance(field, Attribute):
        name = field.value
        return lambda event: event.get(name)
    names = ("data", *field.names)

    def read(event: Event) -> Any:
        found: Any = event
        for name in names:
            if not isinstance(found, Mapping):
                return None
            found = found.get(name)
        return found

    return read


def _comparison(operator: Operator, value: Scalar) -> Callable[[Any], bool]:
    if operator is Operator.EQ:
        return lambda found: _equal(found, value)
    if operator is Operator.NE:
        return lambda found: not _equal(found, value)
    order = ORDERS[operator]
    kind = str if isinstance(value, str) else (int, float)
    return lambda found: isinstance(found, kind) and not isinstance(found, bool) and order(found, value)


def _membership(values: tuple[Scalar, ...], *, negated: bool) -> Callable[[Any], bool]:
    return lambda found: any(_equal(found, value) for value in values) is not negated


def _text(place: TextPlace, text: str) -> Callable[[Any], bool]:
    if place is TextPlace.START:
        return lambda found: isinstance(found, str) and found.startswith(text)
    if place is TextPlace.END:
        return lambda found: isinstance(found, str) and found.endswith(text)
    return lambda found: isinstance(found, str) and text in found


def _equal(found: Any, value: Scalar) -> bool:
    # Python takes True for 1; JSON does not.
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)


def _possible(condition: Condition, event_type: str) -> tuple[bool, bool]:
    """Return whether a condition can be true, and whether it can be false, of events of a type."""
    if isinstance(condition, Constant):
        return condition.value, not condition.value
    if isinstance(condition, Not):
        can, cannot = _possible(condition.part, event_type)
        return cannot, can
    if isinstance(condition, And | Or):
        parts = [_possible(part, event_type) for part in condition.parts]
        if isinstance(condition, And):
            return all(can for can, _ in parts), any(cannot for _, cannot in parts)
        return any(can for can, _ in parts), all(cannot for _, cannot in parts)
    if condition.field is not Attribute.TYPE:
        return True, True
    held = _test(condition)({"type": event_type})
    return held, not held
