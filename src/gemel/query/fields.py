"""What a test means as SQL: where its subject is found, and there the check.

Twins and their state are two tables. Row-level security keeps the planner from using an index for a condition
with a function that might leak, and `<<` is one: `latest.series = twin.twin_no << 20 | …` would read all of a
tenant's state even for one twin. So the series numbers are computed in a subquery that the planner cannot
dissolve (OFFSET 0), and are columns where they are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gemel.base.errors import InternalError
from gemel.history.paths import PATH_BITS
from gemel.history.values import JSON, REMOVED
from gemel.query.checks import on_json, on_number, on_text, on_time
from gemel.query.sql import FALSE, TRUE, Sql, all_of, any_of, joined, param, sql
from gemel.query.tree import (
    And,
    Cell,
    Check,
    Column,
    Condition,
    HasType,
    JsonProperty,
    Not,
    Or,
    Stored,
    StoredInstant,
    Subject,
    Test,
    TypeName,
    Version,
)

__all__ = ["RelationshipScope", "Scope", "TwinScope", "condition_sql"]

NUMBERS = f"l.kind < {JSON}"
DOCUMENTS = f"l.kind = {JSON}"
PRESENT = f"l.kind <> {REMOVED}"
INSTANTS = {"lastUpdateTime": Sql("l.recorded"), "sourceTime": Sql("l.source_time")}
NEWEST = Sql(f"""greatest(t.recorded, (SELECT max(l.recorded) FROM latest l
WHERE l.series >= t.first_series AND l.series < t.next_series AND EXISTS (
    SELECT FROM path p WHERE p.role = 'property' AND p.path_no = l.series & {(1 << PATH_BITS) - 1})))""")
ETAG = sql(
    """(SELECT format('W/"%%s-%%s-%%s-%%s-%%s"', substr(d, 1, 8), substr(d, 9, 4), substr(d, 13, 4),
    substr(d, 17, 4), substr(d, 21)) FROM (SELECT lpad(to_hex(t.twin_no), 16, '0') || lpad(to_hex(
    (extract(epoch FROM {}) * 1000000)::bigint), 16, '0')) AS h (d))""",
    NEWEST,
)


@dataclass(frozen=True, slots=True)
class StateRow:
    """A condition on the row of a twin's state for a path, of which there is one at most.

    So conditions on one path that must all hold, or one of them, are one condition on one row.
    """

    path_no: int
    condition: Sql


@dataclass(slots=True)
class TwinScope:
    """The columns of twins that the conditions on `t` need, gathered while those are written."""

    columns: dict[str, Sql] = field(default_factory=dict)

    def column(self, name: str) -> Sql:
        """Return a column of the table, through the subquery."""
        self.columns[name] = Sql(f"t.{name}")
        return Sql(f"t.{name}")

    def exists(self, row: StateRow) -> Sql:
        """Return the condition that the twin has a row of the state."""
        return sql(
            "EXISTS (SELECT FROM latest l WHERE l.series = {} AND {})",
            self.series(row.path_no),
            row.condition,
        )

    def series(self, path_no: int) -> Sql:
        """Return the number of the twin's series of a path."""
        name = f"series_{path_no}"
        self.columns[name] = sql(f"t.twin_no << {PATH_BITS} | {{}} AS {name}", param(path_no, "bigint"))
        return Sql(f"t.{name}")

    def test(self, test: Test) -> Sql | StateRow:
        """Return the condition that a test sets on a twin."""
        subject, check = test.subject, test.check
        if isinstance(check, HasType) and check.negated:
            return _not_true(_rendered(self, self._positive(subject, HasType(check.type))))
        return self._positive(subject, check)

    def _positive(self, subject: Subject, check: Check) -> Sql | StateRow:
        match subject:
            case Column.TWIN_ID:
                return on_text(check, self.column("twin_id"))
            case Column.MODEL_ID:
                return on_text(check, self.column("model_id"))
            case Version():
                return self._version(subject, check)
            case Stored():
                return self._stored(subject, check)
            case StoredInstant(path_no, which):
                if path_no is None:
                    return FALSE
                return StateRow(path_no, all_of([Sql(PRESENT), on_time(check, INSTANTS[which])]))
        raise _unbound(subject)

    def _stored(self, stored: Stored, check: Check) -> Sql | StateRow:
        found: list[Sql | StateRow] = [_cell(cell, check) for cell in stored.cells]
        if isinstance(check, HasType) and check.type in (TypeName.DEFINED, TypeName.OBJECT):
            name = param(stored.component)
            found.append(sql("jsonb_exists({}, {})", self.column("components"), name))
        return _merged(self, found, any_of)

    def _version(self, version: Version, check: Check) -> Sql:
        self.column("recorded")
        self.columns["first_series"] = Sql(f"t.twin_no << {PATH_BITS} AS first_series")
        self.columns["next_series"] = Sql(f"t.twin_no + 1 << {PATH_BITS} AS next_series")
        return on_text(check, ETAG) if version is Version.ETAG else on_time(check, NEWEST)


