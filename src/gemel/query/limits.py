"""How much one page of a query may take beside time: rows held at once."""

from __future__ import annotations

from gemel.query.sql import Sql, param, sql

__all__ = ["ROWS_MAX", "STEPS_MAX", "TOO_MANY", "within"]

ROWS_MAX = 10_000_000
"""How many matches an ORDER BY, GROUP BY or DISTINCT may go over."""

STEPS_MAX = 1_000_000
"""How many twins, each once for every number of hops, one way of several hops may come through."""

TOO_MANY = "GM001"
"""The SQLSTATE by which `refuse_rows` stops a statement."""


def within(number: Sql, rows_max: int) -> Sql:
    """Return a condition that is true of a row number up to a maximum, and stops the statement beyond it."""
    most = param(rows_max, "bigint")
    return sql("({} <= {} OR refuse_rows({}))", number, most, most)
