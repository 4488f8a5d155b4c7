"""Literal values of elements: strings, numbers, booleans, texts in several languages, identifiers.

Each reader returns the value, or None (nothing) after reporting why there is none. JSON-LD lets a literal
be written as a value object {"@value": ..., "@type": "xsd:..."}; the readers take both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gemel.models.contexts import Scope, term_of
from gemel.models.elements import keywords_of, values_of
from gemel.models.errors import Report
from gemel.models.language import PropertyRule, limit_of

__all__ = ["DURATION", "Literal", "read_literal"]

_XSD = "http://www.w3.org/2001/XMLSchema#"
DURATION = re.compile(
    r"P(?!$)(?:(?:(?:\d+Y|\d+\.\d+Y$)?(?:\d+M|\d+\.\d+M$)?)|(?:\d+W|\d+\.\d+W$)?)(?:\d+D|\d+\.\d+D$)?"
    r"(?:T(?!$)(?:\d+H|\d+\.\d+H$)?(?:\d+M|\d+\.\d+M$)?(?:\d+(?:\.\d+)?S)?)?",
    re.ASCII,
)
_LANGUAGE = re.compile(r"[a-z]{2,4}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+", re.ASCII)
_INT32 = range(-(2**31), 2**31)


@dataclass(slots=True)
class Literal:
    """Where a literal stands, and where to report what is wrong with it."""

    id: str
    property: str
    scope: Scope
    report: Report
    rule: PropertyRule = field(default_factory=lambda: PropertyRule("?"))
    quiet: bool = False

    def fault(self, name: str, value: object = None, rule: object = None) -> None:
        """Report one thing wrong with the value."""
        if not self.quiet:
            facts = {"id": self.id, "property": self.property, "term": term_of(self.property)}
            self.report.add(name, **facts, value=value, rule=rule)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one datatype is told apart: its name in codes, in XSD, and its test."""

    name: str
    xsd: str
    title: str
    fits: Callable[[object], bool]
    not_plain: str
    not_value: str


_KINDS = {
    kind.name: kind
    for kind in (
        _Kind(
            "string",
            "string",
            "String",
            lambda value: isinstance(value, str),
            "stringNotString",
            "stringValueNotString",
        ),
        _Kind(
            "integer",
            "integer",
            "Integer",
            lambda value: _whole(value) is not None,
            "integerNotInteger",
            "integerValueNotInteger",
        ),
        _Kind(
            "numeric",
            "decimal",
            "Numeric",
            lambda value: isinstance(value, int | float) and not isinstance(value, bool),
            "numericNotNumeric",
            "numericValueNotNumeric",
        ),
        _Kind(
            "boolean",
            "boolean",
            "Boolean",
            lambda value: isinstance(value, bool),
            "booleanNotBoolean",
            "booleanValueNotBoolean",
        ),
        _Kind(
            "duration",
            "duration",
            "Duration",
            lambda value: isinstance(value, str),
            "durationNotString",
            "durationValueNotString",
        ),
    )
}


def read_literal(at: Literal, datatype: str, raw: object) -> object:
    """Read one literal property of a datatype: a name in `_KINDS`, langString, any, dtmi, IRI or JSON."""
    if datatype == "JSON":
        return raw
    if datatype == "langString":
        return _texts(at, raw)
    values = list(values_of(raw))
    if datatype == "any":
        return _any(at, values)
    if datatype in ("dtmi", "IRI"):
        return _identifier(at, values, datatype == "dtmi")
    kind = _KINDS["numeric" if datatype == "decimal" else datatype]
    if len(values) > 1:
        at.fault(f"{kind.name}MultipleValues")
        return None
    if not values:
        if at.rule.min:
            at.fault(f"{kind.name}CountBelowMin")
        return None
    return _checked(at, kind, _plain(at, kind, values[0], kind.name, required=True))


