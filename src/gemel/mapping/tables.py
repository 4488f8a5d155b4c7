"""The mapping file: which columns of a file become which paths of which twins, and when."""

from __future__ import annotations

import codecs
import hashlib
import math
import re
import zoneinfo
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from gemel.base.errors import InvalidError
from gemel.mapping.sections import Section, parse_section, read_bytes
from gemel.mapping.units import Conversion, conversion

__all__ = [
    "UNIX_FORMATS",
    "FileFormat",
    "Mapping",
    "TimeColumn",
    "TwinName",
    "TwinRule",
    "ValueColumn",
    "is_json",
    "load_mapping",
    "parse_mapping",
    "read_conversion",
    "read_revision",
    "read_time_format",
]

FILE_TYPES: Final = ("csv", "ndjson", "parquet")
VALUE_TYPES: Final = ("number", "integer", "string", "boolean", "json")
UNIX_FORMATS: Final = {"unix_s": 1_000_000_000, "unix_ms": 1_000_000, "unix_us": 1000, "unix_ns": 1}
PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
VERSION: Final = 1
REVISION_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the file is written; delimiter, encoding and header are for CSV alone."""

    type: str
    delimiter: str = ","
    encoding: str = "utf-8"
    header: bool = True


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """The column with the source time; `format` is a strptime text, `iso`, or one of UNIX_FORMATS.

    `zone` is the IANA name of the zone of times that carry none themselves.
    """

    column: str
    format: str = "iso"
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class TwinName:
    """A twin's id: a text in which `{column}` stands for the row's cell."""

    template: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns the id is made of; none where it is the same for all rows."""
        return tuple(PLACEHOLDER.findall(self.template))

    @property
    def literals(self) -> tuple[str, ...]:
        """The texts before, between and after the columns: one more than there are columns."""
        return tuple(PLACEHOLDER.split(self.template)[::2])


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """One column that becomes one path: how to read its cells, and what to convert."""

    path: str
    column: str
    type: str = "number"
    unit: str | None = None
    to: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class TwinRule:
    """What every row of the file says about one twin."""

    twin: TwinName
    model: str | None
    values: tuple[ValueColumn, ...]
    constants: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping file, read and checked.

    `source` is the CloudEvents source of the events made, and `revision` the rank of their values.
    """

    file: str
    source: str
    format: FileFormat
    time: TimeColumn
    twins: tuple[TwinRule, ...]
    revision: int = 0

    @property
    def columns(self) -> frozenset[str]:
        """All columns that the mapping reads."""
        named = {self.time.column}
        for rule in self.twins:
            named.update(rule.twin.columns)
            named.update(value.column for value in rule.values)
        return frozenset(named)

    @property
    def optional_columns(self) -> frozenset[str]:
        """Columns that a file may lack: read by optional values only."""
        firm = {self.time.column}
        for rule in self.twins:
            firm.update(rule.twin.columns)
            firm.update(value.column for value in rule.values if not value.optional)
        return self.columns - firm

    @property
    def label(self) -> str:
        """The mapping's name for those who ask where a value is from: its file's, and what it says as a digest."""
        return f"{Path(self.file).name}@{self.digest}"

    @property
    def digest(self) -> str:
        """A short digest of what the mapping says, whatever its path and layout."""
        twins = [
            (rule.twin, rule.model, sorted(rule.values, key=lambda value: value.path), rule.constants)
            for rule in self.twins
        ]
        said = msgspec.json.encode(
            (VERSION, self.source, self.revision, self.format, self.time, twins), order="sorted"
        )
        return hashlib.sha256(said).hexdigest()[:12]


def load_mapping(path: Path) -> Mapping:
    """Read and check a mapping file; its format is in docs/guides/files.md.

    Raises InvalidError: FileUnreadable, or MappingInvalid naming the file, the key and what to do.
    """
    return parse_mapping(read_bytes(path), str(path))


def parse_mapping(data: bytes, file: str) -> Mapping:
    """Read and check the text of a mapping file; `file` is its name. Raises InvalidError (MappingInvalid)."""
    top = parse_section(data, file)
    version = top.take("version")
    if version != VERSION or isinstance(version, bool):
        told = "is 2: a mapping of messages, and this is one of files" if version == 2 else f"is {version!r}"
        hint = (
            f"A mapping of files has version {VERSION} and names columns (`column:`): docs/guides/files.md. One of "
            "messages has version 2 and names paths (`path:`): docs/guides/mapping.md."
        )
        raise top.fault("version", f"{told}.", hint)
    mapping = Mapping(
        file=file,
        source=top.text("source"),
        revision=read_revision(top),
        format=_format(top.section("format")),
        time=_time(top.section("time")),
        twins=tuple(_twin(section) for section in top.sections("twins")),
    )
    top.finish()
    fixed = [rule.twin.template for rule in mapping.twins if not rule.twin.columns]
    for twin in fixed:
        if fixed.count(twin) > 1:
            raise top.fault(
                "twins", f"{twin!r} has {fixed.count(twin)} entries.", "Put its values in one entry."
            )
    return mapping


def read_revision(top: Section) -> int:
    """Read the rank of the values: a whole number from 0."""
    revision = top.take("revision", 0)
    if isinstance(revision, bool) or not isinstance(revision, int) or not 0 <= revision <= REVISION_MAX:
        raise top.fault("revision", f"is {revision!r}.", f"Use a whole number from 0 to {REVISION_MAX}.")
    return revision


def _format(section: Section) -> FileFormat:
    kind = section.choice("type", FILE_TYPES)
    if kind != "csv":
        section.finish()
        return FileFormat(type=kind)
    found = FileFormat(
        type=kind,
        delimiter=section.text("delimiter", ","),
        encoding=section.text("encoding", "utf-8"),
        header=section.flag("header", True),
    )
    section.finish()
    if len(found.delimiter) != 1 or found.delimiter in '"\r\n' or not found.delimiter.isascii():
        raise section.fault(
            "delimiter", f"is {found.delimiter!r}.", 'Use one ASCII character, such as ";" or "\\t".'
        )
    # Records are found by the byte of the line end, so it must mean the same in the encoding.
    try:
        plain = '\n\r",;0'.encode(codecs.lookup(found.encoding).name) == b'\n\r",;0'
    except (LookupError, UnicodeError):
        plain = False
    if not plain:
        hint = "Use utf-8, latin-1, cp1252 or another that contains ASCII, or convert the file to UTF-8."
        raise section.fault("encoding", f"{found.encoding!r} is not one that can be read.", hint)
    return found


def _time(section: Section) -> TimeColumn:
    column = section.text("column")
    format_text, zone = read_time_format(section)
    section.finish()
    return TimeColumn(column, format_text, zone)


def read_time_format(section: Section) -> tuple[str, str | None]:
    """Read the keys `format` and `zone` of a time; raise InvalidError (MappingInvalid) where they do not do."""
    format_text, zone = section.text("format", "iso"), section.text("zone", None)
    if zone is not None:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            hint = "Use an IANA name: UTC, Europe/Berlin, America/New_York."
            raise section.fault("zone", f"{zone!r} is not a zone.", hint) from error
    if format_text == "iso" or format_text in UNIX_FORMATS:
        return format_text, zone
    if problem := _strptime_problem(format_text):
        hint = f"Use a strptime text, iso, or {', '.join(UNIX_FORMATS)}."
        raise section.fault("format", f"{format_text!r} {problem}.", hint)
    if zone is None and "%z" not in format_text:
        hint = "Add the zone the times are in, such as `zone: UTC` or `zone: Europe/Berlin`."
        raise section.fault("zone", "is missing, and the format holds none.", hint)
    return format_text, zone


def _strptime_problem(text: str) -> str | None:
    if not any(part in text for part in ("%Y", "%y", "%G", "%c", "%x")):
        return "is no time format with a year in it"
    try:
        datetime.strptime("", text)
    except ValueError as error:
        # An empty text fits no format; any other complaint is about the format itself.
        return None if str(error).startswith("time data") else f"is not a strptime text: {error}"
    return None


def _twin(section: Section) -> TwinRule:
    values = section.section("values")
    read = tuple(_value(values, path, raw) for path, raw in values.rest().items())
    if not read:
        raise section.fault("values", "is empty.", "Name at least one path and its column.")
    constants = section.section("constants", {})
    fixed = constants.rest()
    for path, value in fixed.items():
        if not is_json(value):
            raise constants.fault(
                path, f"{value!r} is not a JSON value.", "Use text (in quotes), a number or a flag."
            )
        if any(column.path == path for column in read):
            raise constants.fault(path, "is under `values` too.", "Remove one of the two.")
    rule = TwinRule(twin=_twin_name(section), model=section.text("model", None), values=read, constants=fixed)
    section.finish()
    return rule


def _twin_name(section: Section) -> TwinName:
    raw = section.take("twin")
    if isinstance(raw, dict):
        inner = Section(section.file, section.name_of("twin"), raw)
        column = inner.text("column")
        inner.finish()
        return TwinName("{" + column + "}")
    if not isinstance(raw, str) or not raw:
        raise section.fault(
            "twin", f"{raw!r} is not a twin's id.", "Put it in quotes, or use {column: NAME}."
        )
    if re.search(r"[{}]", PLACEHOLDER.sub("", raw)):
        raise section.fault(
            "twin", f"{raw!r} has a brace without its partner.", "Write {column} for a column."
        )
    return TwinName(raw)


def _value(values: Section, path: str, raw: object) -> ValueColumn:
    if isinstance(raw, str) and raw:
        return ValueColumn(path=path, column=raw)
    section = Section(values.file, values.name_of(path), raw)
    found = ValueColumn(
        path=path,
        column=section.text("column"),
        type=section.choice("type", VALUE_TYPES, "number"),
        unit=section.text("unit", None),
        to=section.text("to", None),
        optional=section.flag("optional", False),
    )
    section.finish()
    if (found.unit is None) != (found.to is None):
        raise section.fault(
            "to" if found.to is None else "unit", "is missing.", "Give `unit` and `to`, or neither."
        )
    if found.unit is not None and found.to is not None:
        changes = read_conversion(section, found.unit, found.to) is not None
        if changes and found.type != "number":
            raise section.fault("type", f"{found.type} cannot be converted.", "Use `type: number`.")
    return found


def read_conversion(section: Section, unit: str, to: str) -> Conversion | None:
    """Return how a value in `unit` becomes one in `to`; InvalidError (MappingInvalid) where it does not."""
    try:
        return conversion(unit, to)
    except InvalidError as error:
        raise section.fault("unit", error.message, error.hint) from error


def is_json(value: object) -> bool:
    """Whether a value of a YAML file is one that JSON has, too, NaN and null excepted."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (str, bool, int))
