"""How far the delivery of a route is: read before each batch, moved on after it."""

from __future__ import annotations

from typing import NamedTuple

from gemel.routing.batches import Cursor
from gemel.store.database import Database, ReadTransaction

__all__ = ["Due", "Failure", "advance", "fail", "load_due", "move"]

# Only what waits for nothing is due.
DUE = """
SELECT endpoint, filter, change_no, position, failures FROM event_route
WHERE tenant = current_tenant() AND route_id = %s AND stopped IS NULL
  AND coalesce(next_try, '-infinity') <= clock_timestamp()"""
# A cursor is only moved on from where it was read: after a PUT, a skip or another process, not at all.
HERE = """
WHERE tenant = current_tenant() AND route_id = %s AND change_no = %s AND position = %s RETURNING 1"""
ADVANCE = f"""
UPDATE event_route SET change_no = %s, position = %s, delivered = delivered + %s,
    delivered_at = clock_timestamp(), failures = 0, failing_since = NULL, next_try = NULL, error = NULL
{HERE}"""
MOVE = f"UPDATE event_route SET change_no = %s, position = %s {HERE}"
FAIL = f"""
UPDATE event_route SET change_no = %s, position = %s, failures = failures + 1,
    failing_since = coalesce(failing_since, clock_timestamp()),
    next_try = clock_timestamp() + %s * interval '1 second', error = %s, stopped = %s
{HERE}"""


class Due(NamedTuple):
    """A route that can be delivered now."""

    endpoint: str
    filter: str
    cursor: Cursor
    failures: int


class Failure(NamedTuple):
    """Why a batch was not delivered, when it is tried again, and why never by itself, if so."""

    error: str
    delay_s: float
    stopped: str | None = None


async def load_due(tx: ReadTransaction, route_id: str) -> Due | None:
    """Return a route that can be delivered now, or None: it is gone, has stopped, or waits."""
    row = await tx.row(DUE, (route_id,))
    return None if row is None else Due(row[0], row[1], Cursor(row[2], row[3]), row[4])


async def advance(
    database: Database, tenant: int, route_id: str, cursor: Cursor, to: Cursor, *, delivered: int
) -> bool:
    """Move a route on after a delivery; False where it is no longer at `cursor`."""
    values = (*to, delivered, route_id, *cursor)
    return bool(await database.query(tenant, ADVANCE, values, read_only=False))


async def move(database: Database, tenant: int, route_id: str, cursor: Cursor, to: Cursor) -> bool:
    """Move a route on past what its filter leaves out; False where it is no longer at `cursor`."""
    return bool(await database.query(tenant, MOVE, (*to, route_id, *cursor), read_only=False))


async def fail(
    database: Database, tenant: int, route_id: str, cursors: tuple[Cursor, Cursor], failure: Failure
) -> None:
    """Keep a failure at the second of two cursors, unless the route is no longer at the first."""
    cursor, to = cursors
    values = (*to, failure.delay_s, failure.error, failure.stopped, route_id, *cursor)
    await database.query(tenant, FAIL, values, read_only=False)
