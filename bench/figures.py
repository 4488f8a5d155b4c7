"""A figure: what was measured, the limit it is held against in the same run, and the goal."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

__all__ = ["Figure", "at_least", "at_most", "percentiles_ms", "told"]


class Figure(msgspec.Struct, frozen=True):
    """One row of bench.json: `ratio` is value / limit where there is a limit, `met` None where there is no goal."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None


def at_least(name: str, value: float, unit: str, goal: float) -> Figure:
    """Return a figure that should reach a goal."""
    return Figure(name, value, unit, goal=f">= {goal:g} {unit}", met=value >= goal)


def at_most(name: str, value: float, unit: str, goal: float) -> Figure:
    """Return a figure that should stay at or below a goal."""
    return Figure(name, value, unit, goal=f"<= {goal:g} {unit}", met=value <= goal)


def told(name: str, value: float, unit: str) -> Figure:
    """Return a figure without a goal."""
    return Figure(name, value, unit)


Order = Literal["p50", "p95", "p99"]


def percentiles_ms(latencies_s: list[float]) -> dict[Order, float]:
    """Return p50, p95 and p99 of some latencies, in milliseconds."""
    p50, p95, p99 = np.percentile(np.array(latencies_s) * 1000, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
