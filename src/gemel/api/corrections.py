"""Corrections of history: a range of a twin's samples deleted, or replaced."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer, read_json
from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.durations import parse_moment_us
from gemel.api.params import TwinId
from gemel.api.routing import JSON, RouteInfo, route
from gemel.base.clock import iso_us, now_us
from gemel.graph.names import check_twin_id
from gemel.ingest.correcting import SAMPLES_MAX, Corrected, CorrectionWanted, Corrector, NewSample
from gemel.security.principal import Scope

__all__ = ["HANDLERS"]

TAG = "History"
EXAMPLE = {
    "paths": ["flow"],
    "from": "2026-01-31T12:00:00Z",
    "to": "2026-01-31T13:00:00Z",
    "reason": "the sensor was being calibrated",
}

Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Paths = Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]


class _RangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    paths: Paths
    from_: Moment = msgspec.field(name="from")
    to: Moment
    reason: Reason

    def wanted(self, twin: str) -> CorrectionWanted:
        """Return which samples are meant; raise InvalidError (InvalidArgument) for a time that is none."""
        check_twin_id(twin)
        start_us, end_us = parse_moment_us("from", self.from_), parse_moment_us("to", self.to)
        return CorrectionWanted(twin, list(dict.fromkeys(self.paths)), start_us, end_us, self.reason)


class DeleteRange(_RangeBody):
    """Which samples go, and why: of some paths, from a source time up to but without another.

    At most `limit` go, the oldest first; `next` of the answer says where to go on.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=SAMPLES_MAX)] = SAMPLES_MAX


class GivenSample(msgspec.Struct, forbid_unknown_fields=True):
    """A value in the place of others, and the source time from which it is so."""

    path: str
    time: Moment
    value: Any
    quality: Literal["good", "uncertain", "bad"] = "good"


class ReplaceRange(_RangeBody):
    """Which samples go, why, and which come in their place: all within the range."""

    samples: Annotated[list[GivenSample], msgspec.Meta(min_length=1, max_length=SAMPLES_MAX)]


class CorrectedView(msgspec.Struct):
    """How many samples went and came; `next` is from where to go on, null where the range is done."""

    deleted: int
    added: int
    next: str | None


@post(
    "/v1/twins/{twin_id:str}/history/delete",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "history.delete",
            body={JSON: DeleteRange},
            body_example=EXAMPLE,
            answer={JSON: CorrectedView},
            failures=(404,),
        ),
    ),
)
async def delete_range(request: AnyRequest, twin_id: TwinId) -> Response[bytes]:
    """Delete a range of a twin's samples: `knownAt` still finds them, and late redelivery does not bring them back."""
    call = call_of(request)
    body: DeleteRange = await read_json(request, DeleteRange)
    return _answer(await _corrector(call).delete(call.tenant, body.wanted(twin_id), call.entry(), body.limit))


@post(
    "/v1/twins/{twin_id:str}/history/replace",
    **route(
        TAG,
        RouteInfo(
            Scope.WRITE,
            "history.replace",
            body={JSON: ReplaceRange},
            body_example=EXAMPLE
            | {"samples": [{"path": "flow", "time": "2026-01-31T12:00:00Z", "value": 1.5}]},
            answer={JSON: CorrectedView},
            failures=(404, 413),
        ),
    ),
)
async def replace_range(request: AnyRequest, twin_id: TwinId) -> Response[bytes]:
    """Put samples in the place of those of a range, in one commit; `knownAt` still finds the old ones."""
    call = call_of(request)
    body: ReplaceRange = await read_json(request, ReplaceRange)
    samples = [
        NewSample(each.path, parse_moment_us("time", each.time), each.value, each.quality)
        for each in body.samples
    ]
    return _answer(await _corrector(call).replace(call.tenant, body.wanted(twin_id), samples, call.entry()))


def _corrector(call: Call) -> Corrector:
    services = call.services
    return Corrector(services.database, services.directory, services.context, now_us)


def _answer(done: Corrected) -> Response[bytes]:
    after = None if done.next_us is None else iso_us(done.next_us)
    return json_answer(CorrectedView(done.deleted, done.added, after))


HANDLERS: list[HTTPRouteHandler] = [delete_range, replace_range]
