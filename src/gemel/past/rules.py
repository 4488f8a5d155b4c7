"""The time rules by which a value became one, said of it in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gemel.base.clock import iso_us
from gemel.history.moment import END_US, LIVE, Moment
from gemel.history.moves import Lost, Move
from gemel.past.causes import Cause

__all__ = ["Rule", "rules_of"]

CONTESTS = (
    ("higherRevision", "the revision of this one, {own}, is higher than {other}"),
    ("rankOfKind", "of two values of one revision, other JSON wins over a number, and both over a removal"),
    ("greaterValue", "of two numbers of one revision the greater wins"),
    ("greaterValue", "of two texts or other JSON values of one revision the later in order wins"),
    ("betterQuality", "of two equal values the one of better quality wins"),
    ("rankOfKind", "of two equal numbers the integer wins"),
)
"""By the place in a rank at which two first differ: the rule, and how it is said."""


class Rule(msgspec.Struct, frozen=True):
    """One rule that applied: its name, and what it means here."""

    rule: str
    text: str


def rules_of(move: Move, cause: Cause | None, moment: Moment = LIVE) -> list[Rule]:
    """Return the rules that made a move its series' last value at a moment: its time, its key, its place."""
    return [*_time(move, cause), *_key(move), _newest(move, _asked(moment))]


def _time(move: Move, cause: Cause | None) -> Iterator[Rule]:
    at = iso_us(move.time_us)
    if cause is None:
        return
    if cause.event is not None:
        if cause.event.timed:
            yield Rule("eventTime", f"The event says that it was so at {at}.")
        else:
            yield Rule("receiptTime", f"The event named no time, so it has that of its receipt, {at}.")
    elif move.time_us == move.recorded_us:
        yield Rule("recordedTime", f"The request named no time, so it has that of its recording, {at}.")
    elif (
        move.before_us is not None and move.time_us == move.before_us + 1 and move.time_us > move.recorded_us
    ):
        text = "The value before it was ahead of our clock, so it has the first moment after that one"
        yield Rule("afterLast", f"{text}, {at}.")
    else:
        yield Rule("requestTime", f"The request says that it was so at {at}.")


def _key(move: Move) -> Iterator[Rule]:
    rivals = [lost for lost in move.lost if lost.rank != move.rank]
    if len(rivals) < len(move.lost):
        yield Rule("stateAgain", "A newer value was deleted, so that this one became the last again.")
    if rivals:
        other: Lost = max(rivals, key=lambda lost: lost.rank)
        place = next(
            i for i, (own, their) in enumerate(zip(move.rank, other.rank, strict=True)) if own != their
        )
        name, text = CONTESTS[place]
        said = text.format(own=move.revision, other=other.revision)
        others = "another value" if len(rivals) == 1 else f"{len(rivals)} other values"
        yield Rule(name, f"For the same time there came {others}: {said}.")


def _newest(move: Move, asked: str) -> Rule:
    if move.before_us is None:
        return Rule("newestTime", f"It is the only value of its path{asked}.")
    text = f"No other value{asked} has a newer source time; the one before is of {iso_us(move.before_us)}."
    return Rule("newestTime", text)


def _asked(moment: Moment) -> str:
    """Say among which values a moment chooses; a source time after all that was known is none that was asked for."""
    as_of_us, known_at_us = moment
    until = f" up to {iso_us(as_of_us)}" if as_of_us <= known_at_us and as_of_us < END_US else ""
    return until + (f" known at {iso_us(known_at_us)}" if known_at_us < END_US else "")
