"""From `gemel up` to ready on an existing data directory, after a clean stop and after kill -9."""

from __future__ import annotations

from statistics import median

from bench.figures import Figure, at_most
from bench.platform import Platform

__all__ = ["measure"]

RUNS = 3


def measure(platform: Platform) -> list[Figure]:
    """Stop and start, then kill and start, each some times; the medians."""
    clean, killed = [], []
    for _ in range(RUNS):
        platform.stop()
        clean.append(platform.start())
    for _ in range(RUNS):
        platform.kill()
        killed.append(platform.start())
    return [
        at_most("up_to_ready", median(clean), "s", 4),
        at_most("up_to_ready_after_kill", median(killed), "s", 4),
    ]
