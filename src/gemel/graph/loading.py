"""Read live twins: their rows, and their state from history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from gemel.base.errors import NotFoundError
from gemel.graph.context import GraphContext
from gemel.graph.live import LiveTwin, TwinRow
from gemel.history.state import read_state
from gemel.store.database import ReadTransaction, Row

__all__ = ["FLOOR", "MICROSECONDS", "documents", "load_twin", "load_twins", "read_twins", "twin_not_found"]

MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"
COLUMNS = ", ".join(
    ["t.twin_no, t.twin_id, t.model_id, t.components"]
    + [MICROSECONDS.format(f"t.{column}") for column in ("valid_from", "created", "recorded")]
)
# When the last earlier twin of the id was deleted: before that, the id was not this twin's.
FLOOR = f"""
coalesce((SELECT max({MICROSECONDS.format("s.valid_to")}) FROM twin_span AS s
    WHERE s.tenant = current_tenant() AND s.twin_id = t.twin_id AND s.twin_no <> t.twin_no
      AND s.recorded_to = 'infinity' AND s.valid_to < 'infinity'), 0)"""
BY_ID = f"""
SELECT {COLUMNS}, {FLOOR}, t.lifecycle FROM twin AS t
WHERE t.tenant = current_tenant() AND t.twin_id = ANY(%s)"""
WITHOUT_FLOOR = f"""
SELECT {COLUMNS}, 0, t.lifecycle FROM twin AS t
WHERE t.tenant = current_tenant() AND t.twin_id = ANY(%s)"""
BY_NO = f"""
SELECT {COLUMNS}, 0, t.lifecycle FROM twin AS t
WHERE t.tenant = current_tenant() AND t.twin_no = ANY(%s)"""


async def load_twins(
    tx: ReadTransaction, context: GraphContext, twin_ids: Collection[str]
) -> dict[str, LiveTwin]:
    """Return those of the twins that exist, by id, ready to be changed; in two queries."""
    rows = await tx.rows(BY_ID, (list(twin_ids),))
    return {twin.row.twin_id: twin for twin in await _with_state(tx, context, rows)}


async def read_twins(
    tx: ReadTransaction, context: GraphContext, twin_ids: Collection[str]
) -> dict[str, LiveTwin]:
    """Return those of the twins that exist, by id, to be read, without their floors; in two queries."""
    rows = await tx.rows(WITHOUT_FLOOR, (list(twin_ids),))
    return {twin.row.twin_id: twin for twin in await _with_state(tx, context, rows)}


async def load_twin(tx: ReadTransaction, context: GraphContext, twin_id: str) -> LiveTwin:
    """Return a twin to be read, without its floor. Raises NotFoundError (DigitalTwinNotFound)."""
    twins = await read_twins(tx, context, [twin_id])
    if twin_id not in twins:
        raise twin_not_found(twin_id)
    return twins[twin_id]


async def documents(
    tx: ReadTransaction, context: GraphContext, twin_nos: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the bodies of twins by their numbers, in that order, as GET gives them; missing ones are left out."""
    twins = await _with_state(tx, context, await tx.rows(BY_NO, (list(twin_nos),)))
    bodies = {twin.row.twin_no: twin.document().body for twin in twins}
    return [bodies[twin_no] for twin_no in twin_nos if twin_no in bodies]


def twin_not_found(twin_id: str) -> NotFoundError:
    """Return the error of a twin that does not exist."""
    return NotFoundError(
        "DigitalTwinNotFound",
        f"There is no digital twin instance that exists with the ID {twin_id}. "
        "Please verify that the twin id is valid and ensure that the twin is not deleted.",
    )


async def _with_state(tx: ReadTransaction, context: GraphContext, rows: Sequence[Row]) -> list[LiveTwin]:
    twins = [TwinRow(*row) for row in rows]
    state = await read_state(tx, context.paths, [twin.twin_no for twin in twins]) if twins else {}
    return [LiveTwin.of(twin, state[twin.twin_no]) for twin in twins]