def _whole(value: object) -> int | None:
    """A number as a 32-bit integer; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if int(value) in _INT32 else None


def _plain(at: Literal, kind: _Kind, value: object, literal: str, *, required: bool) -> object:
    """The value itself, out of a value object where it is one; None when it is not of the kind."""
    if not isinstance(value, dict):
        if kind.fits(value):
            return value
        if required:
            at.fault(kind.not_plain, value)
        return None
    _check_value_object(at, value)
    if "@value" not in value:
        at.fault(f"{literal}ObjectNoValue")
        return None
    declared = _declared(at, value)
    if declared is _SEVERAL:
        return None
    if declared is not None and declared not in (f"xsd:{kind.xsd}", _XSD + kind.xsd):
        if required:
            at.fault(f"{kind.name}TypeNot{kind.title}")
        return None
    if not kind.fits(value["@value"]):
        if required or declared is not None:
            at.fault(kind.not_value)
        return None
    found: object = value["@value"]
    return found


_SEVERAL = object()


def _declared(at: Literal, value: Mapping[str, object]) -> object:
    """The datatype that a value object states; None when it states none."""
    if "@type" not in value:
        return None
    types = value["@type"]
    if isinstance(types, str):
        return types
    if isinstance(types, list) and len(types) == 1:
        return types[0]
    at.fault("literalTypeNotSingular")
    return _SEVERAL


def _check_value_object(at: Literal, value: Mapping[str, object]) -> None:
    for key, name in (("@context", "Context"), ("@id", "Id"), ("@graph", "Graph")):
        if key in value:
            at.fault(f"valueObject{name}")
    if at.scope.version.restricts_keywords:
        if "@language" in value:
            at.fault("valueObjectLanguage")
        for keyword in keywords_of(value):
            at.fault("valueObjectKeyword", keyword)
    for key in value:
        if not key.startswith("@"):
            at.fault("valueObjectInvalidProp", key)


def _checked(at: Literal, kind: _Kind, value: object) -> object:
    """The value after the limits of its property; a breach is reported and the value kept."""
    if isinstance(value, str):
        if kind.name == "duration":
            if DURATION.fullmatch(value) is None:
                at.fault("durationInvalid", value)
                return None
        else:
            _check_text(at, value)
    elif kind.name == "integer":
        value = _whole(value)
        if value is not None:
            _check_range(at, value)
    elif kind.name == "numeric" and isinstance(value, int | float):
        _check_range(at, value)
    return value


def _check_text(at: Literal, value: str) -> None:
    longest = limit_of(at.rule.max_length, at.scope.limits)
    if len(value) > longest:
        at.fault("stringTooLong", value, longest)
    if at.rule.pattern is not None and at.rule.pattern.fullmatch(value) is None:
        at.fault("stringInvalid", value, at.rule.pattern.pattern)


def _check_range(at: Literal, value: float) -> None:
    least, most = at.rule.at_least, at.rule.at_most
    span = f"[{least}, {most}]"
    if least is not None and least == most:
        if value != least:
            at.fault("valueNotExact", value, least)
    elif least is not None and value < least:
        at.fault(*(("valueBelowMin", value, least) if most is None else ("valueBelowRange", value, span)))
    elif most is not None and value > most:
        at.fault(*(("valueAboveMax", value, most) if least is None else ("valueAboveRange", value, span)))


def _any(at: Literal, values: list[object]) -> object:
    """A string, a number or a boolean, whichever it is."""
    if len(values) != 1:
        at.fault("literalMultipleValues" if values else "literalCountBelowMin")
        return None
    value = values[0]
    for name in ("string", "integer", "numeric", "boolean"):
        kind = _KINDS[name]
        if not isinstance(value, dict) and not kind.fits(value):
            continue
        found = _plain(at, kind, value, "literal", required=False)
        if found is not None:
            return _whole(found) if name == "integer" else found
    at.fault("literalNotValid", value)
    return None


def _identifier(at: Literal, values: list[object], dtmi: bool) -> object:
    if len(values) > 1:
        at.fault("identifierMultipleValues")
        return None
    if not values:
        if at.rule.min:
            at.fault("identifierCountBelowMin")
        return None
    value = values[0]
    if not isinstance(value, str):
        at.fault("identifierNotString", value)
        return None
    found = at.scope.resolve(value)
    if found is None and not dtmi and not value.startswith("dtmi:") and _URI.fullmatch(value):
        return value
    if found is None:
        at.fault("identifierNotDtmi" if dtmi else "identifierNotUri", value)
    return found


def _texts(at: Literal, raw: object) -> dict[str, str]:
    """A text in one or several languages; a plain string is English."""
    if isinstance(raw, dict):
        return _language_map(at, raw)
    found: dict[str, str] = {}
    for value in values_of(raw):
        if isinstance(value, str):
            code, text = "en", value
        elif isinstance(value, dict):
            tagged = _tagged(at, value)
            if tagged is None:
                continue
            code, text = tagged
        else:
            at.fault("langStringElementNotStringOrObject", value)
            continue
        _check_length(at, text)
        if code in found:
            at.fault("langStringElementCodeNotUnique", code)
        else:
            found[code] = text
    return found


def _tagged(at: Literal, value: Mapping[str, object]) -> tuple[str, str] | None:
    """The language and text of {"@language": ..., "@value": ...}; None when it has none."""
    code = value.get("@language", "en")
    if not isinstance(code, str) or not code:
        at.fault("langStringElementCodeNotString")
        return None
    if _LANGUAGE.fullmatch(code) is None:
        at.fault("langStringElementInvalidCode", code)
    text = value.get("@value", "")
    if "@value" not in value:
        at.fault("langStringElementNoValue")
    elif not isinstance(text, str):
        at.fault("langStringElementValueNotString")
        return None
    _check_tagged(at, value)
    return code, text if isinstance(text, str) else ""


def _check_tagged(at: Literal, value: Mapping[str, object]) -> None:
    for key, name in (("@context", "Context"), ("@id", "Id"), ("@graph", "Graph")):
        if key in value:
            at.fault(f"langStringElement{name}")
    if at.scope.version.restricts_keywords:
        if "@type" in value:
            at.fault("langStringElementType")
        for keyword in keywords_of(value):
            at.fault("langStringElementKeyword", keyword)
    for key in value:
        if not key.startswith("@"):
            at.fault("langStringElementInvalidProp", key)


def _language_map(at: Literal, raw: Mapping[str, object]) -> dict[str, str]:
    if len(raw) == 2 and isinstance(raw.get("@language"), str) and isinstance(raw.get("@value"), str):
        at.fault("langTagValueInLangMap", f'{{"{raw["@language"]}": "{raw["@value"]}"}}')
        return {}
    found: dict[str, str] = {}
    for code, text in raw.items():
        if code.startswith("@"):
            at.fault("langMapObjKeyword", code)
            continue
        if _LANGUAGE.fullmatch(code) is None:
            at.fault("langStringInvalidCode", code)
        if isinstance(text, str):
            _check_length(at, text)
            found[code] = text
        else:
            at.fault("langStringValueNotString", code)
    return found


def _check_length(at: Literal, text: str) -> None:
    longest = limit_of(at.rule.max_length, at.scope.limits)
    if len(text) > longest:
        at.fault("langStringValueTooLong", text, longest)
