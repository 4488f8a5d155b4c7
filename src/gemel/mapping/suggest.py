"""A first draft of a mapping from samples and a model: by names, units and types, each with how sure it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gemel.base.errors import InvalidError
from gemel.mapping.model_units import pint_unit
from gemel.mapping.samples import Leaf, Shape, shapes_of, time_format
from gemel.mapping.units import conversion
from gemel.mapping.words import alike, name_of
from gemel.models import Enum, Primitive, Slot, TwinType

__all__ = ["Draft", "Guess", "suggest"]

SURE_MIN: Final = 0.4
LIKE_MIN: Final = 0.3
FLAGS: Final = (("on", "off"), ("true", "false"), ("yes", "no"), ("1", "0"), ("open", "closed"))
TIMES: Final = {"ts", "time", "timestamp", "datetime", "date", "at", "t", "when", "sampled", "measured"}
IDS: Final = {
    "id",
    "device",
    "machine",
    "asset",
    "twin",
    "serial",
    "sensor",
    "equipment",
    "unit",
    "name",
    "tag",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """What a field of the samples is taken for: `target` is a path of the twin, `time`, `twin`, or None.

    `sure` is from 0 to 1; `reasons` say why. `spec` is what the mapping says of it.
    """

    path: str
    target: str | None
    sure: float
    reasons: tuple[str, ...]
    spec: Any = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft: the mapping as text, its guesses, and the paths of the twin for which nothing was found."""

    text: str
    guesses: list[Guess]
    missing: list[str] = field(default_factory=list)


def suggest(payloads: Sequence[Any], twin_type: TwinType, source: str) -> Draft:
    """Draft a mapping of payloads (JSON values) to twins of a model.

    Of the ways to see the payloads (as a whole, or by the items of one of their lists) the one whose fields
    match best is taken. Raises InvalidError (InvalidArgument) where there is no object among them.
    """
    shapes = shapes_of(payloads)
    if not shapes:
        raise InvalidError("InvalidArgument", "No payload of the sample is a JSON object or a list of them.")
    found = [(shape, list(_guesses(shape, twin_type))) for shape in shapes]
    shape, guesses = max(found, key=lambda pair: sum(each.sure for each in pair[1] if each.target))
    outer = [] if shape.each is None else _around(payloads)
    guesses += [guess for guess in outer if guess.target not in {each.target for each in guesses}]
    taken = {guess.target for guess in guesses}
    missing = [path for path in twin_type.slots if path not in taken]
    return Draft(_text(shape, guesses, missing, twin_type, source), guesses, missing)


def _guesses(shape: Shape, twin_type: TwinType) -> Iterator[Guess]:
    leaves = dict(shape.leaves)
    for special in (_time_of(leaves), _twin_of(leaves)):
        if special is not None:
            yield special
            del leaves[special.path]
    pairs = sorted(
        (
            guess
            for leaf in leaves.values()
            for slot in twin_type.slots.values()
            if (guess := _match(leaf, slot))
        ),
        key=lambda guess: (-guess.sure, guess.path, guess.target or ""),
    )
    paths: set[str] = set()
    targets: set[str] = set()
    for guess in pairs:
        if guess.path not in paths and guess.target not in targets and guess.sure >= SURE_MIN:
            paths.add(guess.path)
            targets.add(guess.target or "")
            yield guess
    for path in leaves:
        if path not in paths:
            yield Guess(path, None, 0.0, ("nothing of the model is like it",))


def _around(payloads: Sequence[Any]) -> list[Guess]:
    """Return what stands around the list that is taken: a time or a name for all its items."""
    whole = shapes_of([payload for payload in payloads if isinstance(payload, dict)])
    leaves = dict(whole[0].leaves) if whole and whole[0].each is None else {}
    leaves = {
        path: leaf for path, leaf in leaves.items() if not any(isinstance(v, list) for v in leaf.values)
    }
    found = [guess for guess in (_time_of(leaves), _twin_of(leaves)) if guess is not None]
    return [
        Guess(f"$payload.{guess.path}", guess.target, guess.sure, guess.reasons, guess.spec)
        for guess in found
    ]


def _time_of(leaves: dict[str, Leaf]) -> Guess | None:
    best: Guess | None = None
    for path, leaf in leaves.items():
        format_text = time_format(leaf.values)
        if format_text is None:
            continue
        named = bool(TIMES & set(name_of(path, with_unit=False).words))
        sure = 0.95 if named else 0.5
        reasons = ("its name is of a time",) if named else ()
        if best is None or sure > best.sure:
            best = Guess(path, "time", sure, (*reasons, f"all values are {format_text}"), format_text)
    return best


def _twin_of(leaves: dict[str, Leaf]) -> Guess | None:
    best: Guess | None = None
    for path, leaf in leaves.items():
        words = name_of(path, with_unit=False).words
        is_text = bool(leaf.values) and all(isinstance(value, (str, int)) for value in leaf.values)
        if not is_text or not IDS & set(words) or time_format(leaf.values) is not None:
            continue
        sure = 0.85 if "id" in words or {"device", "machine", "asset", "twin"} & set(words) else 0.6
        if best is None or sure > best.sure:
            best = Guess(path, "twin", sure, ("its name is of a thing", f"such as {leaf.values[0]!r}"))
    return best


