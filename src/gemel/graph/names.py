"""Which texts may be the id of a twin, of a relationship, or of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gemel.base.errors import InvalidError
from gemel.models.dtmi import parse_dtmi

__all__ = [
    "ID_PATTERN",
    "are_ids",
    "check_model_id",
    "check_relationship_id",
    "check_twin_id",
    "is_model_id",
    "is_twin_id",
]

ID_PATTERN = r"[A-Za-z0-9\-.+%_#*?!(),=@$']{1,128}"
"""What the id of a twin or a relationship looks like."""

ID = re.compile(ID_PATTERN)
DTMI_LENGTH_MAX = 2048
SHOWN_MAX = 140


def is_twin_id(text: str) -> bool:
    """Say whether a text may be the id of a twin."""
    return ID.fullmatch(text) is not None


def are_ids(texts: Iterable[str]) -> bool:
    """Say whether each text may be the id of a relationship."""
    return all(map(ID.fullmatch, texts))


def is_model_id(text: str) -> bool:
    """Say whether a text may be the id of a model: a DTMI without a fragment."""
    parts = parse_dtmi(text) if len(text) <= DTMI_LENGTH_MAX else None
    return parts is not None and not parts.fragment


def check_twin_id(text: str) -> None:
    """Raise InvalidError (InvalidArgument) unless the text may be the id of a twin."""
    _check(text, "twin")


def check_relationship_id(text: str) -> None:
    """Raise InvalidError (InvalidArgument) unless the text may be the id of a relationship."""
    _check(text, "relationship")


def check_model_id(text: str) -> None:
    """Raise InvalidError (InvalidArgument) unless the text may be the id of a model."""
    if not is_model_id(text):
        raise InvalidError("InvalidArgument", f"{_shown(text)} is not a model id.", "Use dtmi:path:name;1.")


def _check(text: str, kind: str) -> None:
    if ID.fullmatch(text) is None:
        raise InvalidError(
            "InvalidArgument",
            f"{_shown(text)} is not a {kind} id: it must have 1 to 128 characters out of "
            "ASCII letters, digits and -.+%_#*?!(),=@$'",
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…")
