"""What a mapping makes of sample messages, field by field: input, output and problems side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gemel.base.errors import Detail, InvalidError
from gemel.ingest.events import Event
from gemel.mapping.mapper import Mapped, Mapper
from gemel.mapping.model_units import pint_unit
from gemel.mapping.payload import PayloadMapping, PayloadRule
from gemel.mapping.preview_lines import Line, Roots, given_of, problem_line, roots_of
from gemel.mapping.samples import leaves_of
from gemel.mapping.scene import Message
from gemel.mapping.units import conversion
from gemel.models import TwinType

__all__ = ["Preview", "model_problems", "preview"]

MEMBER: Final = re.compile(r"\b(?:payload|item)\.([A-Za-z_]\w*)")
FIRST: Final = re.compile(r'(?:\$[a-z]+\.?)?("(?:[^"\\]|\\.)*"|[A-Za-z_][\w-]*)')


@dataclass(frozen=True, slots=True)
class Preview:
    """What became of one message: its lines, its events as they would be sent, and its problems."""

    lines: list[Line]
    events: list[Any]
    problems: list[str]


def preview(mapper: Mapper, messages: Sequence[Message], types: dict[str, TwinType]) -> list[Preview]:
    """Return what a mapping makes of each message; `types` are of the models that rules name, to check against."""
    mapped = mapper.run(messages)
    return [_one(mapper.mapping, mapped, message, number, types) for number, message in enumerate(messages)]


def model_problems(mapping: PayloadMapping, types: dict[str, TwinType]) -> list[str]:
    """Return where a mapping does not go with the models that it names: paths that they lack, units that differ."""
    found = []
    for number, rule in enumerate(mapping.twins):
        twin_type = types.get(rule.model or "")
        if twin_type is None:
            continue
        for target in [*rule.values, *rule.constants]:
            slot = twin_type.slots.get(target)
            if slot is None and "*" not in target:
                found.append(f"twins[{number}]: {rule.model} has no property or telemetry {target!r}")
            field = rule.values.get(target)
            unit = None if slot is None or slot.unit is None else pint_unit(slot.unit)
            if field is not None and field.to is not None and unit is not None and not _same(field.to, unit):
                found.append(f"{field.place}: becomes {field.to}, and the model has {unit}")
    return found


def _same(one: str, other: str) -> bool:
    try:
        return conversion(one, other) is None
    except InvalidError:
        return False


def _one(
    mapping: PayloadMapping, mapped: Mapped, message: Message, number: int, types: dict[str, TwinType]
) -> Preview:
    places = [place for place, owner in enumerate(mapped.messages) if owner == number]
    events = [mapped.events[place] for place in places]
    made = [event for event in events if isinstance(event, Event)]
    problems = [event.message for event in events if isinstance(event, Detail)]
    payload = _payload(mapping, message)
    lines: list[Line] = []
    used: set[str] = set()
    for event in made:
        rule = _rule_of(mapping, event)
        roots = roots_of(mapping, rule, message, payload, _place(event))
        lines += _event_lines(rule, event, types.get(rule.model or ""), roots)
    problems += [line.problem for line in lines if line.problem]
    for rule in mapping.twins:
        used |= _read(rule)
    lines += [
        problem_line(mapping, mapped.raws[place], message, payload)
        for place in places
        if isinstance(mapped.events[place], Detail)
    ]
    lines += [Line(path=path, given=value) for path, value in leaves_of(payload) if not _is_used(path, used)]
    return Preview(lines, [msgspec.to_builtins(event) for event in made], problems)


def _payload(mapping: PayloadMapping, message: Message) -> Any:
    if mapping.format == "text":
        return message.payload.decode(errors="replace")
    try:
        return msgspec.json.decode(message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _rule_of(mapping: PayloadMapping, event: Event) -> PayloadRule:
    """Return the rule that made an event: its id ends in the rule's number where there are several."""
    if len(mapping.twins) == 1:
        return mapping.twins[0]
    return mapping.twins[int(event.id.rpartition(":")[2].partition(".")[0])]


def _event_lines(rule: PayloadRule, event: Event, twin_type: TwinType | None, roots: Roots) -> Iterator[Line]:
    time = None if event.time is None else event.time.isoformat().replace("+00:00", "Z")
    for target, value in event.data.items():
        field = rule.values.get(target) or next(
            (each for name, each in rule.values.items() if _fits_star(name, target)), None
        )
        path, given = ("(constant)", None) if field is None else given_of(field, target, rule, roots)
        yield Line(path, given, event.subject, target, value, time, _problem(twin_type, target, value))


def _place(event: Event) -> int | None:
    """Return which item of its rule's `each` an event is of: its id ends in that."""
    place = event.id.rpartition(".")[2]
    return int(place) if place.isdecimal() else None


def _fits_star(name: str, target: str) -> bool:
    before, star, behind = name.partition("*")
    return bool(star) and target.startswith(before) and target.endswith(behind)


def _problem(twin_type: TwinType | None, target: str, value: Any) -> str | None:
    if twin_type is None:
        return None
    slot = twin_type.slots.get(target)
    if slot is None:
        return "the model has no such path"
    return slot.check(value)


def _read(rule: PayloadRule) -> set[str]:
    """Return what a rule reads, as starts of paths from the top of the payload, as near as can be told."""
    fields = [*rule.values.values(), rule.quality, None if rule.time is None else rule.time.field]
    paths = [
        *rule.twin.paths,
        *(field.path for field in fields if field is not None and field.path is not None),
    ]
    found = {rule.each.text} if rule.each is not None else set()
    for path in paths:
        text = path.text.removeprefix("$payload.")
        if path.keys is not None:
            found.add(".".join(path.keys) if path.root in (None, "payload") else "")
        elif first := FIRST.match(text):
            found.add(first[1])
    expressions = [field.expression for field in fields if field is not None] + [rule.when]
    for expression in expressions:
        found.update(MEMBER.findall("" if expression is None else expression.text))
    return found - {""}


def _is_used(path: str, used: set[str]) -> bool:
    return "@" in used or any(path == each or path.startswith(f"{each}.") for each in used)
