"""The compiler: text → tree → passes, tree to tree → one statement with bound parameters.

::

    text ── parse ──► Query ── ANALYSIS ──► Query ── BINDING (with a Catalog) ──► Query ── to_sql ──► Compiled
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from gemel.query.bind import Catalog, bind_models, bind_paths
from gemel.query.clauses import Query
from gemel.query.groups import check_groups
from gemel.query.indexes import bind_indexes
from gemel.query.names import resolve_names
from gemel.query.parse import parse
from gemel.query.polarity import push_negations
from gemel.query.statement import Compiled, Window, to_sql
from gemel.query.tables import Tables
from gemel.query.times import read_times

__all__ = ["ANALYSIS", "BINDING", "analyse", "compile_query", "steps_of"]

ANALYSIS: tuple[Callable[[Query], Query], ...] = (
    resolve_names,
    check_groups,
    read_times,
    push_negations,
)
"""What follows from the text alone."""

BINDING: tuple[Callable[[Query, Catalog], Query], ...] = (bind_models, bind_paths, bind_indexes)
"""What follows from the tenant's models and paths."""


Step = tuple[str, Query]
"""The name of a pass, and the tree that it left."""


@lru_cache(maxsize=64)
def analyse(text: str) -> Query:
    """Return the tree of a query as far as its text alone says. Raises InvalidError (SqlQueryError)."""
    query = parse(text)
    for step in ANALYSIS:
        query = step(query)
    return query


def compile_query(query: Query, catalog: Catalog, window: Window, tables: Tables) -> Compiled:
    """Return the statement for a page of an analysed query.

    Raises InvalidError (BadRequest) where the window's key is not one of this query.
    """
    for step in BINDING:
        query = step(query, catalog)
    return to_sql(query, window, tables)


def steps_of(text: str, catalog: Catalog) -> list[Step]:
    """Return what each pass makes of a query, in order, from its text on. Raises InvalidError (SqlQueryError)."""
    query = parse(text)
    steps = [("parse", query)]
    for analysis in ANALYSIS:
        query = analysis(query)
        steps.append((analysis.__name__, query))
    for binding in BINDING:
        query = binding(query, catalog)
        steps.append((binding.__name__, query))
    return steps
