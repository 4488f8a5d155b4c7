"""When each twin was, and how it stood, on two axes: closed rows are never changed but for their end.

A span says: from `valid_from` to `valid_to` the twin stood so, and from `recorded_from` to `recorded_to` that
is what we knew. A change ends the open row as knowledge and tells the same time anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from gemel.base.clock import from_us
from gemel.graph.loading import MICROSECONDS
from gemel.graph.past_states import ToldSpan
from gemel.graph.timeline import FOREVER_US, Span, Split, Standing
from gemel.store.columns import BigintArray, TextArray, TimestampArray, labels
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "end_spans",
    "known_spans",
    "move_starts",
    "open_spans",
    "standing_columns",
    "tell_split",
    "told_spans",
    "turn_span",
]

STANDING = "model_id, components, lifecycle, reason, actor"
INTO = f"twin_span (tenant, twin_no, twin_id, valid_from, valid_to, recorded_from, {STANDING})"

OPEN = f"""
INSERT INTO {INTO}
SELECT (SELECT current_tenant()), no, id, starts, 'infinity', recorded, model, components::jsonb, lifecycle,
       reason, actor
FROM (SELECT %s::timestamptz AS recorded, unnest(%s::bigint[]) AS no, unnest(%s::text[]) AS id,
             unnest(%s::timestamptz[]) AS starts, unnest(%s::text[]) AS model, unnest(%s::text[]) AS components,
             unnest(%s::text[]) AS lifecycle, unnest(%s::text[]) AS reason, unnest(%s::text[]) AS actor) AS t"""

KNOWN_OPEN = f"""
WITH known AS (
    UPDATE twin_span SET recorded_to = %s
    WHERE tenant = current_tenant() AND twin_no = ANY(%s) AND valid_to = 'infinity'
      AND recorded_to = 'infinity'
    RETURNING twin_no, twin_id, valid_from, {STANDING})"""

END = f"""{KNOWN_OPEN}
INSERT INTO {INTO}
SELECT current_tenant(), twin_no, twin_id, valid_from, %s, %s, {STANDING} FROM known"""

TURN = f"""{END}
UNION ALL
SELECT current_tenant(), twin_no, twin_id, %s, 'infinity', %s, %s, %s::jsonb, lifecycle, reason, actor
FROM known"""

# The first span of a twin is the one that starts when the twin does.
MOVE_STARTS = f"""
WITH moved AS (
    SELECT m.no, m.starts, t.valid_from AS started
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS m (no, starts)
    JOIN twin AS t ON t.tenant = current_tenant() AND t.twin_no = m.no AND t.valid_from > m.starts
), known AS (
    UPDATE twin_span AS s SET recorded_to = %s FROM moved
    WHERE s.tenant = current_tenant() AND s.twin_no = moved.no AND s.valid_from = moved.started
      AND s.recorded_to = 'infinity'
    RETURNING s.twin_no, s.twin_id, moved.starts, s.valid_to, {STANDING}
), told AS (
    INSERT INTO {INTO}
    SELECT current_tenant(), twin_no, twin_id, starts, valid_to, %s, {STANDING} FROM known
)
UPDATE twin SET valid_from = moved.starts FROM moved
WHERE twin.tenant = current_tenant() AND twin.twin_no = moved.no"""

END_US = f"CASE WHEN {{0}} < 'infinity' THEN {MICROSECONDS.format('{0}')} ELSE {FOREVER_US} END"
TOLD = f"""
SELECT {MICROSECONDS.format("valid_from")}, {END_US.format("valid_to")}, {STANDING},
       {MICROSECONDS.format("recorded_from")}, {END_US.format("recorded_to")}
FROM twin_span WHERE tenant = current_tenant() AND twin_no = %s"""
KNOWN = f"{TOLD} AND recorded_to = 'infinity' ORDER BY valid_from"

FORGET = """
UPDATE twin_span SET recorded_to = %s
WHERE tenant = current_tenant() AND twin_no = %s AND recorded_to = 'infinity' AND valid_from = ANY(%s)"""

TELL = f"""
INSERT INTO {INTO}
SELECT current_tenant(), t.twin_no, t.twin_id, s.starts, coalesce(s.ends, 'infinity'), %s, s.model_id,
       s.components, s.lifecycle, s.reason, s.actor
