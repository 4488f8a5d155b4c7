"""Getting a route past a notification that its receiver will never take."""

from __future__ import annotations

from gemel.base.errors import InvalidError, NotFoundError
from gemel.graph.context import GraphContext
from gemel.routing.batches import Cursor, Gatherer
from gemel.routing.delivery import CHANGES_BYTES_MAX, CHANGES_MAX, naming_of
from gemel.routing.feed import FeedReader
from gemel.routing.filters import compile_filter
from gemel.routing.letters import bury_skipped
from gemel.routing.routes import FORGOTTEN
from gemel.store.database import WriteTransaction

__all__ = ["skip"]

FAILING = """
SELECT filter, change_no, position, failures, stopped, error FROM event_route
WHERE tenant = current_tenant() AND route_id = %s"""
SKIP = """
UPDATE event_route SET change_no = %s, position = %s, failures = 0, failing_since = NULL, next_try = NULL,
    error = NULL, stopped = NULL
WHERE tenant = current_tenant() AND route_id = %s AND change_no = %s AND position = %s"""


async def skip(
    tx: WriteTransaction, reader: FeedReader, context: GraphContext, route_id: str, source: str
) -> str:
    """Move a failing route past the notification that is next, a dead letter from then on; return its event's id.

    Raises NotFoundError (EventRouteNotFound), InvalidError (OperationNotAllowed) where the route does not fail,
    or lacks changes that were forgotten.
    """
    row = await tx.row(FAILING, (route_id,))
    if row is None:
        raise NotFoundError("EventRouteNotFound", f"There is no event route with the ID {route_id[:140]!r}.")
    text, change_no, position, failures, stopped, error = row
    if not failures:
        raise _refused(route_id, "does not fail: there is nothing to skip")
    if stopped == FORGOTTEN:
        raise _refused(route_id, "lacks changes that were forgotten; put it again, and it starts anew")
    part = await reader.read(tx, change_no, CHANGES_MAX, CHANGES_BYTES_MAX)
    naming = await naming_of(tx, context, part, source)
    batch = Gatherer(part, Cursor(change_no, position), compile_filter(text), naming).next(1)
    if not batch.count:
        raise _refused(route_id, "has nothing left to deliver")
    if not await tx.execute(SKIP, (*batch.cursor, route_id, change_no, position)):
        raise _refused(route_id, "went on meanwhile; look at it again")
    letter = batch.letters[0]
    await bury_skipped(tx, route_id, letter, error or "It was skipped.", failures)
    return letter.event_id


def _refused(route_id: str, why: str) -> InvalidError:
    return InvalidError("OperationNotAllowed", f"The route {route_id} {why}.")
