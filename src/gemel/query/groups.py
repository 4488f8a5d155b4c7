"""The pass that holds what is selected, grouped by and in order by against each other."""

from __future__ import annotations

from dataclasses import replace

from gemel.query.clauses import Aggregate, Collection, Everything, Query
from gemel.query.faults import query_fault
from gemel.query.tree import Of, Part, Span, Whole

__all__ = ["check_groups"]

PATHS = Collection.PATHS
SELECT = Span(0, len("SELECT"))


def check_groups(query: Query) -> Query:
    """Return the query with DISTINCT as a grouping by all that is selected.

    Raises InvalidError (SqlQueryError) for an item that may differ within a group, for an order by what the
    answer does not have, and for DISTINCT beside groups.
    """
    if isinstance(query.selection, Everything):
        if query.group:
            raise query_fault(
                query.text, SELECT, "groups of everything", "Select what you group by, and aggregates."
            )
        # One twin is a row once.
        return replace(query, distinct=False)
    if query.distinct:
        query = _distinct(query)
    for term in query.group:
        if (
            isinstance(term, Of)
            and isinstance(term.field, Whole)
            and query.source(term.source).collection is PATHS
        ):
            suggestion = f"Use {term.source}.length."
            raise query_fault(query.text, SELECT, f"groups of the path {term.source}", suggestion)
    if query.grouped:
        _check_items(query)
        _check_order(query)
    else:
        for sort in query.order:
            if isinstance(sort.term, Aggregate):
                raise query_fault(
                    query.text, sort.span, "there are no groups", "Select it too, or add GROUP BY."
                )
    return query


def _distinct(query: Query) -> Query:
    if query.group or any(isinstance(item.term, Aggregate) for item in query.items):
        raise query_fault(query.text, SELECT, "DISTINCT groups", "Leave out DISTINCT: each group is one row.")
    terms = tuple(dict.fromkeys(item.term for item in query.items if isinstance(item.term, Of)))
    return replace(query, group=terms)


def _check_items(query: Query) -> None:
    wholes = {term.source for term in query.group if isinstance(term, Of) and isinstance(term.field, Whole)}
    for item in query.items:
        if isinstance(item.term, Aggregate) or (isinstance(item.term, Of) and item.term.source in wholes):
            continue
        if isinstance(item.term, Of) and isinstance(item.term.field, Part):
            raise query_fault(query.text, item.span, f"{item.name} has no value", "Select what is in it.")
        if item.term not in query.group:
            suggestion = f"Add it to GROUP BY, or write MAX({'.'.join(item.way)})."
            raise query_fault(query.text, item.span, f"{item.name} may differ within a group", suggestion)


def _check_order(query: Query) -> None:
    clause = "SELECT DISTINCT" if query.distinct else "GROUP BY"
    for sort in query.order:
        if not isinstance(sort.term, Aggregate) and sort.term not in query.group:
            raise query_fault(query.text, sort.span, "it may differ within a row", f"Add it to {clause}.")
