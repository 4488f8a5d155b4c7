"""Move the twins of one model to another: which would not fit and why, and the move, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gemel.base.errors import GemelError, InvalidError, NotFoundError
from gemel.graph.content import value_fault
from gemel.graph.context import GraphContext
from gemel.graph.live import LiveTwin
from gemel.graph.loading import read_twins
from gemel.graph.names import check_model_id
from gemel.graph.neighbours import model_change_faults
from gemel.graph.paging import Listing
from gemel.graph.patching import PatchRequest, TwinPatcher
from gemel.graph.timeline import FOREVER_US
from gemel.graph.writing import existing_type, usable_type
from gemel.models import TwinType
from gemel.security.audit import AuditEntry
from gemel.store.database import Database, ReadTransaction

__all__ = ["Misfit", "Move", "Upgrade", "UpgradePage", "Upgrader", "fit_values", "upgrade_operations"]

TOKEN = "upgrade"
PAGE = """
SELECT twin_no, twin_id FROM twin WHERE tenant = current_tenant() AND model_id = %s AND twin_no > %s
ORDER BY twin_no LIMIT %s"""


class Misfit(NamedTuple):
    """What of a twin does not fit the other model, by its dotted path (empty for the twin), and why."""

    twin: str
    path: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What is asked: from which model to which; whether it is only looked at; whether misfitting values go.

    With `drop`, values that do not fit are removed, which their history keeps; else their twins stay as they are.
    Twins whose relationships would not fit stay in any case.
    """

    source: str
    target: str
    dry_run: bool = True
    drop: bool = False


@dataclass(frozen=True, slots=True)
class UpgradePage:
    """What became of a page of twins: how many were looked at and moved, or would be; what did not fit."""

    examined: int
    moved: int
    misfits: list[Misfit]
    token: str | None


class Move(NamedTuple):
    """A twin, its types before and after, and why its relationships would not fit, if so."""

    twin: LiveTwin
    before: TwinType
    after: TwinType
    fault: InvalidError | None = None


def fit_values(twin: LiveTwin, after: TwinType) -> tuple[dict[str, Any], list[Misfit]]:
    """Return the values of a twin that fit a type once written anew, by path, and those that do not fit.

    A whole number that was stored as a double is written anew where the type has an integer, but for a
    decommissioned twin, which takes no value.
    """
    closed = twin.row.decommissioned_us != FOREVER_US
    anew: dict[str, Any] = {}
    misfits: list[Misfit] = []
    for path, held in twin.properties.items():
        if held.removed:
            continue
        slot, value = after.slots.get(path), held.value
        fault = value_fault(path, slot, value)
        if fault is None:
            continue
        whole = (
            isinstance(value, float) and value.is_integer() and value_fault(path, slot, int(value)) is None
        )
        if whole and not closed:
            anew[path] = int(value)
        else:
            fault = f"{fault} A decommissioned twin is not written anew." if whole else fault
            misfits.append(Misfit(twin.row.twin_id, path, value, fault))
    return anew, misfits


def upgrade_operations(move: Move, anew: Mapping[str, Any], dropped: Collection[str]) -> list[dict[str, Any]]:
    """Return the JSON Patch that gives a twin another model: new components come empty, old ones go.

    `anew` are values to write anew, and `dropped` values to remove, by path.
    """
    twin, before, after, _ = move
    gone = [path for path in before.components if path not in after.components]
    outermost = [path for path in gone if not any(path.startswith(f"{other}.") for other in gone)]
    removed = [path for path in sorted(dropped) if not any(path.startswith(f"{each}.") for each in outermost)]
    added = [path for path in sorted(after.components) if path not in twin.row.components]
    return [
        {"op": "replace", "path": "/$metadata/$model", "value": after.model},
        *({"op": "replace", "path": _pointer(path), "value": value} for path, value in anew.items()),
        *({"op": "remove", "path": _pointer(path)} for path in removed),
        *({"op": "remove", "path": _pointer(path)} for path in outermost if path in twin.row.components),
        *({"op": "add", "path": _pointer(path), "value": {"$metadata": {}}} for path in added),
    ]


