"""The states that a twin's lifecycle had, as its spans tell them: in force, or superseded by a correction. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gemel.graph.timeline import FOREVER_US, Span

__all__ = ["PastState", "ToldSpan", "known_then", "past_states"]


class ToldSpan(NamedTuple):
    """A span, and from when to before when (µs) that was what we knew."""

    span: Span
    recorded_us: int
    forgotten_us: int


class PastState(NamedTuple):
    """A twin was in a state from one source time (µs) to before another, or is in it until FOREVER_US.

    `recorded_us` is when that was first told; `superseded_us` when it was told otherwise, or None where it
    holds.
    """

    state: str
    from_us: int
    to_us: int
    reason: str | None
    actor: str | None
    recorded_us: int
    superseded_us: int | None


@dataclass(slots=True)
class _Entry:
    """One state on its way through what was recorded; `spans` are what was last known of it."""

    recorded_us: int
    forgotten_us: int
    spans: list[Span]

    def take(self, told: ToldSpan) -> None:
        if told.forgotten_us > self.forgotten_us:
            self.spans, self.forgotten_us = [], told.forgotten_us
        if told.forgotten_us == self.forgotten_us:
            self.spans.append(told.span)

    def done(self) -> PastState:
        standing = self.spans[0].standing
        return PastState(
            standing.lifecycle,
            min(span.from_us for span in self.spans),
            max(span.to_us for span in self.spans),
            standing.reason,
            standing.actor,
            self.recorded_us,
            None if self.forgotten_us == FOREVER_US else self.forgotten_us,
        )


def known_then(told: Sequence[ToldSpan], known_at_us: int) -> list[ToldSpan]:
    """Return what had been told by a recorded time, as it was known then."""
    return [
        each._replace(forgotten_us=each.forgotten_us if each.forgotten_us <= known_at_us else FOREVER_US)
        for each in told
        if each.recorded_us <= known_at_us
    ]


def past_states(told: Sequence[ToldSpan]) -> list[PastState]:
    """Return the states of a twin in the order of time, and of recording where they overlap.

    A span that is told in the moment in which an overlapping one of the same state, reason and actor is
    forgotten goes on with it: then only its bounds, the model or the components changed.
    """
    entries: list[_Entry] = []
    ended: defaultdict[tuple[int, tuple[str | None, ...]], list[tuple[Span, _Entry]]] = defaultdict(list)
    last: tuple[ToldSpan, _Entry] | None = None
    for each in sorted(told, key=lambda item: (item.recorded_us, item.span.from_us)):
        content = each.span.standing[2:]
        before = ended.get((each.recorded_us, content), [])
        entry = next((entry for span, entry in before if _overlap(span, each.span)), None)
        if entry is None and last is not None and _goes_on(last[0], each):
            entry = last[1]
        if entry is None:
            entry = _Entry(each.recorded_us, each.forgotten_us, [])
            entries.append(entry)
        entry.take(each)
        ended[each.forgotten_us, content].append((each.span, entry))
        last = each, entry
    return sorted((entry.done() for entry in entries), key=lambda state: (state.from_us, state.recorded_us))


def _goes_on(one: ToldSpan, other: ToldSpan) -> bool:
    """Whether a span told in the same moment as the one before it is the same state, of another model."""
    return (
        one.recorded_us == other.recorded_us
        and one.span.to_us == other.span.from_us
        and one.span.standing[2:] == other.span.standing[2:]
    )


def _overlap(one: Span, other: Span) -> bool:
    return one.from_us < other.to_us and other.from_us < one.to_us
