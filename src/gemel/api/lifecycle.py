"""The lifecycle of twins: in which state a twin is and was, and transitions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.conditions import CONDITIONS
from gemel.api.durations import parse_moment_us
from gemel.api.moments import MOMENT
from gemel.api.params import TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Time
from gemel.base.clock import iso_us
from gemel.graph.etag import Conditions
from gemel.graph.lifecycle import STATES
from gemel.graph.lifecycles import Lifecycle, TransitionRequest, change_lifecycle, get_lifecycle
from gemel.graph.past_states import PastState
from gemel.graph.timeline import FOREVER_US
from gemel.history.moment import Moment
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "Lifecycle"
ETAG = {"ETag": "The version of the twin: a weak entity tag."}
MAINTENANCE = {"state": "maintenance", "reason": "bearing worn", "validFrom": "2026-01-31T12:00:00Z"}

# Its states are judged behind it, where the refusal of another one names them.
State = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STATES)})]


class TransitionBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The state that the twin is in, why, and since when: RFC 3339, may be past; default: from now on."""

    state: State
    reason: str
    valid_from: str | None = None


class StateView(msgspec.Struct, rename="camel"):
    """A state that the twin was in, and who told it when; `superseded`: when it was told otherwise."""

    state: str
    from_: Time = msgspec.field(name="from")
    to: Time | None
    reason: str | None
    actor: str | None
    recorded: Time
    superseded: Time | None


class LifecycleView(msgspec.Struct, rename="camel"):
    """The state of a twin, since when it is in it, which states may follow, and all it was in, oldest first."""

    twin: str
    state: str
    since: Time
    allowed: list[str]
    history: list[StateView]


@get(
    "/v1/twins/{twin_id:str}/lifecycle",
    dependencies=MOMENT,
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: LifecycleView}, headers=ETAG, failures=(404,))),
)
async def read_lifecycle(
    request: AnyRequest, twin_id: TwinId, moment: NamedDependency[Moment]
) -> Response[bytes]:
    """Get a twin's lifecycle: its state, as of a moment if one is given, what may follow, and its history.

    States that were corrected stay in the history; with a moment, it is the history that was known then.
    """
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await get_lifecycle(tx, call.services.context, twin_id, moment)
    return json_answer(_view(found), headers={"ETag": found.etag})


@put(
    "/v1/twins/{twin_id:str}/lifecycle",
    dependencies=CONDITIONS,
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "twin.lifecycle",
            body={JSON: TransitionBody},
            body_example=MAINTENANCE,
            answer={JSON: LifecycleView},
            headers=ETAG,
            failures=(404, 409, 412),
        ),
    ),
)
async def put_lifecycle(
    request: AnyRequest, twin_id: TwinId, conditions: NamedDependency[Conditions]
) -> Response[bytes]:
    """Say in which state a twin is, from now on or since a moment of the past.

    From that moment on the state holds for good: states that were told of later times are superseded.
    """
    call = call_of(request)
    body: TransitionBody = await read_json(request, TransitionBody)
    valid_from_us = None if body.valid_from is None else parse_moment_us("validFrom", body.valid_from)
    asked = TransitionRequest(body.state, body.reason, call.principal.actor, valid_from_us, conditions)
    async with call.services.database.write(call.tenant) as tx:
        made = await change_lifecycle(tx, call.services.context, twin_id, asked)
        await record(tx, [call.entry()])
    return json_answer(_view(made), headers={"ETag": made.etag})


def _view(lifecycle: Lifecycle) -> LifecycleView:
    return LifecycleView(
        lifecycle.twin_id,
        lifecycle.state,
        iso_us(lifecycle.since_us),
        list(lifecycle.allowed),
        [_state(state) for state in lifecycle.history],
    )


def _state(state: PastState) -> StateView:
    return StateView(
        state=state.state,
        from_=iso_us(state.from_us),
        to=None if state.to_us == FOREVER_US else iso_us(state.to_us),
        reason=state.reason,
        actor=state.actor,
        recorded=iso_us(state.recorded_us),
        superseded=None if state.superseded_us is None else iso_us(state.superseded_us),
    )


HANDLERS: list[HTTPRouteHandler] = [read_lifecycle, put_lifecycle]
