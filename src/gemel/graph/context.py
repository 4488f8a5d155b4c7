"""What every act on the graph needs beside its transaction: models, path numbers, weeks and limits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from gemel.base.clock import now_us
from gemel.graph.changing import Limits
from gemel.graph.library import ModelLibrary
from gemel.history.paths import Paths
from gemel.history.weeks import Weeks
from gemel.store.database import WriteTransaction

__all__ = ["GraphContext"]


@dataclass(frozen=True, slots=True)
class GraphContext:
    """The parts of one process that graph functions share; safe for concurrent use on one event loop."""

    library: ModelLibrary
    paths: Paths
    weeks: Weeks
    future_tolerance_us: int = 5_000_000

    async def prepare(self, times_us: Collection[int]) -> None:
        """Make room for samples at explicit source times; call it before the write transaction opens.

        Times that a write would refuse anyway are passed over.
        """
        latest_us = now_us() + self.future_tolerance_us
        past = [time_us for time_us in times_us if 0 <= time_us <= latest_us]
        if past:
            await self.weeks.ensure(np.array(past, np.int64))

    def limits(self, tx: WriteTransaction, now_us: int) -> Limits:
        """Return which source times a transaction takes at the recorded time `now_us`."""
        return Limits(tx.retention_us, now_us + self.future_tolerance_us)