RELATIONSHIP_COLUMNS = {
    Column.RELATIONSHIP_ID: Sql("r.relationship_id"),
    Column.RELATIONSHIP_NAME: Sql("r.name"),
    Column.SOURCE_ID: Sql("s.twin_id"),
    Column.TARGET_ID: Sql("g.twin_id"),
}


class RelationshipScope:
    """Relationships `r` with their source `s` and target `g`."""

    def test(self, test: Test) -> Sql:
        """Return the condition that a test sets on a relationship."""
        check = test.check
        if isinstance(check, HasType) and check.negated:
            return _not_true(self._positive(test.subject, HasType(check.type)))
        return self._positive(test.subject, check)

    def _positive(self, subject: Subject, check: Check) -> Sql:
        if isinstance(subject, JsonProperty):
            return on_json(check, _inner(Sql("r.properties"), subject.names))
        if isinstance(subject, Column) and subject in RELATIONSHIP_COLUMNS:
            return on_text(check, RELATIONSHIP_COLUMNS[subject])
        raise _unbound(subject)


Scope = TwinScope | RelationshipScope
Combine = Callable[[Iterable[Sql]], Sql]


def condition_sql(scope: Scope, condition: Condition) -> Sql:
    """Return a condition without Not as SQL."""
    return _rendered(scope, _condition(scope, condition))


def _condition(scope: Scope, condition: Condition) -> Sql | StateRow:
    match condition:
        case And():
            return _merged(scope, [_condition(scope, term) for term in condition.terms], all_of)
        case Or():
            return _merged(scope, [_condition(scope, term) for term in condition.terms], any_of)
        case Test():
            return scope.test(condition)
        case Not():
            raise InternalError("InternalError", "A Not is left in the tree.")


def _merged(scope: Scope, terms: list[Sql | StateRow], combine: Combine) -> Sql | StateRow:
    """Return terms combined, with those on one row of the state as one."""
    rows: dict[int, list[Sql]] = {}
    for term in terms:
        if isinstance(term, StateRow):
            rows.setdefault(term.path_no, []).append(term.condition)
    merged = [StateRow(path_no, combine(conditions)) for path_no, conditions in rows.items()]
    others = [term for term in terms if isinstance(term, Sql)]
    if len(merged) == 1 and not others:
        return merged[0]
    return combine([*others, *(_rendered(scope, row) for row in merged)])


def _rendered(scope: Scope, term: Sql | StateRow) -> Sql:
    if isinstance(term, Sql):
        return term
    assert isinstance(scope, TwinScope)
    return FALSE if term.condition == FALSE else scope.exists(term)


def _cell(cell: Cell, check: Check) -> StateRow:
    if isinstance(check, HasType) and check.type is TypeName.DEFINED and not cell.inner:
        return StateRow(cell.path_no, Sql(PRESENT))
    documents = all_of([Sql(DOCUMENTS), on_json(check, _inner(Sql("l.doc"), cell.inner))])
    if cell.inner:
        return StateRow(cell.path_no, documents)
    numbers = all_of([Sql(NUMBERS), on_number(check, Sql("l.num"))])
    return StateRow(cell.path_no, any_of([numbers, documents]))


def _not_true(condition: Sql) -> Sql:
    """Return the negation of an IS_… test: as a whole, for it is never undefined."""
    if condition in (TRUE, FALSE):
        return FALSE if condition == TRUE else TRUE
    return sql("({}) IS NOT TRUE", condition)


def _inner(value: Sql, names: tuple[str, ...]) -> Sql:
    """Return the JSON value that names lead to, or null; the names are bound, never written."""
    if not names:
        return value
    return sql("({})", joined(" -> ", [value, *(param(name, "text") for name in names)]))


def _unbound(subject: Subject) -> InternalError:
    return InternalError("InternalError", f"The subject {subject!r} was not bound.")
