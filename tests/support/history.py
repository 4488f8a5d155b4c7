"""History as it is stored, wherever it lies: rows, head and packs."""

from __future__ import annotations

from gemel.history.stored import EACH, EACH_OF_HEAD

__all__ = ["LAST_SAMPLES", "SAMPLES"]

PLAIN = "coalesce(un.kind, 0::smallint), NULL::jsonb, 0, 0::smallint, false"
SAMPLES = f"""(
    SELECT tenant, series, source_time, recorded, num, kind, doc, revision, quality, late FROM sample
    UNION ALL
    SELECT tenant, pk.series, un.source_time, un.recorded, un.num, {PLAIN}
    FROM sample_pack AS pk CROSS JOIN LATERAL {EACH}
    UNION ALL
    SELECT tenant, un.series, un.source_time, un.recorded, un.num, {PLAIN}
    FROM sample_head AS pk CROSS JOIN LATERAL {EACH_OF_HEAD})"""
"""SQL for all samples, for a FROM, with the columns of `sample`."""

LAST_SAMPLES = (
    f"(SELECT DISTINCT ON (tenant, series) * FROM {SAMPLES} AS s ORDER BY tenant, series, source_time DESC)"
)
"""SQL for the last sample of each series, for a FROM."""
