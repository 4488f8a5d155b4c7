"""Keeps secrets out of logs: tokens, bearer headers, passwords in database URLs, and fields by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["redact", "redact_text"]

HIDDEN = "[redacted]"
SECRET_NAMES = re.compile(
    r"authorization|token|secret|password|passwd|hmac|api_?key|cookie|digest", re.IGNORECASE
)
SECRETS = (
    (re.compile(r"\bgk_([0-9a-z]{1,6}_[a-z2-7]{8})_[A-Za-z0-9_-]+"), rf"gk_\1_{HIDDEN}"),
    (re.compile(r"\b(bearer)\s+(?!gk_)[^\s'\",;]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(\w+://[^\s/:@]*):[^\s/@]+@"), rf"\1:{HIDDEN}@"),
    (
        re.compile(r"\b(password|passwd|secret)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s'\",;&]+)", re.IGNORECASE),
        rf"\1\2{HIDDEN}",
    ),
)


def redact_text(text: str) -> str:
    """Return the text with what looks like a secret replaced; a token keeps its public prefix and key id."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, name: str = "") -> Any:
    """Return a value of a log entry with its secrets replaced, inside mappings and sequences too."""
    if name and SECRET_NAMES.search(name) and value is not None and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return value if value is None or isinstance(value, int | float) else redact_text(str(value))
