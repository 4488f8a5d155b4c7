"""Samples against a contract: by column, and by sample only where a column has something in it that is not right.

Of a column of plain values numpy sees in one go that nothing in it can be wrong; only then it costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError
from gemel.contracts.columns import Columns, Facts, Ints, clock_of, known_of
from gemel.contracts.document import ANY, NUMBERS, Contract, FieldRule
from gemel.contracts.pacing import FlowMeter, Pacer, Things
from gemel.mapping.samples import leaves_of
from gemel.mapping.units import conversion

__all__ = ["Checker", "Finding", "Rule", "rules_of", "shown"]

EXAMPLES_MAX: Final = 5
SHOWN_MAX: Final = 60
FINDINGS_MAX: Final = 1000
UNITS_MAX: Final = 1000
STRAY_US: Final = 3_600_000_000
"""A time so far ahead of the clock is no measure of how late others are, whatever the contract allows."""
ENVELOPE: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "revision", "quality", "traceparent", "tracestate",
     "datacontenttype", "dataschema"}
)  # fmt: skip
"""What a CloudEvent may say of itself; of these none is a new field, named or not."""
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
        "flow": contract.flow.judged,
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
        self._pacer = Pacer(contract.pace)
        self._flow = FlowMeter(contract.flow) if contract.flow.judged else None
        self._names_things = self._pacer.judges
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
        self._known |= {path.replace('"', "") for path in self._known}
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
        pairs = list(payloads)
        self.take_payloads([number for number, _ in pairs], [payload for _, payload in pairs])

    def take_payloads(self, numbers: Sequence[int], payloads: Sequence[Any]) -> None:
        """Check payloads, with their numbers; with `each` the items in them are the samples."""
        if self.contract.each is not None or set(map(type, payloads)) != {dict}:
            numbers, payloads = self.samples_of(zip(numbers, payloads, strict=True))
        self.take_columns(numbers, Columns(payloads))

    def take_columns(self, numbers: Sequence[int], columns: Columns) -> None:
        """Check samples by column, with their numbers."""
        self.samples += len(columns)
        if not len(columns):
            return
        things = self.things_of(columns) if self._names_things else None
        for name, rule in self.contract.fields.items():
            self._column(name, rule, numbers, columns)
        if not columns.knows(self._tree):
            self._others(numbers, columns.samples())
        if self.contract.time is not None:
            self._times(numbers, columns, things)

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

    def things_of(self, columns: Columns) -> Things:
        """Return what each sample is of."""
        path = self.contract.thing
        if path is None:
            return Things([""], np.zeros(len(columns), np.int64))
        coded = columns.coded(path)
        if coded is not None:
            return Things(*coded)
        found = columns.at(path)
        return Things(found if set(map(type, found)) == {str} else list(map(str, found)))

    def _column(self, name: str, rule: FieldRule, numbers: Sequence[int], columns: Columns) -> None:
        facts = columns.facts(rule.path)
        if facts.gaps and rule.required:
            self._each(Rule("missing", name), numbers, columns.at(rule.path), lambda value: value is None)
        if not facts.types:
            return
        if rule.type != ANY and not _surely(rule.type, facts):
            column = columns.at(rule.path)
            self._each(Rule("retyped", name), numbers, column, lambda value: not _is(value, rule.type))
        if rule.type in NUMBERS and not (rule.least <= facts.least and facts.most <= rule.most):
            self._range(name, rule, numbers, columns.at(rule.path))
        if rule.values is not None and not (
            facts.texts is not None and self._texts[name].issuperset(facts.texts)
        ):
            allowed = rule.values
            column = columns.at(rule.path)
            self._each(Rule("value", name), numbers, column, lambda value: not _listed(value, allowed))
        if rule.unit_at is not None:
            units = columns.facts(rule.unit_at)
            sure = not units.gaps and units.texts is not None
            if not sure or not all(self._is_same(unit, rule.unit) for unit in units.texts or ()):
                self._units(name, rule, numbers, columns)

    def _range(self, name: str, rule: FieldRule, numbers: Sequence[int], column: Sequence[Any]) -> None:
        self._each(
            Rule("range", name),
            numbers,
            column,
            lambda value: _is(value, "number") and not rule.least <= value <= rule.most,
        )

    def _units(self, name: str, rule: FieldRule, numbers: Sequence[int], columns: Columns) -> None:
        assert rule.unit_at is not None
        for number, told, value in zip(numbers, columns.at(rule.unit_at), columns.at(rule.path), strict=True):
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
                if not self._is_named(path) and not (path in ENVELOPE and "specversion" in sample):
                    self.unnamed_field(number, path, value)

    def _is_named(self, path: str) -> bool:
        if path in self._known or path in self._named or path.startswith(self._whole):
            return True
        plain = path.replace('"', "")
        return plain != path and (plain in self._known or plain.startswith(self._whole))

    def _times(self, numbers: Sequence[int], columns: Columns, things: Things | None) -> None:
        assert self.contract.time is not None
        times_us = columns.moments(self.contract.time)
        if times_us is None:
            told = columns.at(self.contract.time)
            try:
                times_us = self._moments(told)
            except (ValueError, OverflowError):
                numbers, times_us, things = self._read_times(numbers, told, things)
        if not len(times_us):
            return
        self._ahead(numbers, times_us)
        if things is not None and self._pacer.judges:
            self._pace(numbers, times_us, things)
        if self._flow is not None:
            # A clock that runs ahead must not begin windows before their time.
            times_us = times_us[times_us <= self.now_us]
            if len(times_us):
                self._flow.take(times_us, self._flowed)

    def _read_times(
        self, numbers: Sequence[int], told: Sequence[Any], things: Things | None
    ) -> tuple[list[int], Ints, Things | None]:
        """Return the times that can be read, with their samples' numbers and things; tell of the others."""
        kept, times_us = list[int](), list[int]()
        for place, each in enumerate(told):
            try:
                times_us.append(self._moment(each))
            except ValueError as error:
                self.found(Rule("time", ""), numbers[place], str(error))
            else:
                kept.append(place)
        things = None if things is None else things.of(kept)
        return [numbers[place] for place in kept], np.array(times_us, np.int64), things

    def _ahead(self, numbers: Sequence[int], times_us: Ints) -> None:
        ahead_us = self.contract.pace.ahead_s * 1e6
        if times_us.max() > self.now_us + ahead_us:
            for place in np.flatnonzero(times_us - self.now_us > ahead_us).tolist():
                time_us = int(times_us[place])
                ahead_s = (time_us - self.now_us) / 1e6
                self.found(Rule("ahead", ""), numbers[place], f"{iso_us(time_us)} is {ahead_s:.3f} s ahead")

    def _pace(self, numbers: Sequence[int], times_us: Ints, things: Things) -> None:
        # One clock that runs ahead must not make latecomers of all that follow.
        limit_us = self.now_us + min(self.contract.pace.ahead_s * 1e6, STRAY_US)
        if times_us.max() > limit_us:
            places = np.flatnonzero(times_us <= limit_us).tolist()
            if not places:
                return
            numbers, times_us, things = [numbers[n] for n in places], times_us[places], things.of(places)

        def told(kind: str, place: int, thing: str, after_s: float) -> None:
            whose = f" of {shown(thing)}" if thing else ""
            how = "after the one before" if after_s > 0 else "behind a newer one"
            self.found(Rule(kind, ""), numbers[place], f"{abs(after_s):.3f} s {how}{whose}")

        self._pacer.take(times_us, things, self.skips, told)

    def _flowed(self, per_s: float, from_us: int) -> None:
        self.found(Rule("flow", ""), 0, f"{per_s:g} samples/s from {iso_us(from_us)}")

    def _each(
        self, rule: Rule, numbers: Sequence[int], column: Sequence[Any], wrong: Callable[[Any], bool]
    ) -> None:
        missing = rule.kind == "missing"
        for number, value in zip(numbers, column, strict=True):
            if (missing or value is not None) and wrong(value):
                self.found(rule, number, "there is none" if missing else shown(value))


def _surely(kind: str, facts: Facts) -> bool:
    """Whether all of a column are of a type; false where that takes a closer look."""
    return facts.finite if kind == "number" else facts.types <= TYPES[kind]


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
