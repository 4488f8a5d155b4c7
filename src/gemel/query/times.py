"""The pass that reads the literals that times are compared with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from gemel.query.clauses import Query
from gemel.query.faults import query_fault
from gemel.query.tree import Compare, Instant, Literal, Of, OneOf, Test, Version, map_tests

__all__ = ["read_times"]


def read_times(query: Query) -> Query:
    """Return the query with a time in place of each text that a time of the metadata is compared with.

    Raises InvalidError (SqlQueryError) for a text that is no RFC 3339 time with a zone.
    """

    def read(test: Test) -> Test:
        check = test.check
        field = test.subject.field if isinstance(test.subject, Of) else None
        if not isinstance(field, Instant) and field is not Version.LAST_UPDATE:
            return test
        if isinstance(check, Compare):
            return replace(test, check=replace(check, literal=_time(query, check.literal)))
        if isinstance(check, OneOf):
            literals = tuple(_time(query, literal) for literal in check.literals)
            return replace(test, check=replace(check, literals=literals))
        return test

    return replace(query, where=query.where and map_tests(query.where, read))


def _time(query: Query, literal: Literal) -> Literal:
    if not isinstance(literal.value, str):
        return literal
    try:
        moment = msgspec.convert(literal.value, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        suggestion = "Write it as '2026-01-31T12:00:00Z'."
        raise query_fault(query.text, literal.span, "not a time with a zone", suggestion)
    return replace(literal, value=moment)
