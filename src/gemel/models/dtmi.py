"""Digital twin model identifiers: their shape and their parts.

Source: the Digital Twin Model Identifier specification (github.com/Azure/digital-twin-model-identifier).
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["DTMI_PATTERN", "Dtmi", "child_id", "parse_dtmi", "versionless"]

_LABEL = r"(?:_+[A-Za-z0-9]|[A-Za-z])(?:[A-Za-z0-9_]*[A-Za-z0-9])?"
DTMI_PATTERN = rf"dtmi:{_LABEL}(?::{_LABEL})*(?:;[1-9][0-9]{{0,8}}(?:\.[1-9][0-9]{{0,5}})?)?"
"""What the identifier of a model looks like."""

_DTMI = re.compile(
    rf"dtmi:(?P<path>{_LABEL}(?::{_LABEL})*)"
    r"(?:;(?P<major>[1-9][0-9]{0,8})(?:\.(?P<minor>[1-9][0-9]{0,5}))?)?"
    rf"(?P<fragment>\#(?:{_LABEL})?)?",
    re.ASCII,
)


class Dtmi(NamedTuple):
    """The parts of an identifier; a version that is not stated is 0."""

    labels: tuple[str, ...]
    major: int
    minor: int
    fragment: str

    @property
    def versionless(self) -> str:
        """The identifier without its version."""
        return f"dtmi:{':'.join(self.labels)}{self.fragment}"

    @property
    def reserved(self) -> bool:
        """Whether a label starts with an underscore: such names are for systems, not for authors."""
        return any(label.startswith("_") for label in (*self.labels, self.fragment[1:]))


def parse_dtmi(text: str) -> Dtmi | None:
    """Split an identifier into its parts; None when it is not one."""
    match = _DTMI.fullmatch(text)
    if match is None:
        return None
    return Dtmi(
        labels=tuple(match["path"].split(":")),
        major=int(match["major"] or 0),
        minor=int(match["minor"] or 0),
        fragment=match["fragment"] or "",
    )


def versionless(text: str) -> str:
    """Cut the version off an identifier that is known to be well formed."""
    return text.partition(";")[0]


def child_id(parent_id: str, property_name: str, segment: str | None) -> str:
    """Name an element that has no @id after its parent, the property that holds it and its own name."""
    path, mark, version = parent_id.partition(";")
    tail = f":__{segment}" if segment is not None else ""
    return f"{path}:_{versionless(property_name)}{tail}{mark}{version}"
