"""Promoted paths: their present values once more in indexed rows, kept in step by every write of state.

A row is a hint and not the truth: it holds a value as far as an index can (a number as double, the beginning of a
text), so that a search finds every twin that matches, and looks its value up in `latest`.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np

from gemel.history.paths import PATH_BITS, PATHS_MAX
from gemel.history.samples import SampleBatch
from gemel.history.values import JSON, REMOVED
from gemel.store.columns import bigints, doubles
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "TEXT_MAX",
    "demote_path",
    "forget_promoted",
    "promote_path",
    "promoted_counts",
    "promoted_paths",
    "write_promoted",
]

TEXT_MAX = 500
"""How many characters of a text are indexed: four bytes each fit into a row of a B-tree."""

UPSERT = """
INSERT INTO promoted_value (tenant, path_no, twin_no, num, text, flag)
SELECT current_tenant(), r.path_no, r.twin_no, nullif(r.num, 'NaN'), r.text, r.flag
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::text[], %s::boolean[])
    AS r (path_no, twin_no, num, text, flag)
ON CONFLICT (tenant, path_no, twin_no) DO UPDATE SET num = excluded.num, text = excluded.text, flag = excluded.flag"""
PATHS = "SELECT promoted FROM tenant_head WHERE tenant = current_tenant()"
SET_PATHS = "UPDATE tenant_head SET promoted = %s WHERE tenant = current_tenant()"
# One look at all of the state: it happens once for each promotion.
FILL = f"""
INSERT INTO promoted_value (tenant, path_no, twin_no, num, text, flag)
SELECT current_tenant(), %(path_no)s, series >> {PATH_BITS},
       CASE WHEN kind < {JSON} THEN num WHEN jsonb_typeof(doc) = 'number' THEN (doc #>> '{{}}')::float8 END,
       CASE WHEN jsonb_typeof(doc) = 'string' THEN left(doc #>> '{{}}', {TEXT_MAX}) END,
       CASE WHEN jsonb_typeof(doc) = 'boolean' THEN doc::boolean END
FROM latest WHERE tenant = current_tenant() AND series & {PATHS_MAX - 1} = %(path_no)s AND kind <> {REMOVED}"""
EMPTY = "DELETE FROM promoted_value WHERE tenant = current_tenant() AND path_no = %s"
FORGET = """
DELETE FROM promoted_value WHERE tenant = current_tenant() AND path_no = ANY(%s) AND twin_no = ANY(%s)"""
COUNTS = """
SELECT path_no, count(*) FROM promoted_value WHERE tenant = current_tenant() AND path_no = ANY(%s) GROUP BY path_no"""


async def promoted_paths(tx: ReadTransaction) -> list[int]:
    """Return the numbers of the tenant's promoted paths, those promoted first first."""
    row = await tx.row(PATHS)
    return [] if row is None else list(row[0])


async def promoted_counts(tx: ReadTransaction, path_nos: Collection[int]) -> dict[int, int]:
    """Return how many twins have a value of each promoted path."""
    return dict.fromkeys(path_nos, 0) | {row[0]: row[1] for row in await tx.rows(COUNTS, (list(path_nos),))}


async def promote_path(tx: WriteTransaction, path_no: int) -> int:
    """Index the present values of a path from here on; return how many there are.

    It looks at all of the tenant's state once, while its writers wait.
    """
    await tx.execute(SET_PATHS, ([*tx.promoted, path_no],))
    tx.promoted = (*tx.promoted, path_no)
    return await tx.execute(FILL, {"path_no": path_no})


async def demote_path(tx: WriteTransaction, path_no: int) -> None:
    """Index the values of a path no longer."""
    tx.promoted = tuple(each for each in tx.promoted if each != path_no)
    await tx.execute(SET_PATHS, (list(tx.promoted),))
    await tx.execute(EMPTY, (path_no,))


async def write_promoted(tx: WriteTransaction, state: SampleBatch) -> None:
    """Keep the index in step with samples that became the state of their series."""
    if not tx.promoted:
        return
    path_nos = state.series & (PATHS_MAX - 1)
    chosen = np.flatnonzero(np.isin(path_nos, np.array(tx.promoted, np.int64)))
    if not len(chosen):
        return
    values = state.take(chosen)
    twin_nos = bigints(values.series >> PATH_BITS)
    await tx.execute(UPSERT, (bigints(path_nos[chosen]), twin_nos, *_indexed(values)))


async def forget_promoted(tx: WriteTransaction, twin_nos: Collection[int]) -> None:
    """Take twins that are no more out of the index."""
    if tx.promoted:
        await tx.execute(FORGET, (list(tx.promoted), list(twin_nos)))


def _indexed(values: SampleBatch) -> tuple[object, list[str | None], list[bool | None]]:
    """Return the columns num (NaN where there is none), text and flag."""
    numbers = values.num.copy()
    texts: list[str | None] = [None] * len(values)
    flags: list[bool | None] = [None] * len(values)
    for position, doc in enumerate(values.docs or ()):
        found = None if doc is None else msgspec.json.decode(doc)
        if isinstance(found, bool):
            flags[position] = found
        elif isinstance(found, int | float):
            numbers[position] = float(found)
        elif isinstance(found, str):
            texts[position] = found[:TEXT_MAX]
    return doubles(numbers), texts, flags
