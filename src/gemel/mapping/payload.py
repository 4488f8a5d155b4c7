"""The mapping of payloads (version 2 of the file): what a message says becomes events, and of which twins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

import msgspec

from gemel.mapping.expressions import Expression
from gemel.mapping.paths import Path, compile_path
from gemel.mapping.sections import Section, parse_section, read_bytes
from gemel.mapping.tables import is_json, read_conversion, read_revision, read_time_format
from gemel.mapping.topics import TopicPattern
from gemel.mapping.units import Conversion

__all__ = [
    "ANY",
    "Field",
    "MomentRule",
    "PayloadMapping",
    "PayloadRule",
    "TwinTemplate",
    "load_payload_mapping",
    "parse_payload_mapping",
]

VERSION: Final = 2
ANY: Final = "any"
FORMATS: Final = ("json", "text")
TYPES: Final = (ANY, "number", "integer", "string", "boolean", "json")
PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
EVENT_TYPE: Final = "gemel.samples"
ABSENT: Final[Any] = object()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """One value: where it stands (`path`), what is made of it (`expression`, `listed`, `type`, `change`).

    `place` is its key in the mapping. `listed` maps texts to values, `otherwise` stands for what is not listed
    (ABSENT: a fault). `names` is set where the target holds a `*`: keys left out there.
    """

    place: str
    path: Path | None
    expression: Expression | None = None
    type: str = ANY
    change: Conversion | None = None
    unit: str | None = None
    to: str | None = None
    listed: dict[str, Any] | None = None
    otherwise: Any = ABSENT
    required: bool = False
    left_out: frozenset[str] = field(default=frozenset())

    @property
    def is_plain(self) -> bool:
        """Whether it is the value of one key of the start, as it stands."""
        keys = self.path.keys if self.path is not None and self.path.root is None else None
        changed = self.expression or self.listed is not None or self.required or self.type != ANY
        return keys is not None and len(keys) == 1 and not changed and self.change is None


@dataclass(frozen=True, slots=True)
class MomentRule:
    """The source time: a field, and how it is written (as in a mapping of files)."""

    field: Field
    format: str
    zone: str | None


@dataclass(frozen=True, slots=True)
class TwinTemplate:
    """A twin's id: `literals` before, between and after what stands at `paths`."""

    text: str
    literals: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class PayloadRule:
    """What a message says about one twin, or with `each`, what every item of a list or object in it says."""

    twin: TwinTemplate
    model: str | None
    each: Path | None
    when: Expression | None
    time: MomentRule | None
    quality: Field | None
    values: dict[str, Field]
    constants: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PayloadMapping:
    """A mapping of payloads, read and checked; `digest` is short for what it says, whatever its layout."""

    file: str
    digest: str
    source: str
    type: str
    format: str
    revision: int
    topic: TopicPattern | None
    id: Field | None
    twins: tuple[PayloadRule, ...]

    @property
    def label(self) -> str:
        """The mapping's name for those who ask where a value is from: its file's or own name, and the digest."""
        return f"{FilePath(self.file).name}@{self.digest}"


def load_payload_mapping(path: FilePath) -> PayloadMapping:
    """Read and check a mapping file of version 2; its format is in docs/guides/mapping.md.

    Raises InvalidError: FileUnreadable, or MappingInvalid naming the file, the key and what to do.
    """
    return parse_payload_mapping(read_bytes(path), str(path))


def parse_payload_mapping(data: bytes, file: str) -> PayloadMapping:
    """Read and check the text of a mapping of version 2; `file` is its name. Raises as the reader of files does."""
    top = parse_section(data, file, aliases=False)
    version = top.take("version")
    if version != VERSION or isinstance(version, bool):
        told = "is 1: a mapping of files, and this is one of messages" if version == 1 else f"is {version!r}"
        hint = (
            f"A mapping of messages has version {VERSION} and names paths (`path:`): docs/guides/mapping.md. One of "
            "files has version 1 and names columns (`column:`): docs/guides/files.md."
        )
        raise top.fault("version", f"{told}.", hint)
    topic = top.text("topic", None)
    form = top.section("format", {"type": "json"})
    moment = _moment(top)
    mapping = PayloadMapping(
        file=file,
        source=top.text("source"),
        type=top.text("type", EVENT_TYPE),
        format=form.choice("type", FORMATS),
        revision=read_revision(top),
        topic=None if topic is None else _made(top, "topic", topic, TopicPattern),
        id=_optional_field(top, "id"),
        twins=tuple(_rule(section, moment) for section in top.sections("twins")),
        # Last: a key that is no text has been refused by then.
        digest=hashlib.sha256(msgspec.json.encode(top.raw, order="sorted")).hexdigest()[:12],
    )
    form.finish()
    top.finish()
    _check_names(top, mapping)
    return mapping


def _rule(section: Section, moment: MomentRule | None) -> PayloadRule:
    each, when = section.text("each", None), section.text("when", None)
    values = section.section("values")
    constants = section.section("constants", {})
    found = {target: _value(values, target, raw) for target, raw in values.rest().items()}
    fixed = constants.rest()
    for target, value in fixed.items():
        if not is_json(value) or b"\\u0000" in msgspec.json.encode(value):
            hint = "Use text (in quotes), a number or a flag."
            raise constants.fault(target, f"{value!r} is not a JSON value.", hint)
        if target in found:
            raise constants.fault(target, "is under `values` too.", "Remove one of the two.")
    if not found:
        raise section.fault("values", "is empty.", "Name at least one path of the twin.")
    rule = PayloadRule(
        twin=_template(section),
        model=section.text("model", None),
        each=None if each is None else _each(section, each),
        when=None if when is None else _made(section, "when", when, Expression),
        time=_moment(section) or moment,
        quality=_optional_field(section, "quality"),
        values=found,
        constants=fixed,
    )
    section.finish()
    return rule


