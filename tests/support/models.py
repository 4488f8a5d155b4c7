"""Small models for tests: a pump with a motor, in DTDL v3, and a plain interface of either version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gemel.models import ModelParsingError, parse

__all__ = ["CONTEXT_V2", "CONTEXT_V3", "MOTOR", "PUMP", "SITE", "Document", "codes", "interface", "prop"]

Document = dict[str, Any]

CONTEXT_V2 = "dtmi:dtdl:context;2"
CONTEXT_V3 = ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"]


def interface(dtmi: str, *contents: Document, **more: Any) -> Document:
    """An interface with contents, DTDL v3 unless another @context is given."""
    document = {"@context": CONTEXT_V3, "@id": dtmi, "@type": "Interface", "contents": list(contents)}
    context = more.pop("context", None)
    return document | ({"@context": context} if context is not None else {}) | more


def prop(name: str, schema: object = "double", **more: Any) -> Document:
    """A property of a schema."""
    return {"@type": "Property", "name": name, "schema": schema} | more


def codes(documents: Iterable[object], **options: Any) -> list[str]:
    """The short codes of what is wrong with documents; none when they parse."""
    try:
        parse(list(documents), **options)
    except ModelParsingError as error:
        return [each.code.removeprefix("dtmi:dtdl:parsingError:") for each in error.errors]
    return []


MOTOR = interface(
    "dtmi:test:motor;1",
    {
        "@type": ["Telemetry", "Temperature"],
        "name": "temperature",
        "schema": "double",
        "unit": "degreeCelsius",
    },
    prop("serial", "string", writable=True),
)

SITE = interface(
    "dtmi:test:asset;1",
    prop("label", "string", displayName={"en": "Label", "de": "Bezeichnung"}),
    {
        "@type": "Relationship",
        "name": "feeds",
        "target": "dtmi:test:asset;1",
        "maxMultiplicity": 3,
        "properties": [prop("since", "date")],
    },
)

PUMP = interface(
    "dtmi:test:pump;1",
    {
        "@type": ["Property", "AngularVelocity"],
        "name": "speed",
        "schema": "float",
        "unit": "revolutionPerMinute",
    },
    prop("runs", "integer"),
    prop("hours", "long"),
    prop("place", "point"),
    prop(
        "mode",
        {
            "@type": "Enum",
            "valueSchema": "string",
            "enumValues": [{"name": "off", "enumValue": "OFF"}, {"name": "on", "enumValue": "ON"}],
        },
    ),
    {"@type": "Component", "name": "motor", "schema": "dtmi:test:motor;1"},
    {
        "@type": "Command",
        "name": "start",
        "request": {"name": "ramp", "schema": "duration"},
        "response": {"name": "started", "schema": "boolean"},
    },
    extends="dtmi:test:asset;1",
    displayName="Pump",
    description={"en": "Moves water"},
)
