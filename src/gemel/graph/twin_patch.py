"""A JSON Patch on a twin or component, read against the types before and after it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gemel.graph.changing import Change
from gemel.graph.content import (
    HEADER,
    LIFECYCLE,
    METADATA,
    MODEL,
    SOURCE_TIME,
    Content,
    owner_of,
    parse_time_us,
    raise_faults,
    read_time,
    read_twin,
    value_fault,
)
from gemel.graph.jsonpatch import MISSING, Operation, apply, invalid, pointer_text
from gemel.graph.lifecycle import LIFECYCLE_HINT
from gemel.graph.live import LiveTwin
from gemel.models import TwinType

__all__ = ["at_component", "explicit_times_us", "patch_change", "target_model"]

MODEL_POINTER = (METADATA, MODEL)


def at_component(operations: Sequence[Operation], component: str | None) -> tuple[Operation, ...]:
    """Return operations on a component (its dotted path) as operations on its twin."""
    if component is None:
        return tuple(operations)
    steps = tuple(component.split("."))
    return tuple(operation._replace(pointer=steps + operation.pointer) for operation in operations)


def target_model(operations: Sequence[Operation]) -> str | None:
    """Return the model that a patch gives the twin, or None where it gives none.

    Raises InvalidError (JsonPatchInvalid) where the model is removed, or is no text.
    """
    model: str | None = None
    for operation in operations:
        if operation.pointer == MODEL_POINTER:
            if not isinstance(operation.value, str):
                raise invalid("/$metadata/$model can only be replaced, by the id of a model.")
            model = operation.value
    return model


def explicit_times_us(value: Any) -> list[int]:
    """Return every time that stands under a `sourceTime` or `$validFrom` anywhere in a body or patch."""
    found: list[int] = []
    pending: list[Any] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            pending.extend(node.values())
            found.extend(_times_in(node))
        elif isinstance(node, list):
            pending.extend(node)
    return found


def patch_change(
    twin: LiveTwin, operations: Sequence[Operation], before: TwinType, after: TwinType
) -> Change:
    """Return what a patch does to a twin of type `before`, whose type is `after` at the end.

    Raises InvalidError (JsonPatchInvalid) where it does not apply, (ValidationFailed) where what it leaves does
    not follow the model.
    """
    reading = _Reading(twin.plain(), after, before.components.keys() | after.components.keys())
    reading.replaced_whole = before.model != after.model
    for operation in operations:
        reading.take(operation)
    values = reading.finish()
    held = {path for path, each in twin.properties.items() if not each.removed}
    touched = reading.touched_of(held | values.keys())
    for path in reading.content.times_us:
        if path not in values:
            owner, _, name = path.rpartition(".")
            reading.content.fault(f"{name} on {owner_of(owner)} has no value that a sourceTime could be of.")
    raise_faults(reading.content)
    return Change(
        twin_type=after,
        values={path: values[path] for path in values if path in touched},
        removed=frozenset(path for path in held if path in touched and path not in values),
        times_us=reading.content.times_us,
        restamped=before.model != after.model,
    )


@dataclass(slots=True)
class _Reading:
    """A patch half applied: the document so far, and which properties and components were touched."""

    document: dict[str, Any]
    twin_type: TwinType
    components: set[str]
    content: Content = field(default_factory=Content)
    properties: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    replaced_whole: bool = False

    def take(self, operation: Operation) -> None:
        owner, rest = self._owner(operation.pointer)
        if rest and rest[0] == METADATA:
            self._take_metadata(operation, owner, rest[1:])
            return
        if operation.pointer[:1] == (LIFECYCLE,):
            raise invalid(f"'/{LIFECYCLE}' cannot be patched. {LIFECYCLE_HINT}")
        if not operation.pointer or (not owner and rest[0] in HEADER):
            raise invalid(f"'{pointer_text(operation.pointer)}' cannot be patched.")
        if rest:
            self.properties.add(_join(owner, rest[0]))
        else:
            self.whole.add(owner)
        if rest and "." in rest[0]:
            self.content.fault(f"{rest[0]} does not appear on the DTDL for {owner_of(owner)}.")
            return
        self.document = apply(self.document, (operation,))

    def finish(self) -> dict[str, Any]:
        """Validate what the patch leaves; return the values of properties that it leaves, by path."""
        if self.replaced_whole or self.whole:
            read = read_twin(self.document, self.twin_type)
            self.content.faults.extend(read.faults)
            self.content.times_us = read.times_us | self.content.times_us
            return read.values
        values: dict[str, Any] = {}
        for path in self.properties | self.content.times_us.keys():
            value = self._value(path)
            if value is MISSING:
                continue
            values[path] = value
            wrong = value_fault(path, self.twin_type.slots.get(path), value)
            if wrong is not None:
                self.content.fault(wrong)
        return values

    def touched_of(self, paths: set[str]) -> set[str]:
        """Return those paths that an operation named, itself or by its component."""
        prefixes = tuple(f"{component}." for component in self.whole)
        named = self.properties | self.content.times_us.keys() | self.whole
        return {path for path in paths if path in named or path.startswith(prefixes)}

    def _take_metadata(self, operation: Operation, owner: str, rest: tuple[str, ...]) -> None:
        value = operation.value
        if operation.pointer == MODEL_POINTER:
            return
        if len(rest) == 2 and rest[1] == SOURCE_TIME and operation.op != "remove":
            read_time(value, _join(owner, rest[0]), self.twin_type, self.content)
        elif len(rest) == 1 and not rest[0].startswith("$") and isinstance(value, dict):
            if SOURCE_TIME in value:
                read_time(value[SOURCE_TIME], _join(owner, rest[0]), self.twin_type, self.content)
        elif rest or not owner or value != {}:
            raise invalid(f"'{pointer_text(operation.pointer)}' cannot be patched.")

    def _owner(self, pointer: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        owner = ""
        for depth, step in enumerate(pointer):
            inner = _join(owner, step)
            if "." in step or inner not in self.components:
                return owner, pointer[depth:]
            owner = inner
        return owner, ()

    def _value(self, path: str) -> Any:
        node: Any = self.document
        for step in path.split("."):
            if not isinstance(node, dict) or step not in node:
                return MISSING
            node = node[step]
        return node


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else name


def _times_in(node: dict[str, Any]) -> list[int]:
    texts = [node.get(SOURCE_TIME), node.get("$validFrom")]
    path = node.get("path")
    if isinstance(path, str) and path.endswith("/" + SOURCE_TIME):
        texts.append(node.get("value"))
    times = (parse_time_us(text) for text in texts if isinstance(text, str))
    return [time_us for time_us in times if time_us is not None]
