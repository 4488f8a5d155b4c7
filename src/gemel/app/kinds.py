"""Which kinds of sources there are. What a kind needs of an extra, it imports when it is opened."""

from __future__ import annotations

from gemel.connectors.folder import FolderKind
from gemel.sources.contract import Kind

__all__ = ["source_kinds"]


def source_kinds() -> dict[str, Kind]:
    """Return the kinds by the name that descriptions call them."""
    return {"folder": FolderKind()}
