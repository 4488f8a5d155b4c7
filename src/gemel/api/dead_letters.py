"""Dead letters: notifications that their receiver refused for good, to be looked at, sent again or thrown away."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter, QueryParameter

from gemel.api.bodies import json_answer, read_json
from gemel.api.call import AnyRequest, call_of
from gemel.api.params import Limit
from gemel.api.quarantine_bodies import INT64_MAX
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Listed
from gemel.base.errors import InvalidError
from gemel.routing import letters
from gemel.routing.letters import DeadLetter, LetterChoice
from gemel.routing.replaying import LetterReplay, ReplayParts, replay_letters
from gemel.security.audit import record
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "LettersDiscarded"]

TAG = "Event routes"
EXAMPLE = {"route": "alarms"}

Number = Annotated[int, PathParameter(ge=1, le=INT64_MAX, description="The dead letter's number.")]


class LettersDiscarded(msgspec.Struct, frozen=True):
    """How many dead letters are gone."""

    discarded: int


@get("/v1/dead-letters", **route(TAG, RouteInfo(Scope.READ, answer={JSON: Listed[DeadLetter]})))
async def list_dead_letters(
    request: AnyRequest,
    of_route: Annotated[str | None, QueryParameter(name="route", description="Of this route alone.")] = None,
    after: Annotated[
        int, QueryParameter(name="after", ge=0, le=INT64_MAX, description="Go on behind this number.")
    ] = 0,
    limit: Limit = 100,
) -> Response[bytes]:
    """List notifications that were put aside, in the order in which they were, without the events."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        found = await letters.list_letters(tx, LetterChoice(of_route), after, limit)
    return json_answer({"value": found})


@get(
    "/v1/dead-letters/{number:int}",
    **route(TAG, RouteInfo(Scope.READ, answer={JSON: DeadLetter}, failures=(404,))),
)
async def show_dead_letter(request: AnyRequest, number: Number) -> Response[bytes]:
    """Show a notification that was put aside, with its event."""
    call = call_of(request)
    async with call.services.database.read(call.tenant) as tx:
        return json_answer(await letters.show_letter(tx, number))


@post(
    "/v1/dead-letters/replay",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "deadletter.replay",
            body={JSON: LetterChoice},
            body_example=EXAMPLE,
            answer={JSON: LetterReplay},
        ),
    ),
)
async def replay_dead_letters(request: AnyRequest) -> Response[bytes]:
    """Send dead letters again, the oldest first, to where their routes lead now; those acknowledged are gone.

    At most 1000 at once. They have the ids that they had, so that a receiver knows what it has already.
    """
    call = call_of(request)
    choice = _choice(await read_json(request))
    services = call.services
    parts = ReplayParts(services.database, services.sealer, services.senders, services.traffic)
    told = await replay_letters(parts, call.tenant, call.principal.tenant_name, choice, call.entry())
    return json_answer(told)


@post(
    "/v1/dead-letters/discard",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "deadletter.discard",
            body={JSON: LetterChoice},
            body_example=EXAMPLE,
            answer={JSON: LettersDiscarded},
        ),
    ),
)
async def discard_dead_letters(request: AnyRequest) -> Response[bytes]:
    """Throw dead letters away."""
    call = call_of(request)
    choice = _choice(await read_json(request))
    async with call.services.database.write(call.tenant) as tx:
        count = await letters.discard_letters(tx, choice)
        await record(tx, [call.entry()])
    return json_answer(LettersDiscarded(count))


def _choice(body: object) -> LetterChoice:
    try:
        choice = msgspec.convert(body, LetterChoice)
    except msgspec.ValidationError as error:
        raise InvalidError("InvalidArgument", f"The choice is not as it should be: {error}.") from error
    choice.require()
    return choice


HANDLERS: list[HTTPRouteHandler] = [
    list_dead_letters,
    show_dead_letter,
    replay_dead_letters,
    discard_dead_letters,
]
