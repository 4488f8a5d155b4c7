"""What a test means as SQL: where its subject is found, and there the check.

Twins and their state are two tables. Row-level security keeps the planner from using an index for a condition
with a function that might leak, and `<<` is one: `latest.series = twin.twin_no << 20 | …` would read all of a
tenant's state even for one twin. So the series numbers are computed in a subquery that the planner cannot
dissolve (OFFSET 0), and are columns where they are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gemel.base.errors import InternalError
from gemel.history.paths import PATH_BITS
from gemel.history.values import JSON, REMOVED
from gemel.query.checks import on_json, on_number, on_text, on_time
from gemel.query.sql import FALSE, Sql, all_of, any_of, joined, param, sql
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
    Test,
    TypeName,
    Version,
)

__all__ = ["RelationshipScope", "TwinScope", "condition_sql"]

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


@dataclass(slots=True)
class TwinScope:
    """The columns of twins that the conditions on `t` need, gathered while those are written."""

    columns: dict[str, Sql] = field(default_factory=dict)

    def column(self, name: str) -> Sql:
        """Return a column of the table, through the subquery."""
        self.columns[name] = Sql(f"t.{name}")
        return Sql(f"t.{name}")

    def series(self, path_no: int) -> Sql:
        """Return the number of the twin's series of a path."""
        name = f"series_{path_no}"
        self.columns[name] = sql(f"t.twin_no << {PATH_BITS} | {{}} AS {name}", param(path_no, "bigint"))
        return Sql(f"t.{name}")

    def test(self, test: Test) -> Sql:
        """Return the condition that a test sets on a twin."""
        subject = test.subject
        match subject:
            case Column.TWIN_ID:
                return _two_valued(test.check, lambda check: on_text(check, self.column("twin_id")))
            case Column.MODEL_ID:
                return _two_valued(test.check, lambda check: on_text(check, self.column("model_id")))
            case Version():
                return _two_valued(test.check, lambda check: self._version(subject, check))
            case Stored():
                return _two_valued(test.check, lambda check: self._stored(subject, check))
            case StoredInstant():
                return _two_valued(test.check, lambda check: self._instant(subject, check))
        raise _unbound(test)

    def _stored(self, stored: Stored, check: Check) -> Sql:
        cells = [self._cell(cell, check) for cell in stored.cells]
        if isinstance(check, HasType) and check.type in (TypeName.DEFINED, TypeName.OBJECT):
            component = sql("jsonb_exists({}, {})", self.column("components"), param(stored.component))
            cells.append(component)
        return any_of(cells)

    def _cell(self, cell: Cell, check: Check) -> Sql:
        documents = all_of([Sql(DOCUMENTS), on_json(check, _inner(Sql("l.doc"), cell.inner))])
        if isinstance(check, HasType) and check.type is TypeName.DEFINED and not cell.inner:
            return self._exists(cell.path_no, Sql(PRESENT))
        if cell.inner:
            return self._exists(cell.path_no, documents)
        numbers = all_of([Sql(NUMBERS), on_number(check, Sql("l.num"))])
        return self._exists(cell.path_no, any_of([numbers, documents]))

    def _instant(self, instant: StoredInstant, check: Check) -> Sql:
        if instant.path_no is None:
            return FALSE
        return self._exists(instant.path_no, all_of([Sql(PRESENT), on_time(check, INSTANTS[instant.which])]))

    def _version(self, version: Version, check: Check) -> Sql:
        self.column("recorded")
        self.columns["first_series"] = Sql(f"t.twin_no << {PATH_BITS} AS first_series")
        self.columns["next_series"] = Sql(f"t.twin_no + 1 << {PATH_BITS} AS next_series")
        return on_text(check, ETAG) if version is Version.ETAG else on_time(check, NEWEST)

    def _exists(self, path_no: int, condition: Sql) -> Sql:
        if condition == FALSE:
            return FALSE
        return sql(
            "EXISTS (SELECT FROM latest l WHERE l.series = {} AND {})", self.series(path_no), condition
        )


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
        subject = test.subject
        if isinstance(subject, JsonProperty):
            value = _inner(Sql("r.properties"), subject.names)
            return _two_valued(test.check, lambda check: on_json(check, value))
        if isinstance(subject, Column) and subject in RELATIONSHIP_COLUMNS:
            return _two_valued(test.check, lambda check: on_text(check, RELATIONSHIP_COLUMNS[subject]))
        raise _unbound(test)


def condition_sql(scope: TwinScope | RelationshipScope, condition: Condition) -> Sql:
    """Return a condition without Not as SQL."""
    match condition:
        case And():
            return all_of([condition_sql(scope, term) for term in condition.terms])
        case Or():
            return any_of([condition_sql(scope, term) for term in condition.terms])
        case Test():
            return scope.test(condition)
        case Not():
            raise InternalError("InternalError", "A Not is left in the tree.")


def _two_valued(check: Check, positive: Callable[[Check], Sql]) -> Sql:
    """Return the condition of a check, of which an IS_… test is negated as a whole: it is never undefined."""
    if isinstance(check, HasType) and check.negated:
        return _not_true(positive(HasType(check.type)))
    return positive(check)


def _not_true(condition: Sql) -> Sql:
    if not condition.parameters and condition.text in ("true", "false"):
        return Sql("false" if condition.text == "true" else "true")
    return sql("({}) IS NOT TRUE", condition)


def _inner(value: Sql, names: tuple[str, ...]) -> Sql:
    """Return the JSON value that names lead to, or null; the names are bound, never written."""
    if not names:
        return value
    return sql("({})", joined(" -> ", [value, *(param(name, "text") for name in names)]))


def _unbound(test: Test) -> InternalError:
    return InternalError("InternalError", f"The subject {test.subject!r} was not bound.")
