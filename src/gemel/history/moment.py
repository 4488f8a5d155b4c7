"""A moment on both axes of time: what is so then, and what of it was known then."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from gemel.base.clock import from_us, iso_us
from gemel.base.errors import InvalidError
from gemel.history.stored import ROW, Stretch, stored_samples
from gemel.history.weeks import MONDAY_US, WEEK_US
from gemel.store.database import ReadTransaction

__all__ = [
    "END_US",
    "LIVE",
    "Moment",
    "check_kept",
    "known_samples",
    "last_sample",
    "last_samples",
    "span_then",
]

END_US = 9_214_646_400_000_000
"""2262-01-01, after every source time and every recorded time: no limit."""

VALID = "{0}.valid_from <= %(as_of)s AND {0}.valid_to > %(as_of)s"
SPAN_KNOWN = f"{VALID} AND {{0}}.recorded_from <= %(known_at)s AND {{0}}.recorded_to > %(known_at)s"
SPAN = f"{VALID} AND {{0}}.recorded_to = 'infinity'"
VALUE = "num, kind, doc, recorded, source_time, quality"

# Each arm has its own order and limit, so that the leaves of `sample` are looked at one after the other, and only
# until there are enough rows.
KNOWN_AT = f"""(SELECT {ROW} FROM (
    {{samples}}
    UNION ALL
    (SELECT {ROW} FROM sample_superseded WHERE tenant = current_tenant() AND series = {{series}} AND {{where}}
        AND recorded <= %(known_at)s AND superseded > %(known_at)s {{sort}})) AS known {{sort}})"""


# Most last samples of all are of the moment, too: nothing is looked up for them.
LAST = """(SELECT l.* FROM (
    SELECT series AS no, {columns} FROM latest WHERE {which}
    UNION ALL
    SELECT series AS no, {columns} FROM latest_ended WHERE {which}{ended} OFFSET 0) AS e
CROSS JOIN LATERAL (
    SELECT {own} WHERE {here}
    UNION ALL
    SELECT {columns} FROM {samples} AS s WHERE NOT ({here})) AS l {how_many})"""
HERE = "e.source_time <= %(as_of)s"
HERE_KNOWN = f"{HERE} AND e.recorded <= %(known_at)s"


class Moment(NamedTuple):
    """`as_of_us`: what is so at this source time. `known_at_us`: using only what was recorded by then.

    Without a limit on either it is the live state. With one on `known_at_us` alone it is what a live read
    answered then.
    """

    as_of_us: int = END_US
    known_at_us: int = END_US

    @property
    def parameters(self) -> dict[str, datetime]:
        """The moment as SQL of this package names it: `as_of` and `known_at`."""
        return {"as_of": from_us(self.as_of_us), "known_at": from_us(self.known_at_us)}


LIVE = Moment()


def known_samples(
    known_at_us: int, series: str, stretch: Stretch, where: str, order: str = "", limit: str | None = None
) -> str:
    """Return SQL for samples as they were known at a recorded time: each key with the value that held it then.

    The arguments after the first are those of `stored_samples`. A value held its key from when it was
    recorded until it was superseded; one that lost as it came never did. The recorded time is the parameter
    `known_at`, and stands in the text only where it is a limit.
    """
    if known_at_us >= END_US:
        return stored_samples(series, stretch, where, order, limit)
    samples = stored_samples(series, stretch, f"{where} AND recorded <= %(known_at)s", order, limit)
    sort = f"ORDER BY source_time {order}" + (f" LIMIT {limit}" if limit else "") if order else ""
    return KNOWN_AT.format(samples=samples, series=series, where=where, sort=sort)


def span_then(moment: Moment, alias: str) -> str:
    """Return the condition that a row of a table of spans is of a moment, on both axes; it takes its parameters.

    A moment without a limit on what was known takes less: what is known to this day.
    """
    return (SPAN if moment.known_at_us >= END_US else SPAN_KNOWN).format(alias)


def last_samples(moment: Moment, which: str) -> str:
    """Return SQL for the last sample at a moment of each series that there is or was, of those that `which` chooses.

    It has the columns of `latest`, and the parameters of the moment.
    """
    return _last(moment, ROW, which, "", "OFFSET 0")


def last_sample(moment: Moment, series: str, ended: str = "") -> str:
    """Return SQL for the last sample at a moment of one series (an expression), one row at most, and its parameters.

    Its columns are num, kind, doc, recorded, source_time and quality; it stands where a table may stand in a FROM, and
    is looked up for each row before it. `ended` is a condition without which its twin is not deleted, so that nothing
    is looked up among what is.
    """
    which = f"tenant = current_tenant() AND series = {series}"
    return _last(moment, VALUE, which, ended and f" AND {ended}", "LIMIT 1")


def check_kept(tx: ReadTransaction, moment: Moment) -> None:
    """Raise InvalidError (MomentBeforeRetention) where the values of a moment are no longer all there."""
    line_us = tx.line_us
    time_us = min(moment)
    if line_us is not None and time_us < line_us:
        raise InvalidError(
            "MomentBeforeRetention",
            f"{iso_us(time_us)} is before {iso_us(line_us)}, the line before which history is no longer kept whole.",
            "Ask for a moment at or after that.",
        )


def _last(moment: Moment, columns: str, which: str, ended: str, how_many: str) -> str:
    # The time stands in a subquery, so that a plan for all times leaves out leaves as well as one for this time: it
    # is kept, where making it takes longer than what it does. The leaves of later weeks are not even in it.
    then = "(SELECT %(as_of)s)"
    until = f"source_time <= {then}"
    if moment.as_of_us < END_US:
        until += f" AND source_time < '{from_us(_week_end_us(moment.as_of_us)).isoformat()}'"
    which_samples = ("e.no", Stretch(None, then), until, "DESC", "1")
    if moment.known_at_us >= END_US:
        here, samples = HERE, stored_samples(*which_samples, columns)
    else:
        here, samples = HERE_KNOWN, known_samples(moment.known_at_us, *which_samples)
    return LAST.format(
        columns=columns,
        own=", ".join(f"e.{name}" for name in columns.split(", ")),
        which=which,
        ended=ended,
        here=here,
        samples=samples,
        how_many=how_many,
    )


def _week_end_us(time_us: int) -> int:
    return time_us - (time_us - MONDAY_US) % WEEK_US + WEEK_US
