"""Samples on their way between the database and a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemel.history.packs import PACK_MAX
from gemel.history.samples import Ints, SampleBatch
from gemel.store.columns import bigints, doubles, smallints, timestamps

__all__ = ["ColdRows", "insert_packs", "insert_rows"]

INSERT = """
INSERT INTO sample (tenant, series, source_time, recorded, num, revision, quality, kind, doc, late)
SELECT {tenant}, series, source_time, recorded, num, revision, quality, kind, doc::jsonb, late
FROM unnest(%(series)s::bigint[], %(times)s::timestamptz[], %(recorded)s::timestamptz[], %(nums)s::float8[],
            %(revisions)s::int[], %(qualities)s::smallint[], %(kinds)s::smallint[], %(docs)s::text[],
            %(late)s::boolean[])
    AS r (series, source_time, recorded, num, revision, quality, kind, doc, late)"""

PACK = """
INSERT INTO sample_pack (tenant, series, first_time, last_time, source_times, recorded_times, nums, kinds)
SELECT current_tenant(), series, min(source_time), max(source_time), array_agg(source_time ORDER BY source_time),
       array_agg(recorded ORDER BY source_time), array_agg(num ORDER BY source_time),
       CASE WHEN bool_or(kind <> 0) THEN array_agg(kind ORDER BY source_time) END
FROM (SELECT unnest(%(packs)s::bigint[]) AS pack, unnest(%(series)s::bigint[]) AS series,
             unnest(%(times)s::timestamptz[]) AS source_time, unnest(%(recorded)s::timestamptz[]) AS recorded,
             unnest(%(nums)s::float8[]) AS num, unnest(%(kinds)s::smallint[]) AS kind) AS r
GROUP BY pack, series"""


@dataclass(frozen=True, slots=True)
class ColdRows:
    """Samples, and for each whether it came late (bool[n])."""

    samples: SampleBatch
    late: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.samples)

    @classmethod
    def none(cls) -> ColdRows:
        """Return no rows."""
        return cls(SampleBatch.of([]), np.zeros(0, np.bool_))

    def take(self, index: Ints | npt.NDArray[np.bool_]) -> ColdRows:
        """Return the rows at some positions, or where a mask is true."""
        return ColdRows(self.samples.take(index), self.late[index])

    def ordered(self) -> ColdRows:
        """Return the rows by series and source time."""
        return self.take(np.lexsort((self.samples.time_us, self.samples.series)))

    @classmethod
    def joined(cls, parts: Sequence[ColdRows]) -> ColdRows:
        """Return rows one after another."""
        if not parts:
            return cls.none()
        batch = SampleBatch.concatenate([part.samples for part in parts])
        return cls(batch, np.concatenate([part.late for part in parts]))


def insert_rows(rows: ColdRows, tenant: int | None = None) -> tuple[str, dict[str, object]]:
    """Return the statement that makes rows of `sample` of them and what it is given; of the current tenant if None."""
    batch = rows.samples
    given = {
        "series": bigints(batch.series),
        "times": timestamps(batch.time_us),
        "recorded": timestamps(batch.recorded_us),
        "nums": [None if math.isnan(num) else num for num in batch.num.tolist()],
        "revisions": batch.revision.tolist(),
        "qualities": batch.quality.tolist(),
        "kinds": batch.kind.tolist(),
        "docs": batch.docs if batch.docs is not None else [None] * len(batch),
        "late": rows.late.tolist(),
        "tenant": tenant,
    }
    return INSERT.format(tenant="current_tenant()" if tenant is None else "%(tenant)s"), given


def insert_packs(rows: ColdRows) -> tuple[str, dict[str, object]]:
    """Return the statement that packs rows of the current tenant, plain numbers, and what it is given.

    There are no packs of these series in their stretch of time.
    """
    batch = rows.samples
    _, first, counts = np.unique(batch.series, return_index=True, return_counts=True)
    place = np.arange(len(batch)) - np.repeat(first, counts)
    given: dict[str, object] = {
        "packs": bigints(place // PACK_MAX),
        "series": bigints(batch.series),
        "times": timestamps(batch.time_us),
        "recorded": timestamps(batch.recorded_us),
        "nums": doubles(batch.num),
        "kinds": smallints(batch.kind),
    }
    return PACK, given
