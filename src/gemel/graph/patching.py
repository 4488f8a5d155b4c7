"""JSON Patches on twins, many in one commit: each validated, ordered, audited, and with its own entity tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gemel.base.errors import GemelError
from gemel.graph.changing import Outcome, PropertySample, change_twin
from gemel.graph.context import GraphContext
from gemel.graph.etag import UNCONDITIONAL, Conditions
from gemel.graph.jsonpatch import Operation, parse_operations
from gemel.graph.live import LiveTwin, check_component
from gemel.graph.loading import load_twins, twin_not_found
from gemel.graph.names import check_twin_id
from gemel.graph.neighbours import check_model_change
from gemel.graph.twin_patch import at_component, explicit_times_us, patch_change, target_model
from gemel.graph.writing import existing_type, tell_twin, usable_type, write_properties, write_row
from gemel.observe.trace import Trace, current_trace, new_trace
from gemel.security.audit import AuditEntry, record
from gemel.store.database import Database, WriteTransaction
from gemel.store.gather import Gatherer

__all__ = ["PatchRequest", "TwinPatcher"]

GROUP_MAX = 256


@dataclass(frozen=True, slots=True)
class PatchRequest:
    """A JSON Patch (decoded) on a twin, or on its component at a dotted path.

    `audit` is the entry to append if the patch is applied; refusals are for whoever answers them to record.
    """

    twin_id: str
    component: str | None
    operations: Any
    audit: AuditEntry
    conditions: Conditions = UNCONDITIONAL


@dataclass(frozen=True, slots=True)
class _Parsed:
    request: PatchRequest
    operations: tuple[Operation, ...]
    trace: Trace


class TwinPatcher:
    """Applies patches of one tenant that arrive together in one transaction, in their order of arrival."""

    def __init__(self, db: Database, context: GraphContext) -> None:
        self._db = db
        self._context = context
        self._committer: Gatherer[_Parsed, str] = Gatherer(self._apply, weight_max=GROUP_MAX)

    async def submit(self, tenant: int, request: PatchRequest) -> str:
        """Apply a patch; return the twin's new entity tag once the change is durable.

        Raises InvalidError (InvalidArgument, JsonPatchInvalid, ValidationFailed, ModelDecommissioned),
        NotFoundError (DigitalTwinNotFound, ComponentNotFound), PreconditionError (PreconditionFailed).
        """
        check_twin_id(request.twin_id)
        operations = at_component(parse_operations(request.operations), request.component)
        await self._context.prepare(explicit_times_us(request.operations))
        return await self._committer.submit(
            tenant, _Parsed(request, operations, current_trace.get() or new_trace())
        )

    @property
    def waiting(self) -> int:
        """How many patches wait for a commit before theirs."""
        return self._committer.waiting

    async def close(self) -> None:
        """Wait until every patch that was submitted has its answer."""
        await self._committer.close()

    async def _apply(self, tenant: int, items: list[_Parsed]) -> list[str | GemelError]:
        async with self._db.write(tenant) as tx:
            twins = await load_twins(tx, self._context, {item.request.twin_id for item in items})
            samples: list[PropertySample] = []
            results: list[str | GemelError] = []
            acts: list[tuple[AuditEntry, tuple[int, int] | None]] = []
            for item in items:
                tx.follow(item.trace.traceparent)
                try:
                    before, outcome = await self._change(tx, twins, item)
                except GemelError as error:
                    results.append(error)
                    continue
                await self._write_beside_values(tx, before, outcome.twin)
                twins[item.request.twin_id] = outcome.twin
                samples.extend(outcome.samples)
                results.append(outcome.twin.etag)
                acts.append((item.request.audit, tx.sign()))
            await write_properties(tx, self._context, samples)
            await record(tx, [entry for entry, _ in acts], [signed for _, signed in acts])
        return results

    async def _change(
        self, tx: WriteTransaction, twins: dict[str, LiveTwin], item: _Parsed
    ) -> tuple[LiveTwin, Outcome]:
        twin = twins.get(item.request.twin_id)
        if twin is None:
            raise twin_not_found(item.request.twin_id)
        if item.request.component is not None:
            check_component(twin.row, item.request.component)
        item.request.conditions.check(twin.etag, "twin", twin.row.twin_id)
        before = after = await existing_type(tx, self._context.library, twin.row.model_id)
        model_id = target_model(item.operations)
        if model_id is not None and model_id != twin.row.model_id:
            after = await usable_type(tx, self._context.library, model_id)
            await check_model_change(tx, self._context, twin.row.twin_no, after)
        change = patch_change(twin, item.operations, before, after)
        stamp_us = tx.stamp()
        return twin, change_twin(twin, change, stamp_us, self._context.limits(tx, stamp_us))

    async def _write_beside_values(self, tx: WriteTransaction, before: LiveTwin, after: LiveTwin) -> None:
        await write_row(tx, self._context, before, after)
        if after.row.model_id != before.row.model_id:
            await tell_twin(tx, "twin.updated", after, previousModel=before.row.model_id)
