"""Samples against a contract: by column, and by sample only where a column has something in it that is not right."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gemel.base.clock import iso_us, to_us
from gemel.base.errors import InvalidError
from gemel.contracts.document import ANY, NUMBERS, Contract, FieldRule
from gemel.mapping.samples import leaves_of
from gemel.mapping.tables import UNIX_FORMATS
from gemel.mapping.times import moment_reader
from gemel.mapping.units import conversion

__all__ = ["Checker", "Finding", "Rule", "rules_of", "shown"]

EXAMPLES_MAX: Final = 5
SHOWN_MAX: Final = 60
THINGS_MAX: Final = 100_000
FINDINGS_MAX: Final = 1000
LATEST_NS: Final = 253_402_300_799 * 10**9
"""The end of the year 9999, beyond which no time is one."""
NOTHING: Final[dict[str, Any]] = {}
TYPES: Final[dict[str, frozenset[type]]] = {
    "number": frozenset({int, float}),
    "integer": frozenset({int}),
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
}


class Rule(NamedTuple):
    """One promise: of which kind, and about which field ("" for the whole sample)."""

    kind: str
    field: str


@dataclass(slots=True)
class Finding:
    """How often a promise was not kept, and the first few times: number of the sample, and what was there."""

    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)


def rules_of(contract: Contract) -> list[Rule]:
    """Return the promises that a contract makes, in its own order."""
    rules = [Rule("malformed", "")]
    for name, rule in contract.fields.items():
        made = {
            "missing": rule.required,
            "retyped": rule.type != ANY,
            "range": rule.least > -math.inf or rule.most < math.inf,
            "value": rule.values is not None,
            "unit": rule.unit_at is not None,
        }
        rules += [Rule(kind, name) for kind, wanted in made.items() if wanted]
    pace = contract.pace
    whole = {
        "new": not contract.others,
        "time": contract.time is not None,
        "rate": pace.least_s > 0 or pace.most_s < math.inf,
        "late": pace.late_s < math.inf,
        "ahead": pace.ahead_s < math.inf,
    }
    return rules + [Rule(kind, "") for kind, wanted in whole.items() if wanted]


class _Known(NamedTuple):
    """The keys of an object that are named, and of those that hold named ones the same."""

    keys: frozenset[str]
    within: tuple[tuple[str, _Known], ...]

    def has_all_of(self, found: dict[str, Any]) -> bool:
        """Whether an object has certainly no field that is not named."""
        if not found.keys() <= self.keys:
            return False
        for key, inner in self.within:
            value = found.get(key, NOTHING)
            if type(value) is not dict or not inner.has_all_of(value):
                return False
        return True


class Checker:
    """Checks samples as they come; what it finds adds up. `now_us` is what `ahead_s` is measured by."""

    def __init__(self, contract: Contract, now_us: int) -> None:
        self.contract = contract
        self.samples = 0
        self.findings: dict[Rule, Finding] = {}
        self.unnamed: dict[str, int] = {}
        self.now_us = now_us
        self._moment = _clock(contract)
        self._newest_us: dict[str, int] = {}
        self._known = {rule.path.text for rule in contract.fields.values()}
        self._whole = tuple(f"{name}." for name, rule in contract.fields.items() if rule.type == ANY)
        self._named = {
            path.text
            for path in (contract.time, contract.thing, *(rule.unit_at for rule in contract.fields.values()))
            if path is not None
        }
        named = {path for path in (contract.time, contract.thing) if path is not None}
        named |= {rule.unit_at for rule in contract.fields.values() if rule.unit_at is not None}
        self._tree = _known(
            [rule.path.keys or () for rule in contract.fields.values()]
            + [path.keys for path in named if path.keys]
        )

    @property
    def kept(self) -> bool:
        """Whether every promise was kept so far."""
        return not self.findings

    def take(self, payloads: Iterable[tuple[int, Any]]) -> None:
        """Check payloads, each with its number; with `each` the items in them are the samples."""
        numbers, samples = self._samples(payloads)
        self.samples += len(samples)
        self.looked_at(samples)
        for name, rule in self.contract.fields.items():
            self._column(name, rule, numbers, samples)
        self._others(numbers, samples)
        if self.contract.time is not None:
            self._times(numbers, samples)

    def found(self, rule: Rule, number: int, what: str) -> None:
        """Count that a sample does not keep a promise."""
        finding = self.findings.get(rule)
        if finding is None:
            if len(self.findings) >= FINDINGS_MAX:
                return
            finding = self.findings[rule] = Finding()
        finding.count += 1
        if len(finding.examples) < EXAMPLES_MAX:
            finding.examples.append((number, what))

    def looked_at(self, samples: Sequence[dict[str, Any]]) -> None:
        """Hear of the samples that are about to be checked."""

    def unnamed_field(self, number: int, path: str, value: Any) -> None:
        """Note a field that is not named: told of where it is allowed, a finding where it is not."""
        if len(self.unnamed) < FINDINGS_MAX or path in self.unnamed:
            self.unnamed[path] = self.unnamed.get(path, 0) + 1
        if not self.contract.others:
            self.found(Rule("new", ""), number, f"{path}: {shown(value)}")

    def _samples(self, payloads: Iterable[tuple[int, Any]]) -> tuple[list[int], list[dict[str, Any]]]:
        numbers: list[int] = []
        samples: list[dict[str, Any]] = []
        whole = self.contract.each is None
        for number, payload in payloads:
            for item in (payload,) if whole else self._items(number, payload):
                if type(item) is dict:
                    numbers.append(number)
                    samples.append(item)
                else:
                    self.found(Rule("malformed", ""), number, f"{shown(item)} is no object")
        return numbers, samples

    def _items(self, number: int, payload: Any) -> Iterable[Any]:
        assert self.contract.each is not None
        found = self.contract.each.read(payload) if isinstance(payload, (dict, list)) else None
        if isinstance(found, dict):
            return found.values()
        if isinstance(found, list):
            return found
        self.found(Rule("malformed", ""), number, f"no list at {self.contract.each.text}")
        return ()

    def _column(
        self, name: str, rule: FieldRule, numbers: Sequence[int], samples: Sequence[dict[str, Any]]
    ) -> None:
        read = rule.path.read
        column = [read(sample) for sample in samples]
        if rule.required and None in column:
            self._each(Rule("missing", name), numbers, column, lambda value: value is None)
        there = [value for value in column if value is not None]
        if not there:
            return
        wanted = TYPES.get(rule.type)
        types = set(map(type, there))
        # Among floats may be what is no number.
        if wanted is not None and (not types <= wanted or float in types):
            self._each(Rule("retyped", name), numbers, column, lambda value: not _is(value, rule.type))
        if rule.type in NUMBERS:
            self._range(name, rule, numbers, column)
        if rule.values is not None:
            allowed = rule.values
            self._each(Rule("value", name), numbers, column, lambda value: not _listed(value, allowed))
        if rule.unit_at is not None:
            self._units(name, rule, numbers, samples, column)

    def _range(self, name: str, rule: FieldRule, numbers: Sequence[int], column: Sequence[Any]) -> None:
        amounts = [value for value in column if _is(value, "number")]
        if not amounts or (rule.least <= min(amounts) and max(amounts) <= rule.most):
            return
        self._each(
            Rule("range", name),
            numbers,
            column,
            lambda value: _is(value, "number") and not rule.least <= value <= rule.most,
        )

    def _units(
        self,
        name: str,
        rule: FieldRule,
        numbers: Sequence[int],
        samples: Sequence[dict[str, Any]],
        column: Sequence[Any],
    ) -> None:
        assert rule.unit_at is not None
        read, verdicts = rule.unit_at.read, dict[str, bool]()
        for number, sample, value in zip(numbers, samples, column, strict=True):
            told = read(sample)
            if value is None:
                continue
            text = told if isinstance(told, str) else shown(told)
            if text not in verdicts:
                verdicts[text] = isinstance(told, str) and _same_unit(told, str(rule.unit))
            if not verdicts[text]:
                self.found(Rule("unit", name), number, text)

    def _others(self, numbers: Sequence[int], samples: Sequence[dict[str, Any]]) -> None:
        has_all_of = self._tree.has_all_of
        for number, sample in zip(numbers, samples, strict=True):
            if has_all_of(sample):
                continue
            for path, value in leaves_of(sample):
                if path in self._known or path in self._named or path.startswith(self._whole):
                    continue
                self.unnamed_field(number, path, value)

    def _times(self, numbers: Sequence[int], samples: Sequence[dict[str, Any]]) -> None:
        contract = self.contract
        assert contract.time is not None
        read, clock = contract.time.read, self._moment
        thing_of = (lambda _: "") if contract.thing is None else contract.thing.read
        pace, newest_us = contract.pace, self._newest_us
        latest_us = self.now_us + pace.ahead_s * 1e6
        least_us, most_us = pace.least_s * 1e6, pace.most_s * 1e6
        for number, sample in zip(numbers, samples, strict=True):
            told = read(sample)
            try:
                if told is None:
                    raise ValueError("there is none")
                time_us = clock(told)
            except ValueError as error:
                self.found(Rule("time", ""), number, str(error))
                continue
            thing = thing_of(sample)
            if type(thing) is not str:
                thing = str(thing)
            last_us = newest_us.get(thing)
            if last_us is not None and time_us > last_us and least_us <= time_us - last_us <= most_us:
                newest_us[thing] = time_us
                if time_us <= latest_us:
                    continue
            self._pace(number, thing, time_us, last_us)

    def _pace(self, number: int, thing: str, time_us: int, newest_us: int | None) -> None:
        """Say what is wrong with the time of a sample, if anything; `newest_us` is the newest before it."""
        pace = self.contract.pace
        ahead_s = (time_us - self.now_us) / 1e6
        if ahead_s > pace.ahead_s:
            self.found(Rule("ahead", ""), number, f"{iso_us(time_us)} is {ahead_s:.3f} s ahead")
        if newest_us is None:
            if len(self._newest_us) < THINGS_MAX:
                self._newest_us[thing] = time_us
            return
        after_s = (time_us - newest_us) / 1e6
        whose = f" of {shown(thing)}" if thing else ""
        if after_s > 0:
            self._newest_us[thing] = time_us
            if not pace.least_s <= after_s <= pace.most_s:
                self.found(Rule("rate", ""), number, f"{after_s:.3f} s after the one before{whose}")
        elif -after_s > pace.late_s:
            self.found(Rule("late", ""), number, f"{-after_s:.3f} s behind a newer one{whose}")

    def _each(
        self, rule: Rule, numbers: Sequence[int], column: Sequence[Any], wrong: Callable[[Any], bool]
    ) -> None:
        missing = rule.kind == "missing"
        for number, value in zip(numbers, column, strict=True):
            if (missing or value is not None) and wrong(value):
                self.found(rule, number, "there is none" if missing else shown(value))


def _known(paths: Sequence[tuple[str, ...]]) -> _Known:
    """Return what is named, of the keys that lead to each."""
    keys = frozenset(path[0] for path in paths)
    deeper: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        if len(path) > 1:
            deeper.setdefault(path[0], []).append(path[1:])
    return _Known(keys, tuple((key, _known(inner)) for key, inner in deeper.items()))


def _clock(contract: Contract) -> Callable[[Any], int]:
    """Return what reads a time as µs since the epoch; it raises ValueError, saying why."""
    moment = moment_reader(contract.format, contract.zone)
    nanoseconds = UNIX_FORMATS.get(contract.format, 0)

    def read(told: Any) -> int:
        if type(told) is int and nanoseconds and 0 <= told < LATEST_NS // nanoseconds:
            return told * nanoseconds // 1000
        return to_us(moment(told))

    return read


def _is(value: Any, kind: str) -> bool:
    """Whether a value is of a type; a whole number may be written with a point."""
    if kind in NUMBERS and type(value) is float:
        return math.isfinite(value) and (kind == "number" or value.is_integer())
    return type(value) in TYPES[kind]


def _listed(value: Any, allowed: Collection[Any]) -> bool:
    # True is 1 in Python, and not in JSON.
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed)


def _same_unit(told: str, wanted: str) -> bool:
    try:
        return conversion(told, wanted) is None
    except InvalidError:
        return False


def shown(value: Any) -> str:
    """Return a value as findings show it, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."
