"""Two versions of a contract: what changed, what of it breaks the earlier promise, and which number it needs.

A change breaks where samples that keep the later contract may not keep the earlier one: whoever reads by that is
then given what he was promised not to get.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gemel.base.errors import InvalidError
from gemel.contracts.document import ANY, Contract, FieldRule, Flow, Pace, Version
from gemel.mapping.paths import Path
from gemel.mapping.units import conversion

__all__ = ["Change", "compare", "needed_version"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change: where (a field or key), what, and whether it breaks the earlier contract."""

    where: str
    what: str
    breaking: bool


def compare(old: Contract, new: Contract) -> list[Change]:
    """Return what changed, in the order of the contract."""
    changes = [
        Change(key, f"{_text(before)} becomes {_text(after)}", breaking=True)
        for key, before, after in (
            ("contract", old.name, new.name),
            ("each", _place(old.each), _place(new.each)),
            ("thing", _place(old.thing), _place(new.thing)),
            ("time", _time(old), _time(new)),
        )
        if before != after
    ]
    for name in [*old.fields, *(name for name in new.fields if name not in old.fields)]:
        changes += _field(name, old, new)
    if old.others != new.others:
        what = "fields that are not named are allowed" if new.others else "no other fields are allowed"
        changes.append(Change("others", what, breaking=new.others))
    return [*changes, *_pace(old.pace, new.pace), *_flow(old.flow, new.flow), *_policy(old, new)]


def needed_version(old: Contract, changes: list[Change]) -> Version:
    """Return the least version that a changed contract may have."""
    if any(change.breaking for change in changes):
        return Version(old.version.major + 1, 0)
    return Version(old.version.major, old.version.minor + 1) if changes else old.version


def _field(name: str, old: Contract, new: Contract) -> Iterator[Change]:
    before, after = old.fields.get(name), new.fields.get(name)
    if before is None:
        yield Change(name, "is new", breaking=not old.others)
        return
    if after is None:
        breaking = before.required or new.others
        yield Change(name, "is no longer named" + (": it may be anything" if new.others else ""), breaking)
        return
    if before.required != after.required:
        what = "is required" if after.required else "is no longer required"
        yield Change(name, what, breaking=before.required)
    if before.type != after.type:
        narrower = before.type == ANY or (before.type, after.type) == ("number", "integer")
        yield Change(name, f"{before.type} becomes {after.type}", breaking=not narrower)
    yield from _units(name, before, after)
    yield from _bound(name, "min", -before.least, -after.least)
    yield from _bound(name, "max", before.most, after.most)
    if before.values != after.values:
        yield from _values(name, before, after)


def _units(name: str, before: FieldRule, after: FieldRule) -> Iterator[Change]:
    if before.unit != after.unit and not _equal_units(before.unit, after.unit):
        what = f"unit {_text(before.unit)} becomes {_text(after.unit)}"
        yield Change(name, what, breaking=before.unit is not None)
    if _place(before.unit_at) != _place(after.unit_at):
        what = f"unit_at {_text(_place(before.unit_at))} becomes {_text(_place(after.unit_at))}"
        yield Change(name, what, breaking=before.unit_at is not None)


def _values(name: str, before: FieldRule, after: FieldRule) -> Iterator[Change]:
    kept = {repr(value) for value in before.values or ()}
    more = [value for value in after.values or () if repr(value) not in kept]
    fewer = after.values is None or (before.values is not None and bool(more))
    what = "any value is allowed" if after.values is None else f"values are {list(after.values)}"
    yield Change(name, what, breaking=fewer)


def _pace(before: Pace, after: Pace) -> Iterator[Change]:
    yield from _bound("every", "min_s", -before.least_s, -after.least_s)
    yield from _bound("every", "max_s", before.most_s, after.most_s)
    yield from _bound("late_s", "", before.late_s, after.late_s)
    yield from _bound("ahead_s", "", before.ahead_s, after.ahead_s)
    yield from _bound("silent_s", "", before.silent_s, after.silent_s)


def _flow(before: Flow, after: Flow) -> Iterator[Change]:
    yield from _bound("flow", "min_per_s", -before.least_per_s, -after.least_per_s)
    yield from _bound("flow", "max_per_s", before.most_per_s, after.most_per_s)
    if before.over_s != after.over_s:
        # What holds of windows of one width says nothing of others.
        what = f"over_s {before.over_s:g} becomes {after.over_s:g}"
        yield Change("flow", what, breaking=before.judged)


def _policy(old: Contract, new: Contract) -> Iterator[Change]:
    """What we do about drift is no promise of the producer."""
    for kind, before in old.policy.items():
        if before != new.policy[kind]:
            yield Change("policy", f"{kind}: {before} becomes {new.policy[kind]}", breaking=False)


def _bound(where: str, key: str, before: float, after: float) -> Iterator[Change]:
    """Compare upper bounds, or lower ones with their signs changed."""
    if before != after:
        sign = -1 if key.startswith("min") else 1
        what = f"{key} {sign * before:g} becomes {sign * after:g}".strip()
        yield Change(where, what, breaking=after > before)


def _equal_units(before: str | None, after: str | None) -> bool:
    if before is None or after is None:
        return before == after
    try:
        return conversion(before, after) is None
    except InvalidError:
        return False


def _time(contract: Contract) -> str | None:
    if contract.time is None:
        return None
    return f"{contract.time.text} ({', '.join(filter(None, (contract.format, contract.zone)))})"


def _place(path: Path | None) -> str | None:
    return None if path is None else path.text


def _text(value: str | None) -> str:
    return "none" if value is None else value
