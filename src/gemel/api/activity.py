"""What goes on now: how fresh values come in, how long stages take, and how sources, routes and queues stand.

Answered from the process's memory, so that it is there while the database is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gemel.api.bodies import json_answer
from gemel.api.call import AnyRequest, Call, call_of
from gemel.api.health import route_is_stuck, source_fails
from gemel.api.routing import JSON, RouteInfo, route
from gemel.api.stats import Totals
from gemel.base.clock import iso_us, now_us
from gemel.observe.durations import WINDOW_S, quantile_us
from gemel.observe.intake import Intake, TenantFigures
from gemel.security.principal import Scope

__all__ = ["HANDLERS", "Activity", "Quantiles", "RouteActivity", "SourceActivity"]

SHARES: Final = (0.5, 0.95)


class Quantiles(msgspec.Struct, frozen=True, rename="camel"):
    """Of durations within the last minute: below which half and 95 % were, in ms; null where there were none."""

    p50_ms: float | None
    p95_ms: float | None


class SourceActivity(msgspec.Struct, frozen=True, rename="camel"):
    """What a source brought: counts since the server started, of the last minute how fresh and how much became state.

    `state` is that of a source that was described, null of what is only sent; `behind` is how many messages wait in
    its log.
    """

    name: str
    state: str | None = None
    failing: bool = False
    events: int = 0
    totals: Mapping[str, int] = {}
    codes: Mapping[str, int] = {}
    rate: float = 0.0
    fresh: Quantiles = Quantiles(None, None)
    behind: int | None = None
    last: str | None = None


class RouteActivity(msgspec.Struct, frozen=True, rename="camel"):
    """How far an event route is behind: by changes, and by the age of the first of them."""

    name: str
    state: str
    stuck: bool
    behind: int
    lag_s: float


class Activity(msgspec.Struct, frozen=True, rename="camel"):
    """What goes on for a tenant; `stages` and `queues` are of the server. `rate` is events a second."""

    time: str
    database: str
    rate: float
    totals: Totals
    from_source: Quantiles
    from_receipt: Quantiles
    stages: Mapping[str, Quantiles]
    sources: Sequence[SourceActivity]
    routes: Sequence[RouteActivity]
    queues: Mapping[str, float]
    codes: Mapping[str, int]


@get("/v1/activity", **route("Operation", RouteInfo(Scope.READ, answer={JSON: Activity})))
async def activity(request: AnyRequest) -> Response[bytes]:
    """Say what goes on now: rates, freshness, stages, sources, routes, queues, and why events are quarantined."""
    call = call_of(request)
    services, intake = call.services, call.services.intake
    totals, rate = intake.tallies.of(call.tenant)
    figures = intake.tenants.get(call.tenant) or TenantFigures()
    now_s = intake.clock_s()
    return json_answer(
        Activity(
            time=iso_us(now_us()),
            database="full" if services.database.is_full else "ok" if services.ready() else "away",
            rate=rate,
            totals=Totals(**totals),
            from_source=_quantiles(figures.from_source.bins(now_s)),
            from_receipt=_quantiles(figures.from_receipt.bins(now_s)),
            stages={stage: _quantiles(bins) for stage, bins in intake.recent_stages(figures).items()},
            sources=_sources(call, intake, now_s),
            routes=[
                RouteActivity(each.route, each.state, route_is_stuck(each), each.changes, each.lag_s)
                for each in services.metrics.outside.routes
                if each.tenant == call.tenant
            ],
            queues={name: depth() for name, depth in services.metrics.outside.queues.items()},
            codes=dict(figures.codes.most_common()),
        )
    )


def _sources(call: Call, intake: Intake, now_s: float) -> list[SourceActivity]:
    """Return the tenant's sources: those that were described, then those that only sent, the busiest first."""
    kept = {each.source: each for each in call.services.metrics.outside.sources if each.tenant == call.tenant}
    found = {name: figures for (tenant, name), figures in intake.sources.items() if tenant == call.tenant}
    rows = []
    for name in [*kept, *(name for name in found if name not in kept)]:
        state, figures = kept.get(name), found.get(name)
        row = SourceActivity(name, state and state.state, state is not None and source_fails(state))
        if figures is not None:
            recent = figures.recent.bins(now_s)
            row = msgspec.structs.replace(
                row,
                events=figures.events,
                totals=dict(figures.outcomes),
                codes=dict(figures.codes),
                rate=sum(recent.values()) / WINDOW_S,
                fresh=_quantiles(recent),
                behind=figures.behind,
                last=iso_us(figures.last_us) if figures.last_us else None,
            )
        rows.append(row)
    return sorted(rows, key=lambda row: (row.state is None, -row.rate, row.name))


def _quantiles(bins: Mapping[int, int]) -> Quantiles:
    half, most = quantile_us(bins, SHARES)
    return Quantiles(*(None if each is None else round(each / 1000, 3) for each in (half, most)))


HANDLERS: list[HTTPRouteHandler] = [activity]
