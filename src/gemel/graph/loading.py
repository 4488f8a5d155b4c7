"""Read twins, as they are or as they were at a moment: their rows, and their state from history."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from gemel.base.errors import NotFoundError
from gemel.graph.context import GraphContext
from gemel.graph.live import LiveTwin, TwinRow
from gemel.graph.timeline import FOREVER_US
from gemel.history.cold import is_frozen, stage_state
from gemel.history.moment import LIVE, Moment, check_kept, span_then
from gemel.history.state import STATE_COLUMNS, read_state, state_by_twin, state_from, state_join, state_of
from gemel.store.columns import texts
from gemel.store.database import ReadTransaction, Row, Statement

__all__ = [
    "DECOMMISSIONED",
    "FLOOR",
    "MICROSECONDS",
    "STAMPED",
    "documents",
    "load_twin",
    "load_twins",
    "named_documents",
    "read_twins",
    "twin_not_found",
]

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
DECOMMISSIONED = f"""
CASE WHEN t.lifecycle = 'decommissioned' THEN coalesce({MICROSECONDS.format("t.lifecycle_from")}, 0)
     ELSE {FOREVER_US} END"""
BY_ID = f"""
SELECT {COLUMNS}, {FLOOR}, t.lifecycle, {DECOMMISSIONED} FROM twin AS t
WHERE t.tenant = current_tenant() AND t.twin_id = ANY(%s)"""
WITHOUT_FLOOR = f"{COLUMNS}, 0, t.lifecycle, {DECOMMISSIONED}"
BY_IDS = f"SELECT {WITHOUT_FLOOR} FROM twin AS t WHERE t.tenant = current_tenant() AND t.twin_id = ANY(%s)"
BY_NO = (
    f"SELECT {WITHOUT_FLOOR} FROM twin AS t WHERE t.tenant = current_tenant() AND t.twin_no = ANY({{nos}})"
)


# Of a twin's span `s`: the twin was created when it was first recorded, and its row is of its last stamp, which a
# put or a change of model or lifecycle leaves.
CREATED = """(SELECT min(f.recorded_from) FROM twin_span AS f
    WHERE f.tenant = current_tenant() AND f.twin_no = s.twin_no)"""
STAMPED = f"""coalesce((SELECT max(f.recorded) FROM twin_stamp AS f
    WHERE f.tenant = current_tenant() AND f.twin_no = s.twin_no
      AND f.valid_from <= %(as_of)s AND f.recorded <= %(known_at)s), {CREATED})"""
COLUMNS_THEN = f"""
s.twin_no, s.twin_id, s.model_id, s.components, {MICROSECONDS.format("s.valid_from")},
{MICROSECONDS.format(CREATED)}, {MICROSECONDS.format(STAMPED)}, 0, s.lifecycle, {FOREVER_US}"""
WHERE_THEN = "s.tenant = current_tenant() AND {then}"
BY_IDS_THEN = f"SELECT {COLUMNS_THEN} FROM twin_span AS s WHERE {WHERE_THEN} AND s.twin_id = ANY(%(ids)s)"
BY_NO_THEN = f"SELECT {COLUMNS_THEN} FROM twin_span AS s WHERE {WHERE_THEN} AND s.twin_no = ANY({{nos}})"
GIVEN = "%(nos)s::int[]"
NAMED = "nullif(current_setting('gemel.page', true), '')::int[]"
NAMING = """
WITH page (no) AS MATERIALIZED ({})
SELECT page.*, (SELECT set_config('gemel.page', array_agg(no)::text, true) FROM page) FROM page"""
Document = dict[str, Any]
# One twin is read with its state, in one statement whose plan is kept; what is of the twin is looked up once.
LIVE_ROW = f"SELECT {WITHOUT_FLOOR} FROM twin AS t WHERE t.tenant = current_tenant() AND t.twin_id = %(id)s"
NUMBERS = "SELECT DISTINCT twin_no FROM twin_span WHERE tenant = current_tenant() AND twin_id = %s"
THEN_ROW = f"SELECT {COLUMNS_THEN} FROM twin_span AS s WHERE {WHERE_THEN} AND s.twin_id = %(id)s"
ONE = f"""
SELECT t.*, {STATE_COLUMNS} FROM ({{row}} OFFSET 0) AS t ({", ".join(TwinRow._fields)}) {{state}}
ORDER BY l.series"""


async def load_twins(
    tx: ReadTransaction, context: GraphContext, twin_ids: Collection[str]
) -> dict[str, LiveTwin]:
    """Return those of the twins that exist, by id, ready to be changed; in two queries."""
    rows = await tx.rows(BY_ID, (texts(list(twin_ids)),))
    return {twin.row.twin_id: twin for twin in await _with_state(tx, context, rows)}


async def read_twins(
    tx: ReadTransaction, context: GraphContext, twin_ids: Collection[str], moment: Moment = LIVE
) -> dict[str, LiveTwin]:
    """Return those of the twins that exist at a moment, by id, to be read, without their floors; in few queries.

    Raises InvalidError (MomentBeforeRetention).
    """
    if len(twin_ids) == 1:
        (twin_id,) = twin_ids
        found = await _one(tx, context, twin_id, moment)
        return {} if found is None else {twin_id: found}
    if moment == LIVE:
        rows = await tx.rows(BY_IDS, (texts(list(twin_ids)),))
    else:
        rows = await tx.rows(
            BY_IDS_THEN.format(then=span_then(moment, "s")),
            moment.parameters | {"ids": texts(list(twin_ids))},
        )
    return {twin.row.twin_id: twin for twin in await _with_state(tx, context, rows, moment)}


async def load_twin(
    tx: ReadTransaction, context: GraphContext, twin_id: str, moment: Moment = LIVE
) -> LiveTwin:
    """Return a twin to be read, without its floor.

    Raises NotFoundError (DigitalTwinNotFound), InvalidError (MomentBeforeRetention).
    """
    twins = await read_twins(tx, context, [twin_id], moment)
    if twin_id not in twins:
        raise twin_not_found(twin_id)
    return twins[twin_id]


async def documents(
    tx: ReadTransaction, context: GraphContext, twin_nos: Sequence[int], moment: Moment = LIVE
) -> dict[int, Document]:
    """Return the bodies of those twins that there are, by their numbers, as GET gives them; in one round trip."""
    check_kept(tx, moment)
    await stage_state(tx, twin_nos, moment)
    given = moment.parameters | {"nos": list(twin_nos)}
    own, state = (Statement(text, given) for text in _documents_of(GIVEN, moment))
    return await _bodies(tx, context, *await tx.together(own, state))


async def named_documents(
    tx: ReadTransaction, context: GraphContext, naming: Statement, moment: Moment = LIVE
) -> tuple[list[Row], dict[int, Document]]:
    """Run a statement whose first column is the numbers of twins; return its rows, and the bodies of the twins.

    It takes one round trip: the database keeps the numbers for the statements that follow. Where files may be needed
    it takes several.
    """
    check_kept(tx, moment)
    if is_frozen(tx, moment):
        rows = await tx.rows(*naming[:2], keeps_plan=naming.keeps_plan)
        return rows, await documents(tx, context, [row[0] for row in rows if row[0] is not None], moment)
    page = naming._replace(sql=NAMING.format(naming.sql))
    own, state = (Statement(text, moment.parameters) for text in _documents_of(NAMED, moment))
    rows, *found = await tx.together(page, own, state)
    return [row[:-1] for row in rows], await _bodies(tx, context, *found)


def _documents_of(twin_nos: str, moment: Moment) -> tuple[str, str]:
    own = BY_NO if moment == LIVE else BY_NO_THEN
    return own.format(nos=twin_nos, then=span_then(moment, "s")), state_of(twin_nos, moment)


async def _bodies(
    tx: ReadTransaction, context: GraphContext, rows: Sequence[Row], values: Sequence[Row]
) -> dict[int, Document]:
    twins = list(map(TwinRow._make, rows))
    state = await state_by_twin(tx, context.paths, [twin.twin_no for twin in twins], values)
    return {twin.twin_no: LiveTwin.of(twin, state[twin.twin_no]).document().body for twin in twins}


def twin_not_found(twin_id: str) -> NotFoundError:
    """Return the error of a twin that does not exist."""
    return NotFoundError(
        "DigitalTwinNotFound",
        f"There is no digital twin instance that exists with the ID {twin_id}. "
        "Please verify that the twin id is valid and ensure that the twin is not deleted.",
    )


async def _one(tx: ReadTransaction, context: GraphContext, twin_id: str, moment: Moment) -> LiveTwin | None:
    check_kept(tx, moment)
    state = state_join("t.twin_no", moment)
    if moment == LIVE:
        rows = await tx.rows(ONE.format(row=LIVE_ROW, state=state), {"id": twin_id})
    else:
        if is_frozen(tx, moment):
            await stage_state(tx, [row[0] for row in await tx.rows(NUMBERS, (twin_id,))], moment)
        sql = ONE.format(row=THEN_ROW.format(then=span_then(moment, "s")), state=state)
        rows = await tx.rows(sql, moment.parameters | {"id": twin_id})
    if not rows:
        return None
    width = len(TwinRow._fields)
    values = [row[width:] for row in rows if row[width] is not None]
    return LiveTwin.of(TwinRow(*rows[0][:width]), await state_from(tx, context.paths, values))


async def _with_state(
    tx: ReadTransaction, context: GraphContext, rows: Sequence[Row], moment: Moment = LIVE
) -> list[LiveTwin]:
    twins = [TwinRow(*row) for row in rows]
    numbers = [twin.twin_no for twin in twins]
    state = await read_state(tx, context.paths, numbers, moment) if twins else {}
    return [LiveTwin.of(twin, state[twin.twin_no]) for twin in twins]
