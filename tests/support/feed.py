"""What the rows of the change feed hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gemel.history.changes import TOLD

__all__ = ["KINDS", "kinds_of"]

KINDS = "SELECT kind, CASE kind WHEN 'told' THEN body ELSE '' END FROM change WHERE tenant = current_tenant()"
"""Rows for `kinds_of`, of one tenant."""


def kinds_of(rows: Iterable[Any]) -> list[str]:
    """Return the kind of each change in rows of kind and body, where one row may hold many changes."""
    found: list[str] = []
    for kind, body in rows:
        found += [kind] if kind != TOLD else [told[0] for told in msgspec.msgpack.decode(body)]
    return found