FROM unnest(%s::timestamptz[], %s::timestamptz[], %s::text[], %s::jsonb[], %s::text[], %s::text[], %s::text[])
    AS s (starts, ends, model_id, components, lifecycle, reason, actor)
JOIN twin AS t ON t.tenant = current_tenant() AND t.twin_no = %s"""


async def open_spans(
    tx: WriteTransaction,
    places: tuple[BigintArray, TextArray, TimestampArray],
    standings: Sequence[TextArray],
    stamp_us: int,
) -> None:
    """Tell that twins are there: their numbers, ids, and since when, and how they stand, as `standing_columns`."""
    await tx.execute(OPEN, (from_us(stamp_us), *places, *standings))


async def end_spans(tx: WriteTransaction, twin_nos: Sequence[int], stamp_us: int) -> None:
    """Tell that twins are no more from `stamp_us` on."""
    now = from_us(stamp_us)
    await tx.execute(END, (now, list(twin_nos), now, now))


async def turn_span(
    tx: WriteTransaction, twin_no: int, model_id: str, components: Mapping[str, str], stamp_us: int
) -> None:
    """Tell that a twin has another model and its components from `stamp_us` on."""
    now = from_us(stamp_us)
    await tx.execute(TURN, (now, [twin_no], now, now, now, now, model_id, _json(components)))


async def move_starts(tx: WriteTransaction, starts_us: Mapping[int, int]) -> None:
    """Tell that twins (by number) were there earlier than known: a start only ever moves back."""
    if not starts_us:
        return
    now = from_us(tx.stamp())
    starts: Sequence[object] = [from_us(time_us) for time_us in starts_us.values()]
    await tx.execute(MOVE_STARTS, (list(starts_us), starts, now, now))
    tx.touch_graph()


async def known_spans(tx: ReadTransaction, twin_no: int) -> list[Span]:
    """Return what is known now of a twin, in the order of time and without gaps."""
    return [_told(row).span for row in await tx.rows(KNOWN, (twin_no,))]


async def told_spans(tx: ReadTransaction, twin_no: int) -> list[ToldSpan]:
    """Return everything that was ever told of a twin."""
    return [_told(row) for row in await tx.rows(TOLD, (twin_no,))]


async def tell_split(tx: WriteTransaction, twin_no: int, split: Split, stamp_us: int) -> None:
    """Tell that from `stamp_us` on, spans of a live twin are not what we know, and others are."""
    now = from_us(stamp_us)
    await tx.execute(FORGET, (now, twin_no, [from_us(span.from_us) for span in split.closed]))
    starts: list[datetime] = [from_us(span.from_us) for span in split.opened]
    ends = [None if span.to_us == FOREVER_US else from_us(span.to_us) for span in split.opened]
    standings = [span.standing for span in split.opened]
    await tx.execute(TELL, (now, starts, ends, *standing_columns(standings), twin_no))


def standing_columns(standings: Sequence[Standing]) -> tuple[TextArray, ...]:
    """Return how twins stand as columns of a statement."""
    components: dict[int, str] = {}  # twins of one type often share theirs
    for each in standings:
        if id(each.components) not in components:
            components[id(each.components)] = _json(each.components)
    return (
        labels([each.model_id for each in standings]),
        labels([components[id(each.components)] for each in standings]),
        labels([each.lifecycle for each in standings]),
        labels([each.reason for each in standings]),
        labels([each.actor for each in standings]),
    )


def _told(row: Row) -> ToldSpan:
    from_us, to_us, *standing, recorded_us, forgotten_us = row
    return ToldSpan(Span(from_us, to_us, Standing(*standing)), recorded_us, forgotten_us)


def _json(components: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(components)).decode()