def _match(leaf: Leaf, slot: Slot) -> Guess | None:
    """Return how a field fits a path of the model, or None where it does not at all."""
    own, wanted = name_of(leaf.path), name_of(slot.path, with_unit=False)
    bare = name_of(slot.path.rpartition(".")[2], with_unit=False)
    last = name_of(leaf.path.rpartition(".")[2])
    likeness = max(alike(own.words, wanted.words), 0.95 * alike(last.words, bare.words))
    reasons = [f"names {likeness:.0%} alike"]
    unit = None if slot.unit is None else pint_unit(slot.unit)
    if likeness < LIKE_MIN:
        if own.unit is None or unit is None or _unit_of(own.unit, unit)[0] < 0:
            return None
        likeness, reasons = 0.45, ["its unit is of the same kind, its name is not alike"]
    typed, spec = _typed(leaf, slot)
    if typed is None:
        return None
    sure = 0.75 * likeness + (0.15 if leaf.values else 0.0)
    reasons.append(typed)
    if unit is not None and spec.get("type", "number") == "number":
        weight, reason, change = _unit_of(own.unit, unit)
        sure += weight
        reasons.append(reason)
        if change is not None:
            spec = {key: value for key, value in spec.items() if key != "type"} | change
    elif own.unit is None or unit is None:
        sure += 0.05
    return Guess(leaf.path, slot.path, round(max(0.0, min(sure, 0.99)), 2), tuple(reasons), spec)


def _unit_of(given: str | None, unit: str) -> tuple[float, str, dict[str, str] | None]:
    """Return what a name's unit says for a match: its weight, the reason, and the conversion to write down."""
    if given is None:
        return 0.0, f"its unit is not said: taken for {unit}, as the model has it", None
    try:
        change = conversion(given, unit)
    except InvalidError:
        return -0.5, f"{given} does not become {unit}", None
    if change is None:
        return 0.1, f"in {unit}, as the model has it", None
    return 0.1, f"{given} becomes {unit}", {"unit": given, "to": unit}


def _typed(leaf: Leaf, slot: Slot) -> tuple[str | None, dict[str, Any]]:
    """Return why a field's values fit a path and what the mapping must say for it, or None where they do not."""
    values = leaf.values
    if not values:
        return "no value seen", {}
    if all(slot.check(value) is None for value in values):
        return f"all {len(values)} values fit", {}
    if (listed := _listed(values, slot)) is not None:
        return "its values are names of what the model has", {"map": listed}
    if isinstance(slot.schema, Enum):
        return None, {}
    for kind, read in (("number", float), ("integer", _whole)):
        try:
            if all(slot.check(read(str(value))) is None for value in values):
                return f"its values are read as {kind}", {"type": kind}
        except ValueError:
            continue
    return None, {}


def _listed(values: Sequence[Any], slot: Slot) -> dict[str, Any] | None:
    """Return what texts stand for: all names of an enumeration, or both words for true and false."""
    seen = {str(value).strip().lower() for value in values}
    spelled = str.upper if all(str(value).isupper() for value in values) else str
    if isinstance(slot.schema, Enum):
        names = {entry.name.lower(): entry for entry in slot.schema.entries}
        if not seen <= names.keys():
            return None
        as_written = {str(value).strip().lower(): str(value) for value in values}
        return {as_written.get(low, spelled(entry.name)): entry.value for low, entry in names.items()}
    if isinstance(slot.schema, Primitive) and slot.schema.kind == "boolean":
        for yes, no in FLAGS:
            if seen <= {yes, no}:
                cased = {str(value).strip().lower(): str(value) for value in values}
                return {cased.get(yes, spelled(yes)): True, cased.get(no, spelled(no)): False}
    return None


def _whole(text: str) -> int:
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _text(shape: Shape, guesses: list[Guess], missing: list[str], twin_type: TwinType, source: str) -> str:
    """Write the draft, with what is unsure said beside it."""
    by_target = {guess.target: guess for guess in guesses if guess.target}
    time, twin = by_target.pop("time", None), by_target.pop("twin", None)
    lines = ["version: 2", f"source: {_yaml(source)}"]
    if time is not None:
        lines.append(
            f"time: {_yaml({'path': time.path, 'format': time.spec} | _zone(time))}  # {time.sure:.0%}"
        )
    else:
        lines.append("# No time was found in the sample: values get the time of receipt.")
    name = f"{{{twin.path}}}" if twin else twin_type.model.rpartition(":")[2].partition(";")[0].lower() + "-1"
    note = f"{twin.sure:.0%}" if twin else "CHECK: nothing in the sample names the twin"
    lines += ["twins:", f"  - twin: {_yaml(name)}  # {note}", f"    model: {_yaml(twin_type.model)}"]
    if shape.each is not None:
        lines.append(f"    each: {_yaml(shape.each)}")
    lines.append("    values:" if by_target else "    values: {}  # CHECK: nothing was found")
    for target, guess in by_target.items():
        spec = {"path": guess.path, **guess.spec} if guess.spec else guess.path
        note = f"{guess.sure:.0%}: {'; '.join(guess.reasons)}"
        lines.append(f"      {_yaml(target)}: {_yaml(spec)}  # {note}")
    lines += [f"      # not mapped: {_yaml(guess.path)}" for guess in guesses if guess.target is None]
    lines += [f"      # nothing found for: {path}" for path in missing]
    return "\n".join(lines) + "\n"


def _zone(time: Guess) -> dict[str, str]:
    return {"zone": "UTC"} if time.spec == "iso" else {}


def _yaml(value: Any) -> str:
    """Write a value on one line; one with line breaks of its own is written with escapes, for it may be a comment."""
    shown = _flow(value, plain=True)
    return shown if len(shown.splitlines()) <= 1 else _flow(value, plain=False)


def _flow(value: Any, *, plain: bool) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=10_000, allow_unicode=plain, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
