"""State: the last sample of each series of some twins, now or at a moment of the past."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from gemel.history.cold import stage_state
from gemel.history.moment import LIVE, Moment, check_kept, last_samples
from gemel.history.paths import PATH_BITS, PathKey, Paths, path_no_of, series_of, twin_no_of
from gemel.history.promoted import forget_promoted
from gemel.history.values import QUALITIES, REMOVED, decode
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "STATE_COLUMNS",
    "StateValue",
    "forget_states",
    "read_series",
    "read_state",
    "state_by_twin",
    "state_from",
    "state_join",
    "state_of",
]

STATE_COLUMNS = """
l.series, (extract(epoch FROM l.source_time) * 1000000)::bigint, (extract(epoch FROM l.recorded) * 1000000)::bigint,
l.num, l.kind, l.doc, l.revision, l.quality"""
# The bounds come as parameters: an operator that is not leakproof, such as <<, would keep row-level security
# from using the index.
TWINS = f"""(SELECT no::bigint << {PATH_BITS} AS low, no::bigint + 1 << {PATH_BITS} AS high
    FROM unnest({{nos}}) AS no OFFSET 0) AS t"""
RANGE = "tenant = current_tenant() AND series >= t.low AND series < t.high"
READ = f"""
SELECT {STATE_COLUMNS} FROM {TWINS}
CROSS JOIN LATERAL {{samples}} AS l
ORDER BY l.series"""
NOW = f"(SELECT * FROM latest WHERE {RANGE} OFFSET 0)"

ROW = "tenant, series, source_time, recorded, num, kind, doc, revision, quality"

FORGET = f"""
WITH gone AS (
    DELETE FROM latest WHERE tenant = current_tenant() AND series = ANY(ARRAY(
        SELECT l.series FROM unnest(%s::bigint[], %s::bigint[]) AS t (low, high)
        CROSS JOIN LATERAL (
            SELECT series FROM latest
            WHERE tenant = current_tenant() AND series >= t.low AND series < t.high OFFSET 0) AS l))
    RETURNING {ROW})
INSERT INTO latest_ended ({ROW}) SELECT {ROW} FROM gone"""


SERIES = """
SELECT series FROM latest WHERE tenant = current_tenant() AND series >= %(low)s AND series < %(high)s
UNION ALL
SELECT series FROM latest_ended WHERE tenant = current_tenant() AND series >= %(low)s AND series < %(high)s"""


class StateValue(NamedTuple):
    """The last sample of a series; `removed` when it says that the property is no longer there."""

    path: str
    role: str
    series: int
    value: Any
    removed: bool
    source_time_us: int
    recorded_us: int
    revision: int
    quality: str


async def read_state(
    tx: ReadTransaction, paths: Paths, twin_nos: Collection[int], moment: Moment = LIVE
) -> Mapping[int, list[StateValue]]:
    """Return the state of each twin by its number; a twin without samples has an empty list.

    At a moment of the past deleted twins have theirs, too. Raises InvalidError (MomentBeforeRetention).
    """
    check_kept(tx, moment)
    await stage_state(tx, twin_nos, moment)
    given = moment.parameters | {"nos": list(twin_nos)}
    return await state_by_twin(tx, paths, twin_nos, await tx.rows(state_of("%(nos)s::int[]", moment), given))


def state_of(twin_nos: str, moment: Moment) -> str:
    """Return SQL for the state of some twins, whose numbers are an expression of an array; rows have STATE_COLUMNS.

    It takes the moment's parameters.
    """
    return READ.format(nos=twin_nos, samples=NOW if moment == LIVE else last_samples(moment, RANGE))


async def state_by_twin(
    tx: ReadTransaction, paths: Paths, twin_nos: Collection[int], rows: Sequence[Row]
) -> Mapping[int, list[StateValue]]:
    """Return what rows that have STATE_COLUMNS say of each of some twins, by its number; and of others they are of."""
    found: dict[int, list[StateValue]] = {twin_no: [] for twin_no in twin_nos}
    for value in await state_from(tx, paths, rows):
        found.setdefault(twin_no_of(value.series), []).append(value)
    return found


def state_join(twin_no: str, moment: Moment) -> str:
    """Return what joins to a FROM the state of one twin, whose number is an expression there.

    Its rows have STATE_COLUMNS, null for a twin without samples; at a moment it takes the moment's parameters.
    """
    own = f"tenant = current_tenant() AND series >= {twin_no} << {PATH_BITS} AND series < {twin_no} + 1 << {PATH_BITS}"
    live = f"(SELECT {ROW} FROM latest WHERE {own} OFFSET 0)"
    rows = live if moment == LIVE else last_samples(moment, own)
    return f"LEFT JOIN LATERAL {rows} AS l ON true"


async def state_from(tx: ReadTransaction, paths: Paths, rows: Sequence[Row]) -> list[StateValue]:
    """Return the values of rows that have STATE_COLUMNS."""
    found = []
    keys = await paths.keys(tx, {path_no_of(row[0]) for row in rows})
    for series, source_time_us, recorded_us, num, kind, doc, revision, quality in rows:
        path, role = keys[path_no_of(series)]
        value = StateValue(
            path,
            role,
            series,
            decode(num, kind, doc),
            kind == REMOVED,
            source_time_us,
            recorded_us,
            revision,
            QUALITIES[quality],
        )
        found.append(value)
    return found


async def read_series(tx: ReadTransaction, paths: Paths, twin_no: int) -> dict[int, PathKey]:
    """Return the paths of which a twin, deleted or not, has samples, by their numbers."""
    rows = await tx.rows(SERIES, {"low": series_of(twin_no, 0), "high": series_of(twin_no + 1, 0)})
    numbers = [path_no_of(row[0]) for row in rows]
    keys = await paths.keys(tx, numbers)
    return {number: keys[number] for number in numbers}


async def forget_states(tx: WriteTransaction, twin_nos: Collection[int]) -> None:
    """Take the state of twins that are no more out of the live one; their history stays."""
    low = [series_of(twin_no, 0) for twin_no in twin_nos]
    high = [series_of(twin_no + 1, 0) for twin_no in twin_nos]
    await tx.execute(FORGET, (low, high))
    await forget_promoted(tx, twin_nos)
