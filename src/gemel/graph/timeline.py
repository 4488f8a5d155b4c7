"""What is known of a twin in time: its spans, and how a transition of its lifecycle splits them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["FOREVER_US", "Span", "Split", "Standing", "Transition", "since_us", "split", "state_before"]

FOREVER_US = 1 << 62
"""The end of a span that has none yet."""


class Standing(NamedTuple):
    """How a twin stands in a span: model, components by dotted path, lifecycle.

    `reason` and `actor` are of the transition into this lifecycle.
    """

    model_id: str
    components: Mapping[str, str]
    lifecycle: str
    reason: str | None = None
    actor: str | None = None


class Span(NamedTuple):
    """From one source time (µs) to before another, a twin stood so."""

    from_us: int
    to_us: int
    standing: Standing


class Transition(NamedTuple):
    """From `at_us` on a twin is in a state of its lifecycle."""

    state: str
    at_us: int
    reason: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """What a transition makes of spans: some are no longer what we know, and others are."""

    closed: list[Span]
    opened: list[Span]


def split(spans: Sequence[Span], transition: Transition) -> Split:
    """Split the known spans of a twin, given in order and without gaps, by a transition.

    The transition holds from its time on, for good: later states are no longer what we know. Models and
    components stay as they were. Nothing is closed where it changes nothing: no lifecycle at any time.
    """
    later = [span for span in spans if span.to_us > transition.at_us]
    if all(span.standing.lifecycle == transition.state for span in later):
        return Split([], [])
    opened: list[Span] = []
    for span in later:
        if span.from_us < transition.at_us:
            opened.append(span._replace(to_us=transition.at_us))
        standing = span.standing._replace(
            lifecycle=transition.state, reason=transition.reason, actor=transition.actor
        )
        start_us = max(span.from_us, transition.at_us)
        last = opened[-1] if opened else None
        if last is not None and last.standing == standing:
            opened[-1] = last._replace(to_us=span.to_us)
        else:
            opened.append(Span(start_us, span.to_us, standing))
    return Split(
        [span for span in later if span not in opened], [span for span in opened if span not in later]
    )


def state_before(spans: Sequence[Span], time_us: int) -> str | None:
    """Return the lifecycle just before a time, or None where the twin was not there yet."""
    states = [span.standing.lifecycle for span in spans if span.from_us < time_us]
    return states[-1] if states else None


def since_us(spans: Sequence[Span]) -> int | None:
    """Return since when a twin is in its last state, or None where it was never in another."""
    for span, before in zip(spans[:0:-1], spans[-2::-1], strict=True):
        if before.standing.lifecycle != spans[-1].standing.lifecycle:
            return span.from_us
    return None
