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
    """Return the query with DISTINCT as a grouping by all that is selected, or gone where rows differ anyhow.

    It stays beside GROUP BY where groups may look the same. Raises InvalidError (SqlQueryError) for an item that
    may differ within a group, and for an order by what the answer does not have.
    """
    if isinstance(query.selection, Everything):
        if query.group:
            raise query_fault(
                query.text, SELECT, "groups of everything", "Select what you group by, and aggregates."
            )
        # One twin is a row once.
        return replace(query, distinct=False)
    distinct = query.distinct
    if distinct:
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
        _check_order(query, "SELECT DISTINCT" if distinct else "GROUP BY")
    else:
        for sort in query.order:
            if isinstance(sort.term, Aggregate):
                raise query_fault(
                    query.text, sort.span, "there are no groups", "Select it too, or add GROUP BY."
                )
    return query


def _distinct(query: Query) -> Query:
    terms = tuple(dict.fromkeys(item.term for item in query.items if isinstance(item.term, Of)))
    if not query.group:
        aggregated = any(isinstance(item.term, Aggregate) for item in query.items)
        return replace(query, distinct=False, group=() if aggregated else terms)
    wholes = _wholes(query)
    if set(query.group) <= set(terms):
        return replace(query, distinct=False)
    # What is selected of a twin that is grouped by follows from it: as a key it makes no more groups.
    told = tuple(term for term in terms if term.source in wholes and not isinstance(term.field, Part))
    return replace(query, group=tuple(dict.fromkeys((*query.group, *told))))


def _wholes(query: Query) -> set[str]:
    """Return the sources that are grouped by as a whole, of which everything can be selected."""
    return {term.source for term in query.group if isinstance(term, Of) and isinstance(term.field, Whole)}


def _check_items(query: Query) -> None:
    wholes = _wholes(query)
    for item in query.items:
        if isinstance(item.term, Aggregate):
            continue
        if isinstance(item.term, Of) and item.term.source in wholes and not query.distinct:
            continue
        if isinstance(item.term, Of) and isinstance(item.term.field, Part):
            raise query_fault(query.text, item.span, f"{item.name} has no value", "Select what is in it.")
        if item.term in query.group:
            continue
        suggestion = f"Add it to GROUP BY, or write MAX({'.'.join(item.way)})."
        raise query_fault(query.text, item.span, f"{item.name} may differ within a group", suggestion)


def _check_order(query: Query, clause: str) -> None:
    """Hold the order against the groups, or against what is selected where those may be one row."""
    shown = {item.term for item in query.items}
    for sort in query.order:
        known = isinstance(sort.term, Aggregate) or sort.term in query.group
        if sort.term not in shown if query.distinct else not known:
            raise query_fault(query.text, sort.span, "it may differ within a row", f"Add it to {clause}.")
