"""Transitions split spans so that every moment stands as a model says, which keeps a state for each moment."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gemel.graph.lifecycle import STATES
from gemel.graph.timeline import (
    FOREVER_US,
    Span,
    Standing,
    Transition,
    since_us,
    split,
    state_before,
)

MOMENTS = range(24)
END = len(MOMENTS)

cuts = st.lists(st.integers(0, END - 1), unique=True, min_size=1, max_size=6).map(sorted)
transitions = st.lists(
    st.builds(
        Transition,
        st.sampled_from(STATES),
        st.integers(0, END - 1),
        st.sampled_from([None, "why"]),
        st.sampled_from([None, "who"]),
    ),
    max_size=6,
)


def born(starts: list[int]) -> list[Span]:
    """A twin that got another model at each start but the first."""
    ends = [*starts[1:], FOREVER_US]
    return [
        Span(start, end, Standing(f"model {number}", {"part": f"model {number}"}, "active"))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def at(spans: list[Span], moment: int) -> Standing | None:
    found = [span.standing for span in spans if span.from_us <= moment < span.to_us]
    assert len(found) <= 1, (spans, moment)
    return found[0] if found else None


def applied(spans: list[Span], transition: Transition) -> list[Span]:
    parted = split(spans, transition)
    assert all(span in spans for span in parted.closed)
    kept = [span for span in spans if span not in parted.closed]
    return sorted(kept + parted.opened, key=lambda span: span.from_us)


@given(cuts, transitions)
def test_every_moment_stands_as_the_model_says(starts: list[int], told: list[Transition]) -> None:
    spans = born(starts)
    model = {moment: at(spans, moment) for moment in MOMENTS}
    for transition in told:
        later = [moment for moment in MOMENTS if moment >= transition.at_us and model[moment] is not None]
        changes = any(model[moment].lifecycle != transition.state for moment in later)  # type: ignore[union-attr]
        before = spans
        spans = applied(spans, transition)
        for moment in later if changes else ():
            standing = model[moment]
            assert standing is not None
            model[moment] = standing._replace(
                lifecycle=transition.state, reason=transition.reason, actor=transition.actor
            )
        assert {moment: at(spans, moment) for moment in MOMENTS} == model
        assert changes or spans == before
        assert all(one.to_us == other.from_us for one, other in pairwise(spans))
        assert (spans[0].from_us, spans[-1].to_us) == (starts[0], FOREVER_US)


@given(cuts, transitions)
def test_only_what_changes_is_closed(starts: list[int], told: list[Transition]) -> None:
    spans = born(starts)
    for transition in told:
        parted = split(spans, transition)
        assert not set(map(repr, parted.closed)) & set(map(repr, parted.opened))
        assert all(span.to_us > transition.at_us for span in parted.closed)
        spans = applied(spans, transition)


@given(cuts, transitions)
def test_what_is_asked_of_spans_is_as_the_model_says(starts: list[int], told: list[Transition]) -> None:
    spans = born(starts)
    for transition in told:
        spans = applied(spans, transition)
    states = [None if (each := at(spans, moment)) is None else each.lifecycle for moment in MOMENTS]
    for moment in MOMENTS:
        assert state_before(spans, moment) == (states[moment - 1] if moment else None)
    since = END - 1
    while since and states[since - 1] == states[-1]:
        since -= 1
    assert since_us(spans) == (None if since == starts[0] else since)
