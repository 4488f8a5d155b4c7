"""What the change feed is told of twins and relationships, and the documents that can be made of it. Pure.

Told are the facts, not the documents: many are told and few are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gemel.graph.etag import etag
from gemel.graph.live import Held, LiveTwin, TwinRow
from gemel.graph.relationship_reading import StoredRelationship

__all__ = [
    "relationship_documents",
    "told_relationship",
    "told_twin",
    "told_whole_row",
    "told_whole_twin",
    "twin_document",
]


# As a TwinRow is told, which takes less long than a dictionary.
_Row: Any = msgspec.defstruct("_Row", TwinRow._fields, gc=False)
KNOWN = frozenset(TwinRow._fields)
NEEDED = KNOWN - TwinRow._field_defaults.keys()


def told_twin(twin: LiveTwin) -> dict[str, Any]:
    """Return what the change feed is told of a twin that changed."""
    row = twin.row
    return {"twin": row.twin_id, "no": row.twin_no, "model": row.model_id, "validFrom": row.valid_from_us}


def told_whole_twin(twin: LiveTwin) -> dict[str, Any]:
    """Return what the change feed is told of a twin that was made or deleted: all of it."""
    return told_whole_row(twin.row, twin.properties)


def told_whole_row(
    row: TwinRow, held: Mapping[str, tuple[Any, bool, int, int]], components: msgspec.Raw | None = None
) -> dict[str, Any]:
    """Return what the change feed is told of a whole twin: its row and, by path, what `Held` has.

    `components` are those of the row in MessagePack, where they are at hand.
    """
    told = _Row(*row)
    if components is not None:
        told.components = components
    return {
        "twin": row.twin_id,
        "no": row.twin_no,
        "model": row.model_id,
        "validFrom": row.valid_from_us,
        "whole": {"row": told, "held": held},
    }


def twin_document(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a twin that was made or deleted, as GET gave it after the one and before the other.

    Of what an older version told, it has id and model alone.
    """
    whole = payload.get("whole")
    if whole is None or not NEEDED <= whole["row"].keys() <= KNOWN:
        return {"$dtId": payload["twin"], "$metadata": {"$model": payload["model"]}}
    held = {path: Held(*values) for path, values in whole["held"].items()}
    return LiveTwin(TwinRow(**whole["row"]), held).document().body


def told_relationship(stored: StoredRelationship, before: StoredRelationship | None = None) -> dict[str, Any]:
    """Return what the change feed is told of a relationship: how it is, and how it was before, if it was."""
    told = {
        "twin": stored.source_id,
        "no": stored.source_no,
        "relationship": stored.relationship_id,
        "name": stored.name,
        "target": stored.target_id,
        "properties": stored.properties,
        "version": stored.recorded_us,
    }
    if before is not None:
        was = {"name": before.name, "target": before.target_id, "properties": before.properties}
        told["before"] = {**was, "version": before.recorded_us}
    return told


def relationship_documents(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the document of a relationship as it is, or was when it was deleted, and as it was before that."""
    before = payload.get("before")
    return _relationship(payload, payload), None if before is None else _relationship(payload, before)


def _relationship(payload: dict[str, Any], version: dict[str, Any]) -> dict[str, Any]:
    tag = {"$etag": etag(payload["no"], version["version"])} if "version" in version else {}
    return {
        "$relationshipId": payload["relationship"],
        **tag,
        "$sourceId": payload["twin"],
        "$relationshipName": version["name"],
        "$targetId": version["target"],
        **version["properties"],
    }
