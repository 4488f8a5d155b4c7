"""When each twin was, and with which model, on two axes: closed rows are never changed but for their end.

A span says: from `valid_from` to `valid_to` the twin was so, and from `recorded_from` to `recorded_to` that
is what we knew. A change ends the open row as knowledge and tells the same time anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gemel.base.clock import from_us
from gemel.store.database import WriteTransaction

__all__ = ["end_span", "move_starts", "open_spans", "turn_span"]

OPEN = """
INSERT INTO twin_span (tenant, twin_no, twin_id, model_id, valid_from, recorded_from)
SELECT current_tenant(), t.no, t.id, %s, t.starts, %s
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS t (no, id, starts)"""

FORGET_OPEN = """
UPDATE twin_span SET recorded_to = %s
WHERE tenant = current_tenant() AND twin_no = %s AND valid_to = 'infinity' AND recorded_to = 'infinity'
RETURNING twin_no, twin_id, model_id, valid_from"""

END = f"""
WITH known AS ({FORGET_OPEN})
INSERT INTO twin_span (tenant, twin_no, twin_id, model_id, valid_from, valid_to, recorded_from)
SELECT current_tenant(), twin_no, twin_id, model_id, valid_from, %s, %s FROM known"""

TURN = f"""
WITH known AS ({FORGET_OPEN})
INSERT INTO twin_span (tenant, twin_no, twin_id, model_id, valid_from, valid_to, recorded_from)
SELECT current_tenant(), twin_no, twin_id, model_id, valid_from, %s, %s FROM known
UNION ALL
SELECT current_tenant(), twin_no, twin_id, %s, %s, 'infinity', %s FROM known"""

# The first span of a twin is the one that starts when the twin does.
MOVE_STARTS = """
WITH moved AS (
    SELECT m.no, m.starts, t.valid_from AS started
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS m (no, starts)
    JOIN twin AS t ON t.tenant = current_tenant() AND t.twin_no = m.no AND t.valid_from > m.starts
), known AS (
    UPDATE twin_span AS s SET recorded_to = %s FROM moved
    WHERE s.tenant = current_tenant() AND s.twin_no = moved.no AND s.valid_from = moved.started
      AND s.recorded_to = 'infinity'
    RETURNING s.twin_no, s.twin_id, s.model_id, moved.starts, s.valid_to
), told AS (
    INSERT INTO twin_span (tenant, twin_no, twin_id, model_id, valid_from, valid_to, recorded_from)
    SELECT current_tenant(), twin_no, twin_id, model_id, starts, valid_to, %s FROM known
)
UPDATE twin SET valid_from = moved.starts FROM moved
WHERE twin.tenant = current_tenant() AND twin.twin_no = moved.no"""


async def open_spans(
    tx: WriteTransaction, twins: Sequence[tuple[int, str, int]], model_id: str, stamp_us: int
) -> None:
    """Tell that twins of one model are there: number, id, and since when (µs) of each."""
    numbers, ids, starts = zip(*twins, strict=True)
    moments = [from_us(start_us) for start_us in starts]
    await tx.execute(OPEN, (model_id, from_us(stamp_us), list(numbers), list(ids), moments))


async def end_span(tx: WriteTransaction, twin_no: int, stamp_us: int) -> None:
    """Tell that a twin is no more from `stamp_us` on."""
    now = from_us(stamp_us)
    await tx.execute(END, (now, twin_no, now, now))


async def turn_span(tx: WriteTransaction, twin_no: int, model_id: str, stamp_us: int) -> None:
    """Tell that a twin has another model from `stamp_us` on."""
    now = from_us(stamp_us)
    await tx.execute(TURN, (now, twin_no, now, now, model_id, now, now))


async def move_starts(tx: WriteTransaction, starts_us: Mapping[int, int]) -> None:
    """Tell that twins (by number) were there earlier than known: a start only ever moves back."""
    if not starts_us:
        return
    now = from_us(tx.stamp())
    starts: Sequence[object] = [from_us(time_us) for time_us in starts_us.values()]
    await tx.execute(MOVE_STARTS, (list(starts_us), starts, now, now))
    tx.touch_graph()