def _each(section: Section, text: str) -> Path:
    path = _made(section, "each", text, compile_path)
    if path.keys is None or path.root is not None:
        hint = "Use keys alone, as in `data.readings`, or @ for the whole payload."
        raise section.fault("each", f"{text!r} is not a plain path.", hint)
    return path


def _template(section: Section) -> TwinTemplate:
    text = section.text("twin")
    if re.search(r"[{}]", PLACEHOLDER.sub("", text)):
        raise section.fault("twin", f"{text!r} has a brace without its partner.", "Write {path} for a value.")
    paths = tuple(_made(section, "twin", part.strip(), compile_path) for part in PLACEHOLDER.findall(text))
    return TwinTemplate(text, tuple(PLACEHOLDER.split(text)[::2]), paths)


def _moment(section: Section) -> MomentRule | None:
    raw = section.take("time", None)
    if raw is None:
        return None
    inner = Section(section.file, section.name_of("time"), raw)
    found = _origin(inner)
    format_text, zone = read_time_format(inner)
    inner.finish()
    return MomentRule(Field(inner.key, *found), format_text, zone)


def _optional_field(section: Section, key: str) -> Field | None:
    raw = section.take(key, None)
    return None if raw is None else _value(section, key, raw)


def _value(values: Section, target: str, raw: object) -> Field:
    place = values.name_of(target)
    if isinstance(raw, str) and raw:
        section = Section(values.file, place, {"path": raw})
        return _field(section, target)
    return _field(Section(values.file, place, raw), target)


def _field(section: Section, target: str) -> Field:
    path, expression = _origin(section, star="*" in target)
    unit, to = section.text("unit", None), section.text("to", None)
    if (unit is None) != (to is None):
        missing = "to" if to is None else "unit"
        raise section.fault(missing, "is missing.", "Give `unit` and `to`, or neither.")
    change = None if unit is None or to is None else read_conversion(section, unit, to)
    kind = section.choice("type", TYPES, "number" if change else ANY)
    if change and kind != "number":
        raise section.fault("type", f"{kind} cannot be converted.", "Use `type: number`.")
    listed = section.section("map").rest() if "map" in section.raw else None
    otherwise = section.take("otherwise", ABSENT)
    given = [*(listed or {}).values(), *([] if otherwise in (ABSENT, None) else [otherwise])]
    for value in given:
        if not is_json(value):
            raise section.fault("map", f"{value!r} is not a JSON value.", "Use text, a number or a flag.")
    if otherwise is not ABSENT and listed is None:
        raise section.fault("otherwise", "stands for what `map` does not list, and there is none.")
    found = Field(
        section.key,
        path,
        expression,
        kind,
        change,
        unit,
        to,
        listed,
        otherwise,
        section.flag("required", False),
        _names(section),
    )
    section.finish()
    if found.left_out and "*" not in target:
        raise section.fault("except", "stands for keys of a star, and there is none.", "Leave `except` out.")
    return found


def _origin(section: Section, *, star: bool = False) -> tuple[Path | None, Expression | None]:
    """Read `path` and `expr`, one of them at least; with a star in the target, what the path's own star is of."""
    path, text = section.text("path", None), section.text("expr", None)
    if path is None and text is None:
        raise section.fault("path", "is missing.", "Say where the value is, by `path` or by `expr`.")
    expression = None if text is None else _made(section, "expr", text, Expression)
    if expression is not None and path is None and "value" in expression.variables:
        raise section.fault("expr", "reads `value`, and there is no `path` that gives it.")
    if star:
        path = _before_star(section, path)
    return None if path is None else _made(section, "path", path, compile_path), expression


def _before_star(section: Section, path: str | None) -> str:
    """Return the path of the object whose keys the star of a target stands for."""
    if section.key.count("*") > 1 or path is None or (path != "*" and not path.endswith(".*")):
        hint = "As in `motor.*: readings.*`: one star on each side, at the end of the path."
        raise section.fault("path", "needs a star at its end, as its target has one.", hint)
    return path.removesuffix("*").removesuffix(".") or "@"


def _names(section: Section) -> frozenset[str]:
    names = section.take("except", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise section.fault("except", "must be a list of keys.")
    return frozenset(names)


def _made(section: Section, key: str, text: str, make: Callable[[str], T]) -> T:
    try:
        return make(text)
    except ValueError as error:
        raise section.fault(key, f"{text!r} {error}.") from error


def _check_names(top: Section, mapping: PayloadMapping) -> None:
    """Refuse parts of the topic that its pattern does not name: a misspelling would quarantine all there is."""
    known = () if mapping.topic is None else mapping.topic.names
    for rule in mapping.twins:
        paths = [*rule.twin.paths, *(value.path for value in rule.values.values())]
        for path in paths:
            if path is not None and path.root == "topic" and path.keys and path.keys[0] not in known:
                said = ", ".join(known) or "none"
                raise top.fault("topic", f"has no part {path.keys[0]!r}; it names {said}.")
