"""Whoever looks at messages before they are mapped, and says which of them must not be taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Broken", "Looker"]


class Broken(NamedTuple):
    """Why a message must not be taken: code and text, the contract, and the JSON Pointer of the place, if there is."""

    code: str
    problem: str
    contract: str
    place: str | None = None


class Looker(Protocol):
    """Looks at the payloads of a batch, or of a part of it."""

    def wanted(self, count: int) -> range:
        """Return which of so many messages are to be shown, one after the other."""

    def look(self, payloads: Sequence[Any], received_us: int, skipped: int = 0) -> Mapping[int, Broken]:
        """Return what must not be taken, by its place. A payload that could not be read is given as bytes.

        `skipped` is how many of the batch are not shown.
        """
