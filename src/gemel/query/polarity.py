"""The pass that pushes every NOT down to the tests.

What remains only ever asks whether something is true, so that false and undefined need no telling apart: an
EXISTS that finds nothing answers both.
"""

from __future__ import annotations

from dataclasses import replace

from gemel.query.clauses import Query
from gemel.query.tree import And, Check, Compare, Condition, Not, Or, Test

__all__ = ["push_negations"]


def push_negations(query: Query) -> Query:
    """Return the query with no Not in it, and no And in an And or Or in an Or."""
    return replace(query, where=query.where and _push(query.where, negate=False))


def _push(condition: Condition, *, negate: bool) -> Condition:
    match condition:
        case Not():
            return _push(condition.term, negate=not negate)
        case Test():
            return replace(condition, check=_opposite(condition.check)) if negate else condition
        case And() | Or():
            kind = And if isinstance(condition, And) is not negate else Or
            terms: list[Condition] = []
            for term in condition.terms:
                pushed = _push(term, negate=negate)
                terms += pushed.terms if isinstance(pushed, kind) else (pushed,)
            return kind(tuple(terms))


def _opposite(check: Check) -> Check:
    if isinstance(check, Compare):
        return replace(check, operator=check.operator.negation)
    return replace(check, negated=not check.negated)
