"""What a request says of a twin, read against its type: values by path, source times, and every fault.

Pure: the body and the type are arguments, and the faults are values until `raise_faults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from gemel.base.clock import to_us
from gemel.base.errors import Detail, InvalidError
from gemel.models import Primitive, Slot, TwinType

__all__ = [
    "HEADER",
    "LIFECYCLE",
    "METADATA",
    "MODEL",
    "SOURCE_TIME",
    "VALID_FROM",
    "Content",
    "model_of",
    "owner_of",
    "parse_time_us",
    "raise_faults",
    "read_object",
    "read_time",
    "read_twin",
    "value_fault",
]

METADATA, MODEL, SOURCE_TIME, VALID_FROM = "$metadata", "$model", "sourceTime", "$validFrom"
LIFECYCLE = "$lifecycle"
IN_METADATA = frozenset({VALID_FROM, MODEL})
HEADER = frozenset({"$dtId", "$etag", LIFECYCLE, METADATA})
FAULTS_MAX = 100
TIME_LENGTH_MAX = 40
"""Longer texts of times are not worth to be remembered."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass(slots=True)
class Content:
    """What was read: `values` and explicit `times_us` by dotted path, and the `faults` found on the way."""

    values: dict[str, Any] = field(default_factory=dict)
    times_us: dict[str, int] = field(default_factory=dict)
    faults: list[Detail] = field(default_factory=list)

    def fault(self, message: str, code: str = "ValidationFailed") -> None:
        """Note one thing that is wrong, up to FAULTS_MAX."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Detail(code, message))


def model_of(body: Any) -> str:
    """Return the model id that a twin's body names in `$metadata.$model`.

    Raises InvalidError (ValidationFailed) where it names none.
    """
    metadata = body.get(METADATA) if isinstance(body, dict) else None
    model = metadata.get(MODEL) if isinstance(metadata, dict) else None
    if not isinstance(model, str):
        content = Content()
        content.fault('The twin must be an object with "$metadata": {"$model": "dtmi:…"}.')
        raise_faults(content)
    return str(model)


def read_twin(body: Mapping[str, Any], twin_type: TwinType) -> Content:
    """Read the whole body of a twin, every component included."""
    content = Content()
    seen: set[str] = set()
    read_object(body, "", twin_type, content, seen)
    for component in twin_type.components:
        if component not in seen:
            content.fault(
                f'Twin is missing component {component}. Send all components of the model, with "$metadata": {{}}.'
            )
    return content


def read_object(
    body: Mapping[str, Any], prefix: str, twin_type: TwinType, content: Content, seen: set[str]
) -> None:
    """Read the twin itself (`prefix` empty) or one component (`prefix` its path and a dot) into `content`."""
    _read_times(body.get(METADATA), prefix, twin_type, content)
    for name, value in body.items():
        path = prefix + name
        if name == METADATA or (not prefix and name in HEADER):
            continue
        if path in twin_type.components:
            seen.add(path)
            _read_component(value, path, twin_type, content, seen)
            continue
        slot = twin_type.slots.get(path) if "." not in name else None
        wrong = value_fault(path, slot, value)
        if wrong is None:
            content.values[path] = value
        else:
            content.fault(wrong)


def value_fault(path: str, slot: Slot | None, value: Any) -> str | None:
    """Say what is wrong with a value of a property, or None."""
    reason = ""
    if slot is not None and slot.role == "property":
        reason = slot.check(value) or ""
        if not reason:
            return None
    owner, _, name = path.rpartition(".")
    if slot is None:
        said = f"{name} does not appear on the DTDL for {owner_of(owner)}."
        return (
            f'{said} Write it into $metadata: {{"$metadata": {{"{name}": …}}}}.'
            if name in IN_METADATA
            else said
        )
    if slot.role != "property":
        return f"{name} is not a property - it is a Telemetry."
    if isinstance(slot.schema, Primitive):
        said = f"Expected value of type {slot.schema.kind} for {name} on {owner_of(owner)}."
        return f"{said} {reason[:1].upper()}{reason[1:]}"
    return f"{name} on {owner_of(owner)}: {reason}"


def owner_of(component: str) -> str:
    """Return how messages call a twin (empty) or one of its components."""
    return component or "Twin"


def parse_time_us(text: Any) -> int | None:
    """Return an RFC 3339 time with its zone in µs, or None where it is not one."""
    if not isinstance(text, str):
        return None
    return _known_time_us(text) if len(text) <= TIME_LENGTH_MAX else _text_time_us(text)


@lru_cache(maxsize=1024)
def _known_time_us(text: str) -> int | None:
    # What is put together is often of one time.
    return _text_time_us(text)


def _text_time_us(text: str) -> int | None:
    try:
        return to_us(msgspec.convert(text, _Moment))
    except (msgspec.ValidationError, OverflowError, ValueError):
        return None


def raise_faults(content: Content, message: str = "Invalid twin specified") -> None:
    """Raise InvalidError (ValidationFailed) with all faults as details, if there are any."""
    if content.faults:
        raise InvalidError("ValidationFailed", message, details=tuple(content.faults))


def _read_component(value: Any, path: str, twin_type: TwinType, content: Content, seen: set[str]) -> None:
    if not isinstance(value, dict):
        content.fault(f"Expected an object for component {path}.")
    elif not isinstance(value.get(METADATA), dict):
        content.fault(f'Component {path} must have "$metadata": {{}}.')
    else:
        read_object(value, path + ".", twin_type, content, seen)


def _read_times(metadata: Any, prefix: str, twin_type: TwinType, content: Content) -> None:
    if not isinstance(metadata, dict):
        return
    for name, entry in metadata.items():
        if name.startswith("$"):
            continue
        if not isinstance(entry, dict):
            content.fault(f"Expected an object for $metadata.{name} on {owner_of(prefix[:-1])}.")
        elif SOURCE_TIME in entry:
            read_time(entry[SOURCE_TIME], prefix + name, twin_type, content)


def read_time(text: Any, path: str, twin_type: TwinType, content: Content) -> None:
    """Read the source time of a property into `content`."""
    owner, _, name = path.rpartition(".")
    time_us = parse_time_us(text)
    if path not in twin_type.slots:
        content.fault(f"{name} does not appear on the DTDL for {owner_of(owner)}.")
    elif time_us is None:
        content.fault(
            f"sourceTime of {name} on {owner_of(owner)} is not an RFC 3339 time with a zone.", "TimeMalformed"
        )
    else:
        content.times_us[path] = time_us
