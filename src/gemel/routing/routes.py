"""Event routes as they are asked for: put, get, list, delete, and how far each is. Owns the table `event_route`."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import msgspec

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.graph.paging import Listing, Page, check_page_size
from gemel.routing.filters import compile_filter
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "FORGOTTEN",
    "GONE",
    "LAG",
    "RouteRequest",
    "RouteState",
    "RouteStatus",
    "delete_route",
    "get_route",
    "list_routes",
    "put_route",
    "route_request",
    "route_status",
    "state_of",
    "statuses",
]

ROUTES_MAX = 32
ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?")
TOKEN = "eventroutes"
GONE, FORGOTTEN = "gone", "forgotten"
"""Why a route stopped: its receiver answered 410; changes were forgotten before they were delivered."""

SELECT = "SELECT route_id, endpoint, filter FROM event_route WHERE tenant = current_tenant()"
GET = f"{SELECT} AND route_id = %s"
LIST = f'{SELECT} AND route_id > %s COLLATE "C" ORDER BY route_id COLLATE "C" LIMIT %s'
EXISTING = """
SELECT filter, stopped FROM event_route WHERE tenant = current_tenant() AND route_id = %s"""
COUNT = "SELECT count(*) FROM event_route WHERE tenant = current_tenant()"
ENDPOINT = "SELECT 1 FROM endpoint WHERE tenant = current_tenant() AND name = %s"
HEAD = "SELECT change_no FROM tenant_head WHERE tenant = current_tenant()"
INSERT = """
INSERT INTO event_route (tenant, route_id, endpoint, filter, created, change_no)
VALUES (current_tenant(), %s, %s, %s, %s, %s)"""
UPDATE = """
UPDATE event_route SET endpoint = %s, filter = %s, failures = 0, failing_since = NULL, next_try = NULL,
    error = NULL, stopped = NULL
WHERE tenant = current_tenant() AND route_id = %s"""
START_NOW = """
UPDATE event_route SET change_no = %s, position = 0 WHERE tenant = current_tenant() AND route_id = %s"""
DELETE = "DELETE FROM event_route WHERE tenant = current_tenant() AND route_id = %s"

# The row with the next change of each route by its key: an operator such as + in a predicate would keep row-level
# security from using the index. A row may hold several changes, and has the number of the last.
LAG = """
LEFT JOIN LATERAL (SELECT recorded, change_no - changes AS before_no FROM change
                   WHERE change.tenant = r.tenant AND change.change_no >= r.next_no
                   ORDER BY change.tenant, change.change_no LIMIT 1) AS c ON c.before_no < r.next_no"""
STATUS = f"""
SELECT r.route_id, r.endpoint, r.filter, (extract(epoch FROM r.created) * 1000000)::bigint, r.change_no,
       h.change_no - r.change_no, (extract(epoch FROM clock_timestamp() - c.recorded))::float8, r.delivered,
       (extract(epoch FROM r.delivered_at) * 1000000)::bigint, r.failures,
       (extract(epoch FROM r.failing_since) * 1000000)::bigint,
       (extract(epoch FROM r.next_try) * 1000000)::bigint, r.error, r.stopped
FROM (SELECT *, change_no + 1 AS next_no FROM event_route
      WHERE tenant = current_tenant() AND (%s::text IS NULL OR route_id = %s) OFFSET 0) AS r
JOIN tenant_head AS h ON h.tenant = r.tenant
{LAG} ORDER BY r.route_id COLLATE "C" """


State = Literal["delivering", "retrying", "disabled", "stopped"]


class RouteRequest(msgspec.Struct, rename="camel"):
    """A route to be made: where to, and which notifications."""

    endpoint_name: str
    filter: str


class RouteState(NamedTuple):
    """What a route's state follows from."""

    filter: str
    failures: int
    stopped: str | None


class RouteStatus(NamedTuple):
    """A route and how its delivery stands; times in µs, and `lag_s` the age of the oldest change to deal with."""

    route_id: str
    endpoint: str
    filter: str
    created_us: int
    delivered_up_to: int
    lag_changes: int
    lag_s: float | None
    delivered: int
    delivered_us: int | None
    failures: int
    failing_since_us: int | None
    next_try_us: int | None
    error: str | None
    stopped: str | None

    @property
    def state(self) -> State:
        """One word for it."""
        return state_of(RouteState(self.filter, self.failures, self.stopped))


def state_of(route: RouteState) -> State:
    """Return `stopped`, `disabled`, `retrying` or `delivering`."""
    if route.stopped is not None:
        return "stopped"
    if compile_filter(route.filter).never:
        return "disabled"
    return "retrying" if route.failures else "delivering"


