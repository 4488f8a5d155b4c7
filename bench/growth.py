"""What goes in with 100 M samples of 100,000 series stored already, against an empty platform beside it, in turns."""

from __future__ import annotations

import time
from statistics import median

import psycopg

from bench import load
from bench.arrow import stream
from bench.dataset import settle
from bench.events import SHARDS, make_twins
from bench.figures import Figure, told
from bench.ingest import owner_dsn
from bench.platform import Platform, running
from bench.serving import TENANT
from bench.wire import request_bytes, send_all
from gemel.base.clock import now_us
from gemel.history.rollups import fold_tenant

__all__ = ["fill", "measure", "turns"]

TWINS = 50_000
"""Of two series each; the load is of the first 5,000."""
MOMENTS = 1_000
STEP_US = 60_000_000
BODY_TWINS, BODY_MOMENTS = 2_500, 20
ROUNDS = 3
TURN_S = 10.0
RATIO_MIN = 0.8


def measure(platform: Platform) -> list[Figure]:
    """Fill the platform, start an empty one, and feed both in turns."""
    filled = fill(platform)
    with running() as empty:
        make_twins(empty)
        return [filled, *turns(platform, empty)]


def fill(platform: Platform) -> Figure:
    """Send a sample a minute of each series up to now, wait until they are packed, and fold them; how fast it went."""
    make_twins(platform, TWINS)
    end_us = now_us() // STEP_US * STEP_US
    begun = time.perf_counter()
    for first in range(0, MOMENTS, BODY_MOMENTS):
        times_us = [end_us - (MOMENTS - moment) * STEP_US for moment in range(first, first + BODY_MOMENTS)]
        requests = [
            request_bytes(
                "POST",
                "/v1/events",
                platform.key,
                stream(range(twin, twin + BODY_TWINS), times_us, f"fill-{twin}-{first}"),
                "application/vnd.apache.arrow.stream",
            )
            for twin in range(0, TWINS, BODY_TWINS)
        ]
        shares = [requests[shard::SHARDS] for shard in range(SHARDS)]
        send_all(platform.port, shares, b'"accepted":%d' % (2 * BODY_TWINS * BODY_MOMENTS))
    elapsed_s = time.perf_counter() - begun
    settle(platform)
    with psycopg.connect(owner_dsn(platform), autocommit=True) as owner:
        fold_tenant(owner, TENANT, now_us(), settle_us=0)
    settle(platform)
    return told("growth_filled", 2 * TWINS * MOMENTS / elapsed_s, "samples/s")


def turns(full: Platform, empty: Platform) -> list[Figure]:
    """Send JSON to each in turns; the medians of the rates, and the one by the other."""
    rates: dict[str, list[float]] = {"full": [], "empty": []}
    events = load.json()
    for turn in range(ROUNDS):
        for name in ("full", "empty") if turn % 2 == 0 else ("empty", "full"):
            rates[name].append(load.Sending(full if name == "full" else empty, events).run(TURN_S))
    value, limit = median(rates["full"]), median(rates["empty"])
    ratio = value / limit
    return [
        Figure(
            "growth_events",
            value,
            "events/s",
            limit,
            ratio,
            f">= {RATIO_MIN} of an empty one",
            ratio >= RATIO_MIN,
        )
    ]
