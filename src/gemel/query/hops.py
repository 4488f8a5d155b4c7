"""Ways of several hops: which twins can be reached from one by so many relationships."""

from __future__ import annotations

from collections.abc import Sequence

from gemel.query.clauses import Direction, Hops
from gemel.query.limits import STEPS_MAX, within
from gemel.query.sql import TRUE, Sql, joined, param, sql
from gemel.query.tables import Tables

__all__ = ["hop_sql", "hops_sql"]

ENDS = {Direction.OUT: [("source_no", "target_no")], Direction.IN: [("target_no", "source_no")]}
ENDS[Direction.BOTH] = ENDS[Direction.OUT] + ENDS[Direction.IN]


def hops_sql(tables: Tables, start: Sql, names: Sequence[str], direction: Direction, hops: Hops) -> Sql:
    """Return an item of a FROM: the numbers (twin_no) of the twins that ways from `start` lead to, each once.

    A way may come through a twin more than once. Each step keeps the twins that are so many hops away, once, so
    the work is bounded by the relationships times the hops, not by the number of ways. Beyond STEPS_MAX such steps
    the statement is stopped, as what was reached stays in memory.
    """
    return sql(
        "(WITH RECURSIVE w (twin_no, depth) AS (SELECT {}, 0 UNION "
        "SELECT e.twin_no, w.depth + 1 FROM w CROSS JOIN LATERAL ({} OFFSET 0) AS e WHERE w.depth < {}) "
        "SELECT DISTINCT twin_no FROM (SELECT *, row_number() OVER () AS n FROM w) AS s "
        "WHERE {} AND depth >= {})",
        start,
        hop_sql(tables, names, direction, Sql("w.twin_no")),
        param(hops.most, "int"),
        within(Sql("n"), STEPS_MAX),
        param(hops.least, "int"),
    )


def hop_sql(tables: Tables, names: Sequence[str], direction: Direction, start: Sql) -> Sql:
    """Return a SELECT of what is one hop away from a twin: twin_no, and of the relationship source_no and id."""
    named = sql("e.name = ANY({})", param(list(names), "text[]")) if names else TRUE
    halves = [
        sql(
            f"SELECT e.{other} AS twin_no, e.source_no, e.relationship_id FROM {{}} AS e WHERE e.{own} = {{}} AND {{}}",
            tables.relationships(),
            start,
            named,
        )
        for own, other in ENDS[direction]
    ]
    return joined(" UNION ALL ", halves)
