"""The shortest way between two twins: a search in breadth, then back from its end along one relationship a step."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.query.clauses import Direction, Hops
from gemel.query.hops import hop_sql
from gemel.query.limits import STEPS_MAX, within
from gemel.query.sql import FALSE, TRUE, Sql, param, sql
from gemel.query.tables import Tables

__all__ = ["shortest_sql"]

OPPOSITE = {Direction.OUT: Direction.IN, Direction.IN: Direction.OUT, Direction.BOTH: Direction.BOTH}
# From the end back to the start: each step takes the relationship with the least key of those that come from a
# twin one hop nearer.
BACK = """
SELECT b.end_no, e.twin_no, b.depth - 1, e.source_no, e.relationship_id
FROM b CROSS JOIN LATERAL (
    SELECT e.* FROM ({}) AS e JOIN w AS v ON v.twin_no = e.twin_no AND v.depth = b.depth - 1
    ORDER BY e.source_no, e.relationship_id LIMIT 1) AS e
WHERE b.depth > 0"""


def shortest_sql(
    tables: Tables, ends: tuple[Sql, Sql | None], names: Sequence[str], direction: Direction, hops: Hops
) -> Sql:
    """Return an item of a FROM: of each twin that ways from the first end lead to, the shortest one.

    With a second end, just of that. Columns: twin_no, length, and from the start on twins, and of the
    relationships sources and ids. Among ways of one length it is always the same. Breadth-first search keeps each
    twin once for every number of hops, and stops where the second end is reached.
    """
    start, end = ends
    forth = hop_sql(tables, names, direction, Sql("w.twin_no"))
    back = hop_sql(tables, names, OPPOSITE[direction], Sql("b.twin_no"))
    found = FALSE if end is None else sql("bool_or(e.twin_no = {}) OVER ()", end)
    wanted = TRUE if end is None else sql("s.twin_no = {}", end)
    return sql(
        "(WITH RECURSIVE w (twin_no, depth, found) AS (SELECT {}, 0, false UNION "
        "SELECT e.twin_no, w.depth + 1, {} FROM w CROSS JOIN LATERAL ({} OFFSET 0) AS e "
        "WHERE w.depth < {} AND NOT w.found), "
        "b (end_no, twin_no, depth, source_no, relationship_id) AS ("
        "SELECT s.twin_no, s.twin_no, min(s.depth), NULL::bigint, NULL::text "
        "FROM (SELECT *, row_number() OVER () AS n FROM w) AS s WHERE {} AND s.depth > 0 AND {} GROUP BY s.twin_no "
        "UNION ALL {}) "
        "SELECT end_no AS twin_no, max(depth) AS length, array_agg(twin_no ORDER BY depth) AS twins, "
        "array_agg(source_no ORDER BY depth) FILTER (WHERE relationship_id IS NOT NULL) AS sources, "
        "array_agg(relationship_id ORDER BY depth) FILTER (WHERE relationship_id IS NOT NULL) AS ids "
        "FROM b GROUP BY end_no)",
        start,
        found,
        forth,
        param(hops.most, "int"),
        within(Sql("s.n"), STEPS_MAX),
        wanted,
        sql(BACK, back),
    )
