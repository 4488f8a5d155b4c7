"""What a test means as SQL: where its subject is found, and there the check.

A twin's values are looked up by key, one for each path: see `gemel.query.tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gemel.base.errors import InternalError
from gemel.history.values import JSON, REMOVED
from gemel.query.checks import on_json, on_number, on_text, on_time
from gemel.query.scope import Scope
from gemel.query.sql import FALSE, TRUE, Sql, all_of, any_of, inner_sql, joined, param, sql
from gemel.query.tree import (
    And,
    Cell,
    Check,
    Column,
    Condition,
    HasType,
    JsonProperty,
    Of,
    Or,
    PathColumn,
    Stored,
    StoredInstant,
    StoredNames,
    StoredWindow,
    Test,
    TypeName,
    Version,
    Whole,
)
from gemel.query.windows import window_sql

__all__ = ["condition_sql", "etag_sql"]

NUMBERS = f"l.kind < {JSON}"
DOCUMENTS = f"l.kind = {JSON}"
PRESENT = f"l.kind <> {REMOVED}"
INSTANTS = {"lastUpdateTime": Sql("l.recorded"), "sourceTime": Sql("l.source_time")}
ETAG = """(SELECT format('W/"%%s-%%s-%%s-%%s-%%s"', substr(d, 1, 8), substr(d, 9, 4), substr(d, 13, 4),
    substr(d, 17, 4), substr(d, 21)) FROM (SELECT lpad(to_hex({}), 16, '0') || lpad(to_hex(
    (extract(epoch FROM {}) * 1000000)::bigint), 16, '0')) AS h (d))"""


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A condition on the row of a twin's value for a path, of which there is one at most.

    So conditions on one path that must all hold, or one of them, are one condition on one row.
    """

    source: str
    path_no: int
    condition: Sql


Found = Sql | ValueRow


def condition_sql(condition: Condition, scope: Scope) -> Sql:
    """Return a condition, bound and without Not, on the sources of a query."""
    return _Writer(scope).rendered(condition)


def etag_sql(scope: Scope, source: str) -> Sql:
    """Return the entity tag of a twin."""
    return sql(ETAG, scope.number(source), scope.newest(source))


class _Writer:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def rendered(self, condition: Condition) -> Sql:
        return self._rendered(self._condition(condition))

    def _condition(self, condition: Condition) -> Found:
        match condition:
            case And():
                return self._merged([self._condition(term) for term in condition.terms], all_of)
            case Or():
                return self._merged([self._condition(term) for term in condition.terms], any_of)
            case Test(Of() as subject, check):
                if isinstance(check, HasType) and check.negated:
                    return _not_true(self._rendered(self._test(subject, HasType(check.type))))
                return self._test(subject, check)
            case _:
                raise InternalError("InternalError", f"The condition {condition!r} was not bound.")

    def _test(self, subject: Of, check: Check) -> Found:
        scope, source = self._scope, subject.source
        match subject.field:
            case Stored() as stored:
                return self._stored(source, stored, check)
            case StoredInstant(None):
                return FALSE
            case StoredInstant(int(path_no), which):
                return ValueRow(source, path_no, all_of([Sql(PRESENT), on_time(check, INSTANTS[which])]))
            case StoredWindow() as window:
                # Looked up once, whatever the check asks of it.
                looked_up = window_sql(window, source, scope)
                found = on_json(check, Sql("w.v"))
                return sql("EXISTS (SELECT FROM (SELECT {} AS v OFFSET 0) AS w WHERE {})", looked_up, found)
            case JsonProperty(names):
                return on_json(check, inner_sql(scope.row(source, "properties"), names))
            case Whole():
                return sql("{} IS NOT NULL", scope.number(source))
            case _:
                return self._there(source, self._given(subject, check))

    def _given(self, subject: Of, check: Check) -> Sql:
        """Return a condition on what every source of a kind has."""
        scope, source = self._scope, subject.source
        match subject.field:
            case Column() as column:
                return on_text(check, scope.column(source, column))
            case PathColumn() as column:
                return on_number(check, sql("{}::float8", scope.path(source, column)))
            case Version.ETAG:
                return on_text(check, etag_sql(scope, source))
            case Version.LAST_UPDATE:
                return on_time(check, scope.newest(source))
            case StoredNames(path_nos):
                return on_text(check, self._names(source, path_nos))
        raise InternalError("InternalError", f"The subject {subject!r} was not bound.")

    def _there(self, source: str, found: Sql) -> Sql:
        """Return a condition that a source which is not there does not meet, even if any value would."""
        if source not in self._scope.query.optional:
            return found
        return all_of([sql("{} IS NOT NULL", self._scope.number(source)), found])

    def _names(self, source: str, path_nos: Sequence[int]) -> Sql:
        """Return all that a twin is called, as one text."""
        scope = self._scope
        texts = [
            sql(
                f"(SELECT l.doc #>> '{{{{}}}}' FROM {{}} AS l WHERE {DOCUMENTS})",
                scope.value(source, path_no),
            )
            for path_no in path_nos
        ]
        return sql("concat_ws(' ', {})", joined(", ", [scope.column(source, Column.TWIN_ID), *texts]))

    def _stored(self, source: str, stored: Stored, check: Check) -> Found:
        found: list[Found] = [_cell(source, cell, check) for cell in stored.cells]
        if isinstance(check, HasType) and check.type in (TypeName.DEFINED, TypeName.OBJECT):
            components = self._scope.row(source, "components")
            found.append(sql("jsonb_exists({}, {})", components, param(stored.component)))
        return self._merged(found, any_of)

    def _merged(self, terms: list[Found], combine: Callable[[Iterable[Sql]], Sql]) -> Found:
        """Return terms combined, with those on one row of the state as one, and the cheap ones first."""
        rows: dict[tuple[str, int], list[Sql]] = {}
        for term in terms:
            if isinstance(term, ValueRow):
                rows.setdefault((term.source, term.path_no), []).append(term.condition)
        merged = [ValueRow(*key, combine(conditions)) for key, conditions in rows.items()]
        others = [term for term in terms if isinstance(term, Sql)]
        if len(merged) == 1 and not others:
            return merged[0]
        return combine([*others, *map(self._rendered, merged)])

    def _rendered(self, found: Found) -> Sql:
        if isinstance(found, Sql):
            return found
        if found.condition == FALSE:
            return FALSE
        value = self._scope.value(found.source, found.path_no)
        return sql("EXISTS (SELECT FROM {} AS l WHERE {})", value, found.condition)


def _cell(source: str, cell: Cell, check: Check) -> ValueRow:
    if isinstance(check, HasType) and check.type is TypeName.DEFINED and not cell.inner:
        return ValueRow(source, cell.path_no, Sql(PRESENT))
    documents = all_of([Sql(DOCUMENTS), on_json(check, inner_sql(Sql("l.doc"), cell.inner))])
    if cell.inner:
        return ValueRow(source, cell.path_no, documents)
    numbers = all_of([Sql(NUMBERS), on_number(check, Sql("l.num"))])
    return ValueRow(source, cell.path_no, any_of([numbers, documents]))


def _not_true(condition: Sql) -> Sql:
    """Return the negation of an IS_… test: as a whole, for it is never undefined."""
    if condition in (TRUE, FALSE):
        return FALSE if condition == TRUE else TRUE
    return sql("({}) IS NOT TRUE", condition)
