"""What became of the twins of an id, one incarnation after the other: made, given another model, deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, Literal, NamedTuple

from gemel.base.clock import from_us
from gemel.graph.loading import MICROSECONDS, twin_not_found
from gemel.graph.names import check_twin_id
from gemel.store.database import ReadTransaction

__all__ = ["TwinMove", "read_twin_moves"]

SPANS = f"""
SELECT twin_no, {MICROSECONDS.format("valid_from")},
       CASE WHEN valid_to < 'infinity' THEN {MICROSECONDS.format("valid_to")} END,
       {MICROSECONDS.format("recorded_from")}, recorded_to > %(known_at)s, model_id, lifecycle, reason
FROM twin_span WHERE tenant = current_tenant() AND twin_id = %(id)s AND recorded_from <= %(known_at)s
ORDER BY twin_no, valid_from, recorded_from"""

Kind = Literal["created", "model", "lifecycle", "deleted"]


class TwinMove(NamedTuple):
    """One thing that became of a twin, when it was so and when it was recorded, in µs.

    `before` and `after` are model and lifecycle by name, those that changed; `reason` is the lifecycle's.
    """

    twin_no: int
    kind: Kind
    time_us: int
    recorded_us: int
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str | None = None


class _Span(NamedTuple):
    twin_no: int
    from_us: int
    to_us: int | None
    recorded_us: int
    known: bool
    model: str
    lifecycle: str
    reason: str | None


async def read_twin_moves(tx: ReadTransaction, twin_id: str, known_at_us: int) -> list[TwinMove]:
    """Return what became of all twins that an id had named by a recorded time, as known then, in the order of time.

    Raises NotFoundError (DigitalTwinNotFound) where it had named none.
    """
    check_twin_id(twin_id)
    spans = [_Span(*row) for row in await tx.rows(SPANS, {"id": twin_id, "known_at": from_us(known_at_us)})]
    if not spans:
        raise twin_not_found(twin_id)
    found: list[TwinMove] = []
    for _, own in groupby(spans, key=lambda span: span.twin_no):
        found.extend(_moves(list(own)))
    return found


def _moves(spans: Sequence[_Span]) -> Iterator[TwinMove]:
    known = [span for span in spans if span.known]
    first, last = known[0], known[-1]
    born_us = min(span.recorded_us for span in spans)
    yield TwinMove(first.twin_no, "created", first.from_us, born_us, {}, _standing(first))
    for before, after in pairwise(known):
        kinds: tuple[Kind, ...] = ("model", "lifecycle")
        for kind in kinds:
            if getattr(before, kind) != getattr(after, kind):
                reason = after.reason if kind == "lifecycle" else None
                told_us = _told_us(spans, after, kind)
                old, new = ({str(kind): getattr(span, kind)} for span in (before, after))
                yield TwinMove(after.twin_no, kind, after.from_us, told_us, old, new, reason)
    if last.to_us is not None:
        ended_us = min(span.recorded_us for span in spans if span.to_us == last.to_us)
        yield TwinMove(last.twin_no, "deleted", last.to_us, ended_us, _standing(last), {})


def _told_us(spans: Sequence[_Span], after: _Span, kind: Kind) -> int:
    """Return when it was first told that a twin stands so from then on: later tellings of other things repeat it."""
    value = getattr(after, kind)
    return min(s.recorded_us for s in spans if s.from_us == after.from_us and getattr(s, kind) == value)


def _standing(span: _Span) -> dict[str, Any]:
    return {"model": span.model, "lifecycle": span.lifecycle}
