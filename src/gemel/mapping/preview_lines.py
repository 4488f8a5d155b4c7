"""Lines of a preview: a field of a message and what was given there, beside what became of it or is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from gemel.mapping.paths import Path
from gemel.mapping.payload import Field, PayloadMapping, PayloadRule
from gemel.mapping.scene import Message
from gemel.mapping.unmapped import Unmapped

__all__ = ["Line", "Roots", "given_of", "problem_line", "roots_of"]

Roots = Mapping[str | None, Any]
"""What paths start from, by name; None for those that name no root."""


@dataclass(frozen=True, slots=True)
class Line:
    """A field of a message beside what became of it; a side that there is not is empty (None)."""

    path: str | None = None
    given: Any = None
    twin: str | None = None
    target: str | None = None
    value: Any = None
    time: str | None = None
    problem: str | None = None


def roots_of(
    mapping: PayloadMapping, rule: PayloadRule | None, message: Message, payload: Any, place: int | None
) -> Roots:
    """Return what the paths of a rule start from in a message, for the item at a place of its `each`."""
    item = payload
    if rule is not None and rule.each is not None:
        items = rule.each.read(payload)
        found = items.values() if isinstance(items, dict) else items if isinstance(items, list) else ()
        item = None if place is None else next(islice(found, place, None), None)
    topic = mapping.topic and message.topic and mapping.topic.match(message.topic)
    return {
        None: item,
        "item": item,
        "payload": payload,
        "topic": topic or {},
        "headers": message.headers,
        "key": message.key,
        "received": message.received_us,
        "sent": message.sent_us,
    }


def given_of(field: Field, target: str, rule: PayloadRule, roots: Roots) -> tuple[str, Any]:
    """Return where a field of a rule stands, and what stands there; None where nothing does.

    `target` is the path that it became, or would have become: it says what the star of a target stands for.
    """
    if field.path is None:
        return "" if field.expression is None else f"= {field.expression.text}", None
    where, given = _shown(field.path, rule), _read(field.path, roots)
    before, star, behind = _name_of(field, rule).partition("*")
    if not star or "*" in target:
        return where, given
    key = target[len(before) : len(target) - len(behind)]
    return f"{where}.{key}", given.get(key) if isinstance(given, dict) else None


def problem_line(mapping: PayloadMapping, raw: bytes, message: Message, payload: Any) -> Line:
    """Return the line of what does not fit: the problem, with the field that it is of and what was given there.

    `raw` is what would wait in quarantine; `payload` that of its message, None where it is not JSON.
    """
    waiting = msgspec.json.decode(raw, type=Unmapped)
    problem = waiting.problem
    rule = None if waiting.rule is None else mapping.twins[waiting.rule]
    roots = roots_of(mapping, rule, message, _alone(payload, raw, rule), 0)
    if rule is None:
        if mapping.id is not None and mapping.id.path is not None and problem.startswith("id:"):
            return Line(mapping.id.path.text, _read(mapping.id.path, roots), problem=problem)
        if problem.startswith("topic:"):
            return Line("(topic)", message.topic, problem=problem)
        return Line(problem=problem)
    if problem.startswith(f"twins[{waiting.rule}].twin:") and rule.twin.paths:
        path = next((each for each in rule.twin.paths if f" {each.text} " in problem), rule.twin.paths[0])
        return Line(_shown(path, rule), _read(path, roots), problem=problem)
    for target, field in _fields(rule):
        if problem.startswith((f"{field.place}:", f"{field.place} for ")):
            wanted = _starred(target, field, problem, roots)
            where, given = given_of(field, wanted, rule, roots)
            return Line(where, given, target=wanted or None, problem=problem)
    return Line(problem=problem)


def _alone(payload: Any, raw: bytes, rule: PayloadRule | None) -> Any:
    """Return a payload with only the item that does not fit, as it would wait, where it is of one."""
    if rule is None or rule.each is None:
        return payload
    return msgspec.json.decode(raw).get("data", payload)


def _fields(rule: PayloadRule) -> Iterator[tuple[str, Field]]:
    yield from rule.values.items()
    if rule.time is not None:
        yield "", rule.time.field
    if rule.quality is not None:
        yield "", rule.quality


def _starred(target: str, field: Field, problem: str, roots: Roots) -> str:
    """Return a target with the key that a problem names in place of its star."""
    found = _read(field.path, roots) if "*" in target and field.path is not None else None
    keys = found if isinstance(found, dict) else ()
    key = next((each for each in keys if problem.startswith(f"{field.place} for {each!r}:")), None)
    return target if key is None else target.replace("*", key)


def _name_of(field: Field, rule: PayloadRule) -> str:
    return next((name for name, each in rule.values.items() if each is field), "")


def _shown(path: Path, rule: PayloadRule) -> str:
    return f"{rule.each.text}[].{path.text}" if rule.each is not None and path.root is None else path.text


def _read(path: Path, roots: Roots) -> Any:
    try:
        return path.read(roots.get(path.root))
    except ValueError:
        return None
