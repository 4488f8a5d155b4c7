"""Samples against a contract: by column, and by sample only where a column has something in it that is not right."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.contracts.columns import Columns, clock_of, known_of, surely_finite, surely_known
from gemel.contracts.document import ANY, NUMBERS, Contract, FieldRule
from gemel.mapping.samples import leaves_of
from gemel.mapping.units import conversion

__all__ = ["Checker", "Finding", "Rule", "rules_of", "shown"]

EXAMPLES_MAX: Final = 5
SHOWN_MAX: Final = 60
THINGS_MAX: Final = 100_000
FINDINGS_MAX: Final = 1000
UNITS_MAX: Final = 1000
NONE: Final = type(None)
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


class Checker:
    """Checks samples as they come; what it finds adds up. `now_us` is what `ahead_s` is measured by.

    With `skips` it is not shown all of them, and a pause between two says nothing.
    """

    def __init__(self, contract: Contract, now_us: int) -> None:
        self.contract = contract
        self.samples = 0
        self.findings: dict[Rule, Finding] = {}
        self.unnamed: dict[str, int] = {}
        self.now_us = now_us
        self.skips = False
        self._moment, self._moments = clock_of(contract)
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
        self._texts = {name: _texts(rule.values) for name, rule in contract.fields.items()}
        self._same: dict[tuple[str, str | None], bool] = {}
        self._tree = known_of(
            [rule.path.keys or () for rule in contract.fields.values()]
            + [path.keys for path in named if path.keys]
        )

    @property
    def kept(self) -> bool:
        """Whether every promise was kept so far."""
        return not self.findings

    def take(self, payloads: Iterable[tuple[int, Any]]) -> None:
        """Check payloads, each with its number; with `each` the items in them are the samples."""
        numbers, samples = self.samples_of(payloads)
        self.samples += len(samples)
        if not samples:
            return
        columns = Columns(samples)
        things = self.things_of(columns)
        for name, rule in self.contract.fields.items():
            self._column(name, rule, numbers, columns)
        if not surely_known(samples, self._tree):
            self._others(numbers, samples)
        if self.contract.time is not None:
            self._times(numbers, columns.at(self.contract.time), things)

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

    def unnamed_field(self, number: int, path: str, value: Any) -> None:
        """Note a field that is not named: told of where it is allowed, a finding where it is not."""
        if len(self.unnamed) < FINDINGS_MAX or path in self.unnamed:
            self.unnamed[path] = self.unnamed.get(path, 0) + 1
        if not self.contract.others:
            self.found(Rule("new", ""), number, f"{path}: {shown(value)}")

    def samples_of(self, payloads: Iterable[tuple[int, Any]]) -> tuple[list[int], list[dict[str, Any]]]:
        """Return the samples in payloads, each with the number of its payload; tell of what is none."""
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

    def things_of(self, columns: Columns) -> list[str]:
        """Return what each sample is of."""
        if self.contract.thing is None:
            return [""] * len(columns.samples)
        found = columns.at(self.contract.thing)
        return found if set(map(type, found)) == {str} else list(map(str, found))

    def _column(self, name: str, rule: FieldRule, numbers: Sequence[int], columns: Columns) -> None:
        column = columns.at(rule.path)
        types = set(map(type, column))
        there = column
        if NONE in types:
            if rule.required:
                self._each(Rule("missing", name), numbers, column, lambda value: value is None)
            there = [value for value in column if value is not None]
            if not there:
                return
            types.discard(NONE)
        finite = surely_finite(there, types)
        if rule.type != ANY and not _surely(rule.type, types, finite):
            self._each(Rule("retyped", name), numbers, column, lambda value: not _is(value, rule.type))
        if rule.type in NUMBERS and not (finite and rule.least <= min(there) and max(there) <= rule.most):
            self._range(name, rule, numbers, column)
        if rule.values is not None and not (types == {str} and self._texts[name].issuperset(there)):
            allowed = rule.values
            self._each(Rule("value", name), numbers, column, lambda value: not _listed(value, allowed))
        if rule.unit_at is not None:
            self._units(name, rule, numbers, columns.at(rule.unit_at), column)

    def _range(self, name: str, rule: FieldRule, numbers: Sequence[int], column: Sequence[Any]) -> None:
        self._each(
            Rule("range", name),
            numbers,
            column,
            lambda value: _is(value, "number") and not rule.least <= value <= rule.most,
        )

    def _units(
        self, name: str, rule: FieldRule, numbers: Sequence[int], units: Sequence[Any], column: Sequence[Any]
    ) -> None:
        if set(map(type, units)) == {str} and all(self._is_same(unit, rule.unit) for unit in set(units)):
            return
        for number, told, value in zip(numbers, units, column, strict=True):
            if value is not None and not (isinstance(told, str) and self._is_same(told, rule.unit)):
                self.found(Rule("unit", name), number, told if isinstance(told, str) else shown(told))

    def _is_same(self, told: str, wanted: str | None) -> bool:
        found = self._same.get((told, wanted))
        if found is None:
            found = _same_unit(told, str(wanted))
            if len(self._same) < UNITS_MAX:
                self._same[told, wanted] = found
        return found

    def _others(self, numbers: Sequence[int], samples: Sequence[dict[str, Any]]) -> None:
        for number, sample in zip(numbers, samples, strict=True):
            for path, value in leaves_of(sample):
                if path in self._known or path in self._named or path.startswith(self._whole):
                    continue
                self.unnamed_field(number, path, value)

    def _times(self, numbers: Sequence[int], told: list[Any], things: Sequence[str]) -> None:
        try:
            times_us = self._moments(told)
        except ValueError:
            numbers, times_us, things = self._read_times(numbers, told, things)
        if not times_us:
            return
        ahead_us = self.contract.pace.ahead_s * 1e6
        if max(times_us) > self.now_us + ahead_us:
            for number, time_us in zip(numbers, times_us, strict=True):
                if time_us - self.now_us > ahead_us:
                    ahead_s = (time_us - self.now_us) / 1e6
                    self.found(Rule("ahead", ""), number, f"{iso_us(time_us)} is {ahead_s:.3f} s ahead")
        pace, newest_us = self.contract.pace, self._newest_us
        least_us, most_us = max(pace.least_s * 1e6, 1), math.inf if self.skips else pace.most_s * 1e6
        for place, (time_us, thing) in enumerate(zip(times_us, things, strict=True)):
            last_us = newest_us.get(thing)
            if last_us is not None and least_us <= time_us - last_us <= most_us:
                newest_us[thing] = time_us
            else:
                self._pace(numbers[place], thing, time_us, last_us)

    def _read_times(
        self, numbers: Sequence[int], told: Sequence[Any], things: Sequence[str]
    ) -> tuple[list[int], list[int], list[str]]:
        """Return the times that can be read, with their samples' numbers and things; tell of the others."""
        kept, times_us, whose = list[int](), list[int](), list[str]()
        for number, each, thing in zip(numbers, told, things, strict=True):
            try:
                time_us = self._moment(each)
            except ValueError as error:
                self.found(Rule("time", ""), number, str(error))
                continue
            kept.append(number)
            times_us.append(time_us)
            whose.append(thing)
        return kept, times_us, whose

    def _pace(self, number: int, thing: str, time_us: int, newest_us: int | None) -> None:
        """Say what is wrong with the time of a sample, if anything; `newest_us` is the newest before it."""
        pace = self.contract.pace
        if newest_us is None:
            if len(self._newest_us) < THINGS_MAX:
                self._newest_us[thing] = time_us
            return
        after_s = (time_us - newest_us) / 1e6
        whose = f" of {shown(thing)}" if thing else ""
        if after_s > 0:
            self._newest_us[thing] = time_us
            if not pace.least_s <= after_s <= (math.inf if self.skips else pace.most_s):
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


def _surely(kind: str, types: set[type], finite: bool) -> bool:
    """Whether all of a column are of a type; false where that takes a closer look."""
    return finite if kind == "number" else types <= TYPES[kind]


def _texts(values: tuple[Any, ...] | None) -> frozenset[str]:
    return frozenset(value for value in values or () if isinstance(value, str))


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
