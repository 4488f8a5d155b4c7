"""Lifecycles of twins in the database: transitions, and the states that a twin was in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gemel.base.clock import from_us, iso_us
from gemel.base.errors import InvalidError
from gemel.graph.context import GraphContext
from gemel.graph.etag import UNCONDITIONAL, Conditions
from gemel.graph.lifecycle import DECOMMISSIONED, FOLLOWERS, check_reason, check_state, check_transition
from gemel.graph.live import LiveTwin
from gemel.graph.loading import load_twin
from gemel.graph.names import check_twin_id
from gemel.graph.past_states import PastState, known_then, past_states
from gemel.graph.spans import known_spans, tell_split, told_spans
from gemel.graph.timeline import FOREVER_US, Transition, since_us, split, state_before
from gemel.graph.writing import tell_twin
from gemel.history.moment import LIVE, Moment
from gemel.security.acts import read_acts
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["Lifecycle", "TransitionRequest", "change_lifecycle", "get_lifecycle"]

UPDATE = """
WITH stamped AS (
    INSERT INTO twin_stamp (tenant, twin_no, recorded, valid_from)
    VALUES (current_tenant(), %(no)s, %(now)s, %(at)s))
UPDATE twin SET lifecycle = %(state)s, lifecycle_from = %(since)s, recorded = %(now)s
WHERE tenant = current_tenant() AND twin_no = %(no)s"""


@dataclass(frozen=True, slots=True)
class TransitionRequest:
    """What is asked: a state, why, who asks, and since when it is so (µs; None means from now on)."""

    state: str
    reason: str
    actor: str
    valid_from_us: int | None = None
    conditions: Conditions = UNCONDITIONAL


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A twin's state, since when (µs), what may follow, the states that it had, and the twin's entity tag."""

    twin_id: str
    state: str
    since_us: int
    allowed: tuple[str, ...]
    history: list[PastState]
    etag: str


async def get_lifecycle(
    tx: ReadTransaction, context: GraphContext, twin_id: str, moment: Moment = LIVE
) -> Lifecycle:
    """Return the lifecycle of a twin, with its state as of a moment and the history that was known then.

    Raises InvalidError (InvalidArgument, MomentBeforeRetention), NotFoundError (DigitalTwinNotFound).
    """
    check_twin_id(twin_id)
    twin = await load_twin(tx, context, twin_id, moment)
    told = known_then(await told_spans(tx, twin.row.twin_no), moment.known_at_us)
    spans = [each.span for each in told if each.forgotten_us == FOREVER_US]
    known = sorted((span for span in spans if span.from_us <= moment.as_of_us), key=lambda span: span.from_us)
    since = since_us(known)
    return Lifecycle(
        twin_id,
        twin.row.lifecycle,
        known[0].from_us if since is None else since,
        FOLLOWERS[twin.row.lifecycle],
        await _with_actors(tx, past_states(told)),
        twin.etag,
    )


async def _with_actors(tx: ReadTransaction, states: list[PastState]) -> list[PastState]:
    """Name who made the twin, where its first state came with it, by the audit trail."""
    acts = await read_acts(tx, [state.recorded_us for state in states if state.actor is None])
    return [
        state._replace(actor=acts[state.recorded_us].actor)
        if state.actor is None and state.recorded_us in acts
        else state
        for state in states
    ]


async def change_lifecycle(
    tx: WriteTransaction, context: GraphContext, twin_id: str, request: TransitionRequest
) -> Lifecycle:
    """Say that a twin is in a state, from now on or since a moment of the past; return its lifecycle then.

    From that moment the state holds for good: what was told of later is superseded. Nothing is written where
    nothing changes. Raises InvalidError (InvalidArgument), NotFoundError (DigitalTwinNotFound),
    PreconditionError, ConflictError (LifecycleTransitionInvalid).
    """
    check_twin_id(twin_id)
    check_state(request.state)
    check_reason(request.reason)
    twin = await load_twin(tx, context, twin_id)
    request.conditions.check(twin.etag, "twin", twin_id)
    stamp_us = tx.stamp()
    at_us = _start_us(request.valid_from_us, stamp_us, twin)
    spans = await known_spans(tx, twin.row.twin_no)
    check_transition(state_before(spans, at_us), request.state)
    parted = split(spans, Transition(request.state, at_us, request.reason, request.actor))
    if parted.closed:
        await tell_split(tx, twin.row.twin_no, parted, stamp_us)
        kept = [span for span in spans if span not in parted.closed]
        since = since_us(sorted(kept + parted.opened, key=lambda span: span.from_us))
        moments = {"now": stamp_us, "at": at_us, "since": since}
        await _turn(tx, twin, request.state, moments)
        told = {"state": request.state, "from": iso_us(at_us), "reason": request.reason}
        await tell_twin(tx, "twin.updated", twin, lifecycle=told)
    return await get_lifecycle(tx, context, twin_id)


async def _turn(
    tx: WriteTransaction, twin: LiveTwin, state: str, moments_us: Mapping[str, int | None]
) -> None:
    """Write the state, and since when it is, to the twin's row."""
    moments = {name: None if each is None else from_us(each) for name, each in moments_us.items()}
    await tx.execute(UPDATE, moments | {"no": twin.row.twin_no, "state": state})
    if DECOMMISSIONED in (state, twin.row.lifecycle):
        tx.touch_graph()  # who judges samples holds since when a twin is decommissioned, and no more of this


def _start_us(valid_from_us: int | None, stamp_us: int, twin: LiveTwin) -> int:
    if valid_from_us is None:
        return stamp_us
    if valid_from_us > stamp_us:
        raise InvalidError("InvalidArgument", f"validFrom ({iso_us(valid_from_us)}) is in the future.")
    if valid_from_us < twin.row.valid_from_us:
        raise InvalidError(
            "InvalidArgument",
            f"validFrom is before {iso_us(twin.row.valid_from_us)}, since when the twin has been there.",
            "Move the twin's own $validFrom back first.",
        )
    return valid_from_us
