"""Which values differ between two moments, of some twins: only series with a sample between are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gemel.base.clock import from_us
from gemel.history.cold import stage_state
from gemel.history.moment import END_US, Moment, known_samples
from gemel.history.paths import Paths, path_no_of, series_of, twin_no_of
from gemel.history.stored import Stretch, stored_samples
from gemel.history.values import canonical_json, decode
from gemel.store.database import ReadTransaction

__all__ = ["Presence", "ValueDifference", "read_differences"]

# What is last of all is often last at a moment, too: then nothing is looked up. A twin that was there at both
# moments is passed over where its series had nothing new since the first.
AT = """
LEFT JOIN LATERAL (
    SELECT e.num, e.kind, e.doc WHERE e.source_time <= %({0})s
    UNION ALL
    SELECT * FROM {samples} AS s WHERE e.source_time > %({0})s) AS at_{0} ON t.in_{0}"""
OWN = """
SELECT series, source_time, num, kind, doc FROM {}
WHERE tenant = current_tenant() AND series >= t.low AND series < t.high
  AND (source_time > %(from)s OR {later} NOT (t.in_from AND t.in_to))"""
# By what was known then, the last of all may not count. One that had not been recorded may stand for later ones that
# were deleted since: what takes their place as the last is always recorded anew.
LATER_KNOWN = "recorded > %(known_at)s OR"
AT_KNOWN = "LEFT JOIN LATERAL {} AS at_{} ON t.in_{}"
BY_THEN = "source_time <= {}"
READ = f"""
SELECT e.series, at_from.num, at_from.kind, at_from.doc, at_to.num, at_to.kind, at_to.doc
FROM unnest(%(low)s::bigint[], %(high)s::bigint[], %(in_from)s::bool[], %(in_to)s::bool[])
    AS t (low, high, in_from, in_to)
CROSS JOIN LATERAL ({OWN.format("latest", later="{later}")}
    UNION ALL {OWN.format("latest_ended", later="{later}")} OFFSET 0) AS e
{{at}}
ORDER BY e.series"""


class Presence(NamedTuple):
    """A twin by number, and whether it was there at each of the two moments."""

    twin_no: int
    in_from: bool
    in_to: bool


class ValueDifference(NamedTuple):
    """What a path of a twin had at the two moments; None where it had nothing."""

    twin_no: int
    path: str
    role: str
    before: Any
    after: Any


async def read_differences(
    tx: ReadTransaction, paths: Paths, twins: Sequence[Presence], moments: tuple[int, int, int]
) -> list[ValueDifference]:
    """Return the values that differ, by series: `moments` are two source times (inclusive), and by when known; µs."""
    first_us, last_us, known_at_us = moments
    for time_us in (first_us, last_us):
        await stage_state(tx, [twin.twin_no for twin in twins], Moment(time_us, known_at_us))
    wanted = {
        "low": [series_of(twin.twin_no, 0) for twin in twins],
        "high": [series_of(twin.twin_no + 1, 0) for twin in twins],
        "in_from": [twin.in_from for twin in twins],
        "in_to": [twin.in_to for twin in twins],
        "from": from_us(first_us),
        "to": from_us(last_us),
        "known_at": from_us(known_at_us),
    }
    at = "\n".join(_at(name, known_at_us) for name in ("from", "to"))
    later = "" if known_at_us == END_US else LATER_KNOWN
    rows = await tx.rows(READ.format(at=at, later=later), wanted)
    keys = await paths.keys(tx, {path_no_of(row[0]) for row in rows})
    found = []
    for series, *stored in rows:
        before, after = (
            None if kind is None else decode(num, kind, doc) for num, kind, doc in (stored[:3], stored[3:])
        )
        if canonical_json(before) != canonical_json(after):
            found.append(ValueDifference(twin_no_of(series), *keys[path_no_of(series)], before, after))
    return found


def _at(name: str, known_at_us: int) -> str:
    then = f"%({name})s"
    last = ("e.series", Stretch(None, then), BY_THEN.format(then), "DESC", "1")
    if known_at_us == END_US:
        return AT.format(name, samples=stored_samples(*last, "num, kind, doc"))
    return AT_KNOWN.format(known_samples(known_at_us, *last), name, name)
