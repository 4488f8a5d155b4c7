"""A source's messages against its contract while they come: what drifts, who is silent, and what is done about it."""

from __future__ import annotations

import enum
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gemel.base.errors import GemelError, InvalidError
from gemel.contracts.checking import Checker, Rule, shown
from gemel.contracts.columns import Columns
from gemel.contracts.document import OF_NO_MESSAGE, Contract, Policy
from gemel.contracts.pacing import Things
from gemel.graph.jsonpatch import pointer_text
from gemel.mapping.samples import leaves_of
from gemel.mapping.watched import Broken

__all__ = ["CODES", "OTHERS", "Drifted", "Place", "Sighting", "Watch"]

CODES: Final = {
    "malformed": "DriftMalformed",
    "missing": "DriftMissing",
    "retyped": "DriftRetyped",
    "range": "DriftRange",
    "value": "DriftValue",
    "unit": "DriftUnit",
    "new": "DriftNew",
    "time": "DriftTime",
    "rate": "DriftRate",
    "late": "DriftLate",
    "ahead": "DriftAhead",
    "flow": "DriftFlow",
    "silent": "DriftSilent",
}
TOLD: Final = {
    "malformed": "malformed",
    "missing": "missing",
    "retyped": "of another type",
    "range": "out of range",
    "value": "none of its values",
    "unit": "of another unit",
    "new": "not in the contract",
    "time": "without a time",
    "rate": "too early or too late after the one before",
    "late": "late",
    "ahead": "ahead of the clock",
}
LOOKED_AT_MIN: Final = 250
SHARE: Final = 8
"""Of a batch that is only looked at in part, one in so many messages, and LOOKED_AT_MIN at least."""
DATA: Final = "data"
NO_FAULTS: Final[Mapping[int, str]] = {}
OTHERS: Final = "*"
"""Stands for all fields beyond those that are told apart."""
FIELDS_MAX: Final = 200
FIELD_CHARS_MAX: Final = 200
EXAMPLE_CHARS_MAX: Final = 200
HEARD_MAX: Final = 20_000
THING_CHARS_MAX: Final = 200


