"""A year of one series at 1 s, drawn at about 1,000 points: read from roll-ups, and how fast those are folded."""

from __future__ import annotations

import json
import time

import numpy as np
import psycopg

from bench.events import MODEL
from bench.figures import Figure, at_most, percentiles_ms, told
from bench.ingest import owner_dsn
from bench.platform import Platform
from bench.wire import Connection, request_bytes
from gemel.base.clock import iso_us, now_us
from gemel.history.packs import PACK_MAX
from gemel.history.rollups import fold_tenant
from gemel.history.weeks import monday_of, week_of
from gemel.store.columns import doubles, register, timestamps

__all__ = ["measure"]

SECOND_US = 1_000_000
SECONDS = 365 * 86_400
TWIN, PATH = "year", "temperature"
TENANT = 1
READS = 60
# Names of what is asked, and the parameters: 973 points of whole hours, 1,000 of minutes, and a thousandth of the year.
ASKS = {
    "history_year": "every=9h&agg=mean,min,max",
    "history_year_all": "every=9h&agg=mean,min,max,first,last,count",
    "history_year_minutes": "every=526m&agg=mean,min,max",
    "history_year_seconds": "every=31536s&agg=mean,min,max",
}
# As the packer leaves them: the samples of a week, at most so many a row.
PACK = f"""
INSERT INTO sample_pack (tenant, series, first_time, last_time, source_times, recorded_times, nums)
SELECT k.tenant, k.series, times[low], times[least(low + {PACK_MAX - 1}, cardinality(times))],
       times[low:low + {PACK_MAX - 1}], times[low:low + {PACK_MAX - 1}], nums[low:low + {PACK_MAX - 1}]
FROM (SELECT %s::int, %s::bigint, %s::timestamptz[], %s::float8[]) AS k (tenant, series, times, nums)
CROSS JOIN LATERAL generate_series(1, cardinality(times), {PACK_MAX}) AS low"""
SERIES = "SELECT series FROM latest WHERE tenant = %s ORDER BY series DESC LIMIT 1"


def measure(platform: Platform) -> list[Figure]:
    """Measure reading a year, whose samples are put into packs and folded as the worker does."""
    end_us = now_us() // SECOND_US * SECOND_US
    start_us = end_us - SECONDS * SECOND_US
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/bench",
        "type": "t",
        "subject": TWIN,
        "time": iso_us(end_us),
        "data": {PATH: 20.5},
    }
    with platform.client() as client:
        client.post("/models", json=[MODEL]).raise_for_status()
        headers = {"Content-Type": "application/x-ndjson", "Gemel-Create-Model": str(MODEL["@id"])}
        client.post("/v1/events", content=json.dumps(event), headers=headers).raise_for_status()
    with psycopg.connect(owner_dsn(platform), autocommit=True) as owner:
        row = owner.execute(SERIES, (TENANT,)).fetchone()
        assert row is not None
        _fill(owner, int(row[0]), start_us)
        begun = time.perf_counter()
        fold_tenant(owner, TENANT, now_us())
        folded_s = time.perf_counter() - begun
        owner.execute("VACUUM ANALYZE rollup")
    window = f"from={iso_us(start_us)}&to={iso_us(end_us)}&limit=2000&path={PATH}"
    figures = [told("rollup_folded", SECONDS / folded_s, "samples/s")]
    for name, asked in ASKS.items():
        latencies_ms = percentiles_ms(_read(platform, f"/v1/twins/{TWIN}/history?{window}&{asked}"))
        p50 = (f"{name}_p50", latencies_ms["p50"], "ms")
        figures.append(told(*p50) if name == "history_year_seconds" else at_most(*p50, 50))
        figures.append(told(f"{name}_p95", latencies_ms["p95"], "ms"))
    return figures


def _fill(owner: psycopg.Connection[tuple[object, ...]], series: int, start_us: int) -> None:
    register(owner)
    owner.execute("SET jit = off")
    time_us = start_us + np.arange(SECONDS) * SECOND_US
    weeks = week_of(time_us)
    for week in np.unique(weeks):
        own = time_us[weeks == week]
        values = 20 + np.sin(own / 4e9) + own % 7_000_000 / 1e7
        owner.execute("SELECT ensure_sample_week(%s::text::date)", (monday_of(int(week)),))
        owner.execute(PACK, (TENANT, series, timestamps(own), doubles(values)))
    owner.execute("VACUUM ANALYZE sample_pack")


def _read(platform: Platform, path: str) -> list[float]:
    connection = Connection(platform.port)
    request = request_bytes("GET", path, platform.key)
    latencies_s = []
    for _ in range(READS):
        begun = time.perf_counter()
        status, body = connection.send(request)
        latencies_s.append(time.perf_counter() - begun)
        if status != 200 or body.count(b'"time"') < 900:
            raise RuntimeError(f"{status} {body[:300]!r}")
    connection.close()
    return latencies_s
