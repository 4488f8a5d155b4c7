"""The dataset of the graph figures: its graph by an import job, its samples by the platform's own writing.

100,000 twins of the building ontology and 300,000 relationships, which exist from START on; 10 M samples of the
`lastValue` of each sensor that measures a number, a step every few hours over WEEKS weeks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from bench.ingest import owner_dsn
from bench.ontology_graph import START, Graph, write_import
from bench.platform import MemoryWatch, Platform
from bench.serving import TENANT, Serving
from gemel.base.clock import to_us
from gemel.history.samples import SampleBatch
from gemel.history.write import write_samples

__all__ = ["END", "RELATIONSHIPS", "TWINS", "Imported", "import_graph", "settle", "write_history"]

TWINS = 100_000
RELATIONSHIPS = 300_000
SAMPLES = 10_000_000
WEEKS = 12
END = START + timedelta(weeks=WEEKS)
BATCH_SAMPLES = 500_000
LOOK_S = 0.1
WEEK_US = 7 * 86_400_000_000
SERIES = """
SELECT l.series FROM latest AS l JOIN path AS p ON p.path_no = l.series & 1048575
WHERE p.path = 'lastValue' AND p.role = 'property' AND l.num IS NOT NULL ORDER BY l.series"""
FOLDED = "SELECT FROM tenant_head WHERE rolled > %s"


@dataclass(frozen=True, slots=True)
class Imported:
    """How long an import took, and each of its sections, in s; the server's peak memory in MiB."""

    elapsed_s: float
    section_s: dict[str, float]
    peak_mib: float


def import_graph(platform: Platform) -> Imported:
    """Make the file, send it, and wait until the job is over; the time counts from the first byte sent."""
    file = platform.data_dir.parent / "graph.ndjson"
    write_import(file, Graph(TWINS, RELATIONSHIPS))
    begun = time.perf_counter()
    with platform.client() as client, MemoryWatch(platform) as memory:
        with file.open("rb") as body:
            headers = {"Content-Type": "application/x-ndjson"}
            client.post("/v1/imports?id=bench", content=body, headers=headers).raise_for_status()
        section_s, job = _follow(platform, begun)
        elapsed_s = time.perf_counter() - begun
    if job["status"] != "succeeded":
        raise RuntimeError(f"the import ended as {job}")
    file.unlink()
    return Imported(elapsed_s, section_s, memory.peak_mib)


def _follow(platform: Platform, begun: float) -> tuple[dict[str, float], dict[str, Any]]:
    """Wait for the end of the job; return how long it was in each section, and the job."""
    section_s: dict[str, float] = {}
    last = begun
    with platform.client() as client:
        while True:
            time.sleep(LOOK_S)
            job: dict[str, Any] = client.get("/v1/jobs/imports/bench").json()
            now = time.perf_counter()
            section_s[job["section"]] = section_s.get(job["section"], 0.0) + now - last
            last = now
            if job["status"] not in {"notstarted", "running"}:
                return section_s, job


async def write_history(serving: Serving) -> float:
    """Write the samples, as many in a commit as BATCH_SAMPLES, in the order of time; return samples/s."""
    async with serving.read() as tx:
        series = np.array([row[0] for row in await tx.rows(SERIES)], np.int64)
    steps = -(-SAMPLES // len(series))
    start_us, step_us = to_us(START), WEEKS * WEEK_US // steps
    await serving.context.weeks.ensure(start_us + WEEK_US * np.arange(WEEKS, dtype=np.int64))
    chance = np.random.default_rng(1)
    group = BATCH_SAMPLES // len(series)
    begun = time.perf_counter()
    for first in range(0, steps, group):
        # Never at START itself: there the import wrote a value of its own.
        times = start_us + step_us * np.arange(first, min(first + group, steps), dtype=np.int64) + 1
        values = np.round(chance.uniform(0, 100, len(times) * len(series)), 2)
        async with serving.database.write(TENANT) as tx:
            recorded_us = np.full(len(values), tx.stamp(), np.int64)
            batch = _batch(np.tile(series, len(times)), np.repeat(times, len(series)), recorded_us, values)
            await write_samples(tx, batch)
    return steps * len(series) / (time.perf_counter() - begun)


def _batch(
    series: npt.NDArray[np.int64],
    time_us: npt.NDArray[np.int64],
    recorded_us: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> SampleBatch:
    count = len(values)
    small = np.zeros(count, np.int16)
    return SampleBatch(series, time_us, recorded_us, values, small, np.zeros(count, np.int32), small, None)


def settle(platform: Platform) -> None:
    """Wait until all is packed and folded, and do what autovacuum soon would: none runs while figures are measured."""
    with psycopg.connect(owner_dsn(platform), autocommit=True) as owner:
        while owner.execute("SELECT FROM sample_head LIMIT 1").rowcount:
            time.sleep(LOOK_S)
        while not owner.execute(FOLDED, (END,)).rowcount:
            time.sleep(LOOK_S)
        owner.execute("VACUUM (ANALYZE)")
        owner.execute("CHECKPOINT")