class Place(enum.Enum):
    """What stands in quarantine for a sample: its message as `data`, itself as an event, or what was made of a row."""

    MESSAGE = "message"
    EVENT = "event"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One way in which a source drifts: what was found, in which field, or which thing is silent."""

    finding: str
    field: str = ""
    thing: str = ""


@dataclass(slots=True)
class Drifted:
    """How often a sighting was made, an example, what is done about it, and whether it lasts."""

    count: int
    example: str
    policy: Policy
    lasting: bool = False


@dataclass(slots=True)
class Heard:
    """When each thing was last heard of (µs), who was found silent since, and since when it is listened."""

    things: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    since_us: int = 0
    changed: bool = False


class Watch(Checker):
    """Watches one source; what it sees adds up until it is taken, batch by batch.

    `halted` is the error that ends the source, where the contract says so. Batches are looked at one after the other;
    whoever looks at the clock may do so beside.
    """

    def __init__(self, contract: Contract, now_us: int) -> None:
        super().__init__(contract, now_us)
        self.halted: GemelError | None = None
        self.heard = Heard(since_us=now_us)
        self._drift: dict[Sighting, Drifted] = {}
        self._known_fields: set[Sighting] = set()
        self._broken: dict[int, Broken] = {}
        self._again: set[str] = set()
        self._lock = threading.Lock()
        self._listens = contract.pace.silent_s < math.inf
        self._names_things = self._names_things or self._listens
        self._turn = 0
        self._place_in = Place.MESSAGE
        self._firm = {kind for kind, policy in contract.policy.items() if policy != "accept"}

    def wanted(self, count: int) -> range:
        """Return which of so many messages to show.

        All, where one of them may have to be held back, or somebody's silence be noticed; else a part of a large
        batch, another one each time.
        """
        size = max(LOOKED_AT_MIN, count // SHARE)
        if count <= size or self._firm - set(OF_NO_MESSAGE) or self._listens or self._flow is not None:
            return range(count)
        start, self._turn = self._turn % count, self._turn + size
        return range(min(start, count - size), min(start, count - size) + size)

    def look(self, payloads: Sequence[Any], received_us: int, skipped: int = 0) -> Mapping[int, Broken]:
        """Look at the payloads of messages; return those that must not be taken, by their places, and why.

        `skipped` is how many of their batch are not shown.
        """
        self.now_us, self._broken, self._place_in = received_us, {}, Place.MESSAGE
        if skipped:
            self.skips = True
        self.take_payloads(range(len(payloads)), payloads)
        return self._broken

    def look_at(
        self,
        numbers: Sequence[int],
        columns: Columns,
        received_us: int,
        place: Place,
        faults: Mapping[int, str] = NO_FAULTS,
    ) -> Mapping[int, Broken]:
        """Look at samples that are columns already; return those that must not be taken, by their numbers.

        `faults` are others, which could not be read at all, and wait for that reason.
        """
        self.now_us, self._broken, self._place_in = received_us, {}, place
        for number, what in faults.items():
            self.found(Rule("malformed", ""), number, what)
        self._broken = {}
        self.take_columns(numbers, columns)
        return self._broken

    def things_of(self, columns: Columns) -> Things:
        """Return what each sample is of, and note who was heard of."""
        things = super().things_of(columns)
        if self._listens:
            named = things.distinct()
            if max(map(len, named)) > THING_CHARS_MAX:
                named = {thing[:THING_CHARS_MAX] for thing in named}
            self._hear(named)
        return things

    def take_drift(self) -> dict[Sighting, Drifted]:
        """Return what was seen since this was last called."""
        seen, self._drift = self._drift, {}
        return seen

    def take_again(self) -> set[str]:
        """Return the things that were silent and have been heard again since this was last called."""
        with self._lock:
            again, self._again = self._again, set()
        return again

    def remember(self, things: Mapping[str, int], silent: Iterable[str]) -> None:
        """Take up what was known of things when the source was last read."""
        self.heard.things = dict(things)
        self.heard.silent = set(silent)

    def silence(self, now_us: int) -> dict[Sighting, Drifted]:
        """Return the things that have been silent for too long by now, each once until it is heard again."""
        heard, limit_us = self.heard, self.contract.pace.silent_s * 1e6
        policy = self.contract.policy["silent"]
        found: dict[Sighting, Drifted] = {}
        with self._lock:
            for thing, at_us in list(heard.things.items()):
                if now_us - max(at_us, heard.since_us) > limit_us:
                    text = f"nothing for {(now_us - at_us) / 1e6:.0f} s"
                    found[Sighting("silent", "", thing)] = Drifted(1, text, policy, lasting=True)
                    del heard.things[thing]
                    heard.silent.add(thing)
                    heard.changed = True
        if found and policy == "stop":
            sighting, drifted = next(iter(found.items()))
            self._halt("silent", f"{sighting.thing or 'The source'} is silent: {drifted.example}")
        return found

    def found(self, rule: Rule, number: int, what: str) -> None:
        """Count what is not as promised, and see to it that the message is not taken, where that is the policy."""
        self._count(rule.kind, rule.field, what)
        if rule.kind in OF_NO_MESSAGE:
            if rule.kind in self._firm:
                self._halt(rule.kind, f"The source brings {what} (contract {self.contract.label})")
            return
        # One that is refused already needs no second reason.
        if rule.kind in self._firm and number not in self._broken:
            self._refuse(rule, number, what)

    def unnamed_field(self, number: int, path: str, value: Any) -> None:
        """Count a field that the contract does not name, whether it is allowed or not; its policy holds for both."""
        self.found(Rule("new", path), number, shown(value))

    def look_for_new(self, numbers: Sequence[int], columns: Columns) -> None:
        """Count the fields of further samples that the contract does not name, and look at nothing else of them."""
        if not columns.knows(self._tree):
            self._others(numbers, columns.samples())

    def is_new(self, path: str, value: Any) -> bool:
        """Whether a value of an event's data is of fields alone that the contract does not name."""
        fields = [field for field, _ in leaves_of({DATA: {path: value}})]
        return bool(fields) and not any(map(self._is_named, fields))

    def _hear(self, named: set[str]) -> None:
        heard, now_us = self.heard, self.now_us
        fresh = dict.fromkeys(named, now_us)
        with self._lock:
            if heard.silent:
                back = heard.silent & fresh.keys()
                heard.silent -= back
                self._again |= back
            if len(heard.things) + len(fresh) > HEARD_MAX:
                fresh = {thing: now_us for thing in fresh if thing in heard.things}
            heard.things.update(fresh)
            heard.changed = True

    def _count(self, kind: str, field_name: str, what: str) -> None:
        sighting = Sighting(kind, field_name[:FIELD_CHARS_MAX])
        if sighting not in self._known_fields:
            if len(self._known_fields) >= FIELDS_MAX:
                sighting = Sighting(kind, OTHERS)
            self._known_fields.add(sighting)
        drifted = self._drift.get(sighting)
        if drifted is None:
            example = what[:EXAMPLE_CHARS_MAX].replace("\0", "\\0")
            self._drift[sighting] = Drifted(1, example, self.contract.policy[kind])
        else:
            drifted.count += 1

    def _refuse(self, rule: Rule, number: int, what: str) -> None:
        problem = (
            f"{rule.field or 'the sample'} is {TOLD[rule.kind]}: {what} (contract {self.contract.label})"
        )
        if self.contract.policy[rule.kind] == "stop":
            self._halt(rule.kind, problem)
        self._broken[number] = Broken(CODES[rule.kind], problem, self.contract.label, self._place(rule.field))

    def _place(self, field_name: str) -> str | None:
        """Return the JSON Pointer of a field within what waits in quarantine, where it is one field of the message."""
        rule = self.contract.fields.get(field_name)
        if self.contract.each is not None or rule is None or rule.path.keys is None:
            return None
        keys = rule.path.keys
        if self._place_in is Place.EVENT:
            return pointer_text((keys[0], ".".join(keys[1:])) if len(keys) > 1 else keys)
        return pointer_text((DATA, *keys)) if self._place_in is Place.MESSAGE else None

    def _halt(self, kind: str, problem: str) -> None:
        if self.halted is None:
            hint = "Nothing behind it was taken. Mend the contract, or the cause; then `gemel source start`."
            self.halted = InvalidError(CODES[kind], f"{problem}.", hint)