def route_request(body: Any) -> RouteRequest:
    """Read a request for a route, as Azure Digital Twins has it.

    Raises InvalidError: InvalidArgument, EventRouteEndpointInvalid or EventRouteFilterInvalid by what is wrong.
    """
    if not isinstance(body, dict):
        raise InvalidError("InvalidArgument", "An event route is an object with endpointName and filter.")
    for name, code in (("endpointName", "EventRouteEndpointInvalid"), ("filter", "EventRouteFilterInvalid")):
        if not isinstance(body.get(name), str):
            raise InvalidError(code, f"{name} must be a text.", "For every event, the filter is true.")
    return RouteRequest(body["endpointName"], body["filter"])


async def put_route(tx: WriteTransaction, route_id: str, wanted: RouteRequest) -> None:
    """Make a route that starts with the next change, or change one, which goes on from where it is.

    One that was disabled, or stopped since changes were forgotten, starts anew with the next change.
    Raises InvalidError (EventRouteIdInvalid, EventRouteEndpointInvalid, EventRouteFilterInvalid, LimitExceeded).
    """
    if ID.fullmatch(route_id) is None:
        raise InvalidError(
            "EventRouteIdInvalid",
            "The id of an event route has 1 to 128 of the characters A-Z a-z 0-9 _ . -, and begins and ends with a "
            "letter or digit.",
        )
    compile_filter(wanted.filter)
    if await tx.row(ENDPOINT, (wanted.endpoint_name,)) is None:
        raise InvalidError(
            "EventRouteEndpointInvalid",
            f"There is no endpoint named {wanted.endpoint_name[:80]!r}.",
            "Make it with `gemel endpoint add`, or PUT /v1/endpoints/{name}.",
        )
    existing = await tx.row(EXISTING, (route_id,))
    head = await tx.row(HEAD)
    newest = 0 if head is None else int(head[0])
    if existing is None:
        await _insert(tx, route_id, wanted, newest)
        return
    await tx.execute(UPDATE, (wanted.endpoint_name, wanted.filter, route_id))
    if compile_filter(existing[0]).never or existing[1] == FORGOTTEN:
        await tx.execute(START_NOW, (newest, route_id))


async def get_route(tx: ReadTransaction, route_id: str) -> dict[str, str]:
    """Return a route as the API gives it. Raises NotFoundError (EventRouteNotFound)."""
    row = await tx.row(GET, (route_id,))
    if row is None:
        raise _not_found(route_id)
    return _body(row)


async def list_routes(tx: ReadTransaction, page_size: int | None = None, token: str | None = None) -> Page:
    """Return a page of routes in the order of ids. Raises InvalidError (InvalidArgument)."""
    listing = Listing(tx.tenant, TOKEN)
    after = listing.decode(token, after=str)["after"] if token is not None else ""
    size = check_page_size(page_size)
    rows = await tx.rows(LIST, (after, size + 1))
    items: list[dict[str, Any]] = [dict(_body(row)) for row in rows[:size]]
    return Page(items, listing.encode(after=items[-1]["id"]) if len(rows) > size else None)


async def delete_route(tx: WriteTransaction, route_id: str) -> None:
    """Delete a route; what it has not delivered, it never will. Raises NotFoundError (EventRouteNotFound)."""
    if not await tx.execute(DELETE, (route_id,)):
        raise _not_found(route_id)


async def statuses(tx: ReadTransaction) -> list[RouteStatus]:
    """Return how the delivery of each route stands, by id."""
    return [RouteStatus(*row) for row in await tx.rows(STATUS, (None, None))]


async def route_status(tx: ReadTransaction, route_id: str) -> RouteStatus:
    """Return how the delivery of a route stands. Raises NotFoundError (EventRouteNotFound)."""
    rows = await tx.rows(STATUS, (route_id, route_id))
    if not rows:
        raise _not_found(route_id)
    return RouteStatus(*rows[0])


async def _insert(tx: WriteTransaction, route_id: str, wanted: RouteRequest, newest: int) -> None:
    count = await tx.row(COUNT)
    if count is not None and count[0] >= ROUTES_MAX:
        raise InvalidError("LimitExceeded", f"A tenant has at most {ROUTES_MAX} event routes.")
    now = from_us(tx.stamp())
    await tx.execute(INSERT, (route_id, wanted.endpoint_name, wanted.filter, now, newest))


def _body(row: Row) -> dict[str, str]:
    return {"id": row[0], "endpointName": row[1], "filter": row[2]}


def _not_found(route_id: str) -> NotFoundError:
    return NotFoundError("EventRouteNotFound", f"There is no event route with the ID {route_id[:140]!r}.")