class Upgrader:
    """Upgrades twins of any tenant, through the patcher: a twin is moved like by a patch of its own.

    So each move is in the twin's history, the change feed and the audit trail, and is judged again under the
    tenant's lock. Whatever stops a page, going on from the start moves what is left.
    """

    def __init__(self, database: Database, context: GraphContext, patcher: TwinPatcher) -> None:
        self._database = database
        self._context = context
        self._patcher = patcher

    async def page(
        self, tenant: int, upgrade: Upgrade, audit: AuditEntry, size: int, token: str | None
    ) -> UpgradePage:
        """Look at the next twins of the model and, unless it is a dry run, move those that fit.

        `audit` is what the trail says of each, with the twin as its target. Raises NotFoundError
        (ModelNotFound), InvalidError (InvalidArgument, ModelDecommissioned).
        """
        listing = Listing(tenant, TOKEN, (upgrade.source, upgrade.target, upgrade.dry_run))
        after_no = listing.decode(token, no=int)["no"] if token is not None else -1
        async with self._database.read(tenant) as tx:
            before, after = await self._types(tx, upgrade)
            rows = await tx.rows(PAGE, (upgrade.source, after_no, size + 1))
            found = await read_twins(tx, self._context, [row[1] for row in rows[:size]])
            bound = await model_change_faults(
                tx, self._context, dict.fromkeys([row[0] for row in rows[:size]], after)
            )
        moves = [Move(found[row[1]], before, after, bound.get(row[0])) for row in rows[:size]]
        results = await asyncio.gather(*(self._one(tenant, upgrade, audit, move) for move in moves))
        return UpgradePage(
            examined=len(moves),
            moved=sum(moved for moved, _ in results),
            misfits=[misfit for _, misfits in results for misfit in misfits],
            token=listing.encode(no=rows[size - 1][0]) if len(rows) > size else None,
        )

    async def _types(self, tx: ReadTransaction, upgrade: Upgrade) -> tuple[TwinType, TwinType]:
        for model_id in (upgrade.source, upgrade.target):
            check_model_id(model_id)
        if upgrade.source == upgrade.target:
            raise InvalidError("InvalidArgument", f"{upgrade.source} is to be upgraded to itself.")
        models = await self._context.library.models(tx)
        models.interface(upgrade.source)
        models.interface(upgrade.target)
        before = await existing_type(tx, self._context.library, upgrade.source)
        return before, await usable_type(tx, self._context.library, upgrade.target)

    async def _one(
        self, tenant: int, upgrade: Upgrade, audit: AuditEntry, move: Move
    ) -> tuple[bool, list[Misfit]]:
        """Say whether a twin was moved, or would be, and what of it does not fit."""
        anew, misfits = fit_values(move.twin, move.after)
        if move.fault is not None:
            return False, [*misfits, *_told(move.twin, move.fault)]
        stays = bool(misfits) and not upgrade.drop
        if stays or upgrade.dry_run:
            return not stays, misfits
        twin_id = move.twin.row.twin_id
        operations = upgrade_operations(move, anew, [misfit.path for misfit in misfits])
        request = PatchRequest(twin_id, None, operations, replace(audit, target=twin_id))
        try:
            await self._patcher.submit(tenant, request)
        except (InvalidError, NotFoundError) as error:
            return False, [*misfits, *_told(move.twin, error)]
        return True, misfits


def _told(twin: LiveTwin, error: GemelError) -> list[Misfit]:
    reasons = [detail.message for detail in error.details] or [error.message]
    return [Misfit(twin.row.twin_id, "", None, reason) for reason in reasons]


def _pointer(path: str) -> str:
    return "/" + path.replace(".", "/")
