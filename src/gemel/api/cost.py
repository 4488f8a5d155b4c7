"""What a tenant costs: what is stored of it by tier, and what came and went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, call_of
from gemel.api.durations import parse_duration_us, parse_moment_us
from gemel.api.params import From, To
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.wire import Time
from gemel.base.clock import iso_us, now_us
from gemel.base.errors import InvalidError
from gemel.observe.traffic import HOUR_US, Volume
from gemel.security.principal import Scope
from gemel.store.sizes import Stored, read_stored
from gemel.store.traffic import TrafficBucket, read_traffic

__all__ = ["HANDLERS", "Cost", "StoredTier", "TrafficSum", "TrafficWithin"]

DAY_US = 24 * HOUR_US
SHOWN_US = 30 * DAY_US
BUCKETS_MAX = 10_000
Every = Annotated[
    str | None,
    QueryParameter(
        name="every", description="How long the stretches of traffic are, in whole hours; default 1d."
    ),
]


class StoredTier(msgspec.Struct, frozen=True, rename="camel"):
    """What a tier has of the tenant; `samples` and what one takes only where the tier holds samples."""

    tier: str
    bytes: int
    samples: int | None
    bytes_per_sample: float | None


class TrafficSum(msgspec.Struct, frozen=True):
    """What came and went by one channel: calls, messages or batches, and bytes of bodies received and sent by us."""

    channel: str
    calls: int
    received: int
    sent: int


class TrafficWithin(msgspec.Struct, frozen=True):
    """The same within the stretch of time that begins at `time`."""

    time: Time
    channel: str
    calls: int
    received: int
    sent: int


class Cost(
    msgspec.Struct, frozen=True, rename={"bytes_per_sample": "bytesPerSample", "start": "from", "end": "to"}
):
    """What a tenant costs. `bytesPerSample` shares all that is stored out among its samples.

    `changed` is since when it is so, as far as it was measured. `traffic` is all from `from` to `to`, by channel, and
    `within` the same by stretches of time.
    """

    changed: Time | None
    bytes: int
    samples: int
    bytes_per_sample: float | None
    stored: list[StoredTier]
    start: Time
    end: Time
    traffic: list[TrafficSum]
    within: list[TrafficWithin]


@get("/v1/cost", **route("Operation", RouteInfo(Scope.READ, answer={JSON: Cost})))
async def cost(
    request: AnyRequest, start: From = None, end: To = None, every: Every = None
) -> Response[bytes]:
    """Tell what is stored of the tenant by tier, and how many bytes came and went; by default of the last 30 days.

    Stored bytes are the tenant's share of tables and indexes on disk, measured each minute; of large tables by a part
    of their pages. Traffic is kept within seconds, by the hour, and by the day once it is 60 days old.
    """
    call = call_of(request)
    end_us = now_us() if end is None else parse_moment_us("to", end)
    start_us = (end_us - SHOWN_US) // DAY_US * DAY_US if start is None else parse_moment_us("from", start)
    start_us = max(0, start_us // HOUR_US * HOUR_US)
    every_us = DAY_US if every is None else parse_duration_us("every", every)
    if every_us % HOUR_US:
        raise InvalidError(
            "InvalidArgument", f"every={every} is not of whole hours.", "As in 1h, 6h, 1d or 1w."
        )
    if start_us >= end_us:
        raise InvalidError("InvalidArgument", "from must be before to.")
    if (end_us - start_us) // every_us > BUCKETS_MAX:
        raise InvalidError(
            "InvalidArgument", f"These are more than {BUCKETS_MAX} stretches of {every or '1d'}."
        )
    async with call.services.database.read(call.tenant) as tx:
        stored, traffic = await read_stored(tx), await read_traffic(tx, start_us, end_us, every_us)
    return json_answer(_cost(stored, traffic, (start_us, end_us)))


def _cost(stored: Sequence[Stored], traffic: Sequence[TrafficBucket], period: tuple[int, int]) -> Cost:
    size = sum(each.bytes for each in stored)
    samples = sum(each.samples or 0 for each in stored)
    sums: defaultdict[str, Volume] = defaultdict(Volume)
    for bucket in traffic:
        sums[bucket.channel] = sums[bucket.channel].plus(bucket.volume)
    return Cost(
        changed=iso_us(max(each.changed_us for each in stored)) if stored else None,
        bytes=size,
        samples=samples,
        bytes_per_sample=_each(size, samples),
        stored=[StoredTier(t.tier, t.bytes, t.samples, _each(t.bytes, t.samples)) for t in stored],
        start=iso_us(period[0]),
        end=iso_us(period[1]),
        traffic=[TrafficSum(channel, *volume) for channel, volume in sorted(sums.items())],
        within=[TrafficWithin(iso_us(b.time_us), b.channel, *b.volume) for b in traffic],
    )


def _each(size: int, samples: int | None) -> float | None:
    return round(size / samples, 1) if samples else None


HANDLERS: list[HTTPRouteHandler] = [cost]
