"""The changelog of models: what became of each, who did it, and what a new version changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from gemel.base.clock import from_us
from gemel.models import Change, ModelSet, diff_models
from gemel.models.dtmi import parse_dtmi
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["CHANGES_MAX", "ModelLogEntry", "added_entries", "append_log", "read_log", "versions_of"]

CHANGES_MAX = 200
"""How many changes from the version before an entry keeps."""

INSERT = """
INSERT INTO model_log (tenant, model_id, recorded, actor, kind, note, changes)
SELECT current_tenant(), e.id, %s, e.actor, e.kind, e.note, e.changes::jsonb
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) AS e (id, actor, kind, note, changes)"""
READ = """
SELECT log_no, recorded, actor, kind, note, changes FROM model_log
WHERE tenant = current_tenant() AND model_id = %s ORDER BY log_no DESC LIMIT %s"""


@dataclass(frozen=True, slots=True)
class ModelLogEntry:
    """One thing that became of a model.

    `kind` is added, decommissioned, recommissioned, deprecated, undeprecated, upgraded, noted or deleted;
    `changes` are those from the version before, where it was added beside one.
    """

    model_id: str
    actor: str | None
    kind: str
    note: str = ""
    changes: tuple[Change, ...] = ()


def versions_of(models: ModelSet, model_id: str) -> list[str]:
    """Return the models of a set that differ from a model in no more than the version, itself too, in order."""
    return _by_base(models).get(model_id.partition(";")[0], [])


def added_entries(models: ModelSet, added: Sequence[str], actor: str | None) -> list[ModelLogEntry]:
    """Return the entries of models that were added to a set, each compared with the version before it."""
    entries = []
    bases = _by_base(models)
    for model_id in added:
        versions = bases[model_id.partition(";")[0]]
        place = versions.index(model_id)
        changes: tuple[Change, ...] = ()
        note = ""
        if place:
            before = versions[place - 1]
            changes = diff_models(models, before, models, model_id)
            breaking = sum(not change.compatible for change in changes)
            note = f"{len(changes)} changes from {before}, {breaking} of them breaking"
        entries.append(ModelLogEntry(model_id, actor, "added", note, changes))
    return entries


async def append_log(tx: WriteTransaction, entries: Sequence[ModelLogEntry]) -> None:
    """Append entries, all at the transaction's time."""
    if not entries:
        return
    changes = [
        msgspec.json.encode([asdict(each) for each in entry.changes[:CHANGES_MAX]]).decode()
        for entry in entries
    ]
    columns = ([getattr(entry, name) for entry in entries] for name in ("model_id", "actor", "kind", "note"))
    await tx.execute(INSERT, (from_us(tx.stamp()), *columns, changes))


async def read_log(tx: ReadTransaction, model_id: str, limit: int) -> list[dict[str, Any]]:
    """Return the newest entries of a model, newest first, as the API gives them."""
    rows = await tx.rows(READ, (model_id, limit))
    return [
        {"number": no, "at": at, "actor": actor, "kind": kind, "note": note, "changes": changes}
        for no, at, actor, kind, note, changes in rows
    ]


def _by_base(models: ModelSet) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in models.ids:
        found.setdefault(each.partition(";")[0], []).append(each)
    return {base: sorted(versions, key=_version) for base, versions in found.items()}


def _version(model_id: str) -> tuple[int, int]:
    parts = parse_dtmi(model_id)
    return (0, 0) if parts is None else (parts.major, parts.minor)
