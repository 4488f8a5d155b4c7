"""A contract as it is written: the fields of a sample with types, units and ranges, how often and how late it comes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final, Literal, NamedTuple

from gemel.base.errors import InvalidError
from gemel.mapping.paths import Path, compile_path
from gemel.mapping.sections import Section, parse_section, read_bytes
from gemel.mapping.tables import read_time_format
from gemel.mapping.units import is_unit

__all__ = [
    "ANY",
    "DRIFT",
    "NUMBERS",
    "OF_NO_MESSAGE",
    "Contract",
    "FieldRule",
    "Flow",
    "Pace",
    "Policy",
    "Version",
    "load_contract",
    "parse_contract",
]

ANY: Final = "any"
TYPES: Final = (ANY, "number", "integer", "string", "boolean")
NUMBERS: Final = ("number", "integer")
NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
VERSION: Final = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
FIELDS_MAX: Final = 1000
SECONDS_MAX: Final = 10 * 365 * 86_400
DAY_S: Final = 86_400
SILENT_AFTER: Final = 3
"""After how many of the longest pauses between samples a thing is silent, where the contract does not say."""
FLOW_S: Final = 60.0
Policy = Literal["accept", "quarantine", "stop"]
POLICIES: Final = ("accept", "quarantine", "stop")
DRIFT: Final = (
    "malformed", "missing", "retyped", "range", "value", "unit", "new", "time", "rate", "late", "ahead", "flow",
    "silent",
)  # fmt: skip
"""All that a source is watched for: the findings of a check, and things that are silent."""
OF_NO_MESSAGE: Final = ("flow", "silent")
"""Findings that are of no message, so that there is none to hold back."""


class Version(NamedTuple):
    """Of two contracts with one `major`, what keeps the later one keeps the earlier one, too."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What is promised of a field: of its values, where there are any. `unit_at` is where a sample says the unit."""

    path: Path
    type: str = ANY
    unit: str | None = None
    unit_at: Path | None = None
    least: float = -math.inf
    most: float = math.inf
    values: tuple[Any, ...] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between samples of one thing, how far one may come behind a newer one, and how far ahead of the clock.

    After `silent_s` by the clock without one, a thing is silent.
    """

    least_s: float = 0.0
    most_s: float = math.inf
    late_s: float = math.inf
    ahead_s: float = math.inf
    silent_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Flow:
    """Samples a second of all things together, in each window of `over_s` by their own times."""

    least_per_s: float = 0.0
    most_per_s: float = math.inf
    over_s: float = FLOW_S

    @property
    def judged(self) -> bool:
        """Whether anything is promised of it."""
        return self.least_per_s > 0 or self.most_per_s < math.inf


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract, read and checked; `others` says whether fields may be there that it does not name.

    `policy` is what a source does about each finding of DRIFT, about fields that are allowed, too.
    """

    name: str
    version: Version
    each: Path | None
    thing: Path | None
    time: Path | None
    format: str
    zone: str | None
    fields: dict[str, FieldRule]
    others: bool
    pace: Pace
    flow: Flow
    policy: dict[str, Policy]

    @property
    def label(self) -> str:
        """The contract's name with its version."""
        return f"{self.name} {self.version}"


def load_contract(path: FilePath) -> Contract:
    """Read a contract's file; its format is in docs/guides/contracts.md.

    Raises InvalidError: FileUnreadable, or ContractInvalid naming the file, the key and what to do.
    """
    return parse_contract(read_bytes(path), str(path))


def parse_contract(data: bytes, file: str) -> Contract:
    """Read the text of a contract; `file` is its name. Raises InvalidError (ContractInvalid)."""
    try:
        return _contract(parse_section(data, file, aliases=False))
    except InvalidError as error:
        # The reader of YAML is that of mappings.
        hint = (error.hint or "").replace("guides/files.md", "guides/contracts.md")
        raise InvalidError("ContractInvalid", error.message, hint) from error


def _contract(top: Section) -> Contract:
    name, version = top.text("contract"), top.text("version")
    if NAME.fullmatch(name) is None:
        raise top.fault("contract", f"{name[:80]!r} is not a name.", "Use up to 64 of A-Z a-z 0-9 _ . -.")
    numbers = VERSION.fullmatch(version)
    if numbers is None:
        raise top.fault("version", f"{version[:80]!r} is not a version.", 'As in "1.0": major and minor.')
    each = _path(top, "each")
    if each is not None and each.keys is None:
        raise top.fault("each", f"{each.text!r} is not a plain path.", "Use keys alone, as in data.readings.")
    thing, moment = _path(top, "thing"), _time(top)
    contract = Contract(
        name=name,
        version=Version(int(numbers[1]), int(numbers[2])),
        each=each,
        thing=thing,
        time=moment[0],
        format=moment[1],
        zone=moment[2],
        fields=dict(_fields(top.section("fields"))),
        others=top.choice("others", ("allow", "refuse"), "allow") == "allow",
        pace=_pace(top, moment[0]),
        flow=_flow(top, moment[0]),
        policy=_policy(top),
    )
    top.finish()
    return contract


def _policy(top: Section) -> dict[str, Policy]:
    """Read what is done about drift; what is not said of a finding is done by `default`."""
    section = top.section("policy", {})
    default: Policy = section.choice("default", POLICIES, "accept")
    of_none: Policy = "stop" if default == "stop" else "accept"
    found: dict[str, Policy] = {
        kind: section.choice(kind, POLICIES, of_none if kind in OF_NO_MESSAGE else default) for kind in DRIFT
    }
    section.finish()
    for kind in OF_NO_MESSAGE:
        if found[kind] == "quarantine":
            raise section.fault(kind, "leaves nothing to quarantine.", "Use accept or stop.")
    return found


def _time(top: Section) -> tuple[Path | None, str, str | None]:
    if "time" not in top.raw:
        return None, "iso", None
    section = top.section("time")
    path = _required_path(section, "path")
    format_text, zone = read_time_format(section)
    section.finish()
    return path, format_text, zone


def _fields(section: Section) -> Iterator[tuple[str, FieldRule]]:
    given = section.rest()
    if not given or len(given) > FIELDS_MAX:
        raise section.fault("", f"must name 1 to {FIELDS_MAX} fields.")
    paths: dict[tuple[str, ...], str] = {}
    for name, raw in given.items():
        path = _compiled(section, name, name)
        if path.keys is None or path.root is not None or not path.keys:
            raise section.fault(name, "is not a plain path.", "Use keys alone, as in motor.temperature.")
        for keys, other in paths.items():
            short = min(len(keys), len(path.keys))
            if keys[:short] == path.keys[:short]:
                raise section.fault(
                    name, f"lies within {other}, or the other way round.", "Name one of them."
                )
        paths[path.keys] = name
        yield name, _field(Section(section.file, section.name_of(name), {} if raw is None else raw), path)


def _field(section: Section, path: Path) -> FieldRule:
    kind = section.choice("type", TYPES, ANY)
    unit, unit_at = section.text("unit", None), _path(section, "unit_at")
    least, most = _number(section, "min", -math.inf), _number(section, "max", math.inf)
    values = section.take("values", None)
    if values is not None:
        if not isinstance(values, list) or not values or not all(_is_plain(value) for value in values):
            raise section.fault("values", "must be a list of texts, numbers or flags.")
        values = tuple(values)
    if kind not in NUMBERS and (unit is not None or least > -math.inf or most < math.inf):
        raise section.fault("type", f"{kind} has no unit and no range.", "Use `type: number`, or integer.")
    if unit is not None and not is_unit(unit):
        raise section.fault("unit", f"{unit!r} is not a unit.", "Write it as pint does: degC, L/min, kPa.")
    if unit_at is not None and unit is None:
        raise section.fault("unit_at", "stands without `unit`.", "Say which unit must stand there.")
    if least > most:
        raise section.fault("min", "is more than `max`.")
    rule = FieldRule(path, kind, unit, unit_at, least, most, values, section.flag("required", False))
    section.finish()
    return rule


def _pace(top: Section, time: Path | None) -> Pace:
    section = top.section("every", {})
    most_s = _seconds(section, "max_s", math.inf)
    pace = Pace(
        least_s=_seconds(section, "min_s", 0.0),
        most_s=most_s,
        late_s=_seconds(top, "late_s", math.inf),
        ahead_s=_seconds(top, "ahead_s", math.inf),
        silent_s=_seconds(top, "silent_s", SILENT_AFTER * most_s),
    )
    section.finish()
    if pace != Pace(silent_s=pace.silent_s) and time is None:
        raise top.fault("time", "is missing, and is needed for `every`, `late_s` and `ahead_s`.")
    if pace.least_s > pace.most_s:
        raise section.fault("min_s", "is more than `max_s`.")
    return pace


def _flow(top: Section, time: Path | None) -> Flow:
    section = top.section("flow", {})
    flow = Flow(
        least_per_s=_number(section, "min_per_s", 0.0),
        most_per_s=_number(section, "max_per_s", math.inf),
        over_s=_seconds(section, "over_s", FLOW_S),
    )
    section.finish()
    if flow != Flow() and time is None:
        raise top.fault("time", "is missing, and is needed for `flow`.")
    if not 0 <= flow.least_per_s <= flow.most_per_s:
        raise section.fault("min_per_s", "is negative, or more than `max_per_s`.")
    if not 1 <= flow.over_s <= DAY_S:
        raise section.fault("over_s", f"is {flow.over_s!r}.", "Use 1 to 86400 seconds.")
    return flow


def _seconds(section: Section, key: str, default: float) -> float:
    value = _number(section, key, default)
    if value is not default and not 0 <= value <= SECONDS_MAX:
        raise section.fault(key, f"is {value!r}.", "Use seconds, 0 or more.")
    return value


def _number(section: Section, key: str, default: float) -> float:
    value = section.take(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise section.fault(key, f"{value!r} is not a number.")
    return value


def _path(section: Section, key: str) -> Path | None:
    text = section.text(key, None)
    return None if text is None else _compiled(section, key, text)


def _required_path(section: Section, key: str) -> Path:
    return _compiled(section, key, section.text(key))


def _compiled(section: Section, key: str, text: str) -> Path:
    try:
        found = compile_path(text)
    except ValueError as error:
        raise section.fault(key, f"{text[:80]!r} {error}.") from error
    if found.root is not None:
        raise section.fault(key, f"{text[:80]!r} does not start from the sample.", "Leave the $ out.")
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
