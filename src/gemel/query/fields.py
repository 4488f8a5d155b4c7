"""What a test means as SQL: where its subject is found, and there the check.

A twin's values are rows of `latest`, one a path, which a condition looks up by key: EXISTS (… OFFSET 0), which the
planner leaves as it is. It could otherwise turn it into a join, and would then have to guess how many rows of a
tenant's whole state a condition leaves; where it guesses few and finds many, a query that takes 0.1 s takes hours.
It could also not use the key: row-level security keeps a join from using an index by way of a function that might
leak, as `<<` is. In a subquery the twin's number is a parameter, of which nothing can leak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gemel.base.errors import InternalError
from gemel.history.paths import PATH_BITS, PATHS_MAX
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

__all__ = ["condition_sql"]

NUMBERS = f"l.kind < {JSON}"
DOCUMENTS = f"l.kind = {JSON}"
PRESENT = f"l.kind <> {REMOVED}"
COLUMNS = {
    Column.TWIN_ID: Sql("t.twin_id"),
    Column.MODEL_ID: Sql("t.model_id"),
    Column.RELATIONSHIP_ID: Sql("r.relationship_id"),
    Column.RELATIONSHIP_NAME: Sql("r.name"),
    Column.SOURCE_ID: Sql("s.twin_id"),
    Column.TARGET_ID: Sql("g.twin_id"),
}
INSTANTS = {"lastUpdateTime": Sql("l.recorded"), "sourceTime": Sql("l.source_time")}
# As gemel.graph.live and gemel.graph.etag have it: telemetry does not count.
NEWEST = Sql(f"""greatest(t.recorded, (SELECT max(l.recorded) FROM latest l
    WHERE l.series >= t.twin_no << {PATH_BITS} AND l.series < t.twin_no + 1 << {PATH_BITS} AND EXISTS (
        SELECT FROM path p WHERE p.role = 'property' AND p.path_no = l.series & {PATHS_MAX - 1})))""")
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


Found = Sql | StateRow


def condition_sql(condition: Condition) -> Sql:
    """Return a condition, bound and without Not, on a twin `t`, or on a relationship `r` from `s` to `g`."""
    return _rendered(_condition(condition))


def _condition(condition: Condition) -> Found:
    match condition:
        case And():
            return _merged([_condition(term) for term in condition.terms], all_of)
        case Or():
            return _merged([_condition(term) for term in condition.terms], any_of)
        case Test(subject, check):
            if isinstance(check, HasType) and check.negated:
                return _not_true(_rendered(_test(subject, HasType(check.type))))
            return _test(subject, check)
        case Not():
            raise InternalError("InternalError", "A Not is left in the tree.")


def _test(subject: Subject, check: Check) -> Found:
    match subject:
        case Column():
            return on_text(check, COLUMNS[subject])
        case Version.ETAG:
            return on_text(check, ETAG)
        case Version.LAST_UPDATE:
            return on_time(check, NEWEST)
        case Stored():
            return _stored(subject, check)
        case StoredInstant(None):
            return FALSE
        case StoredInstant(int(path_no), which):
            return StateRow(path_no, all_of([Sql(PRESENT), on_time(check, INSTANTS[which])]))
        case JsonProperty(names):
            return on_json(check, _inner(Sql("r.properties"), names))
    raise InternalError("InternalError", f"The subject {subject!r} was not bound.")


def _stored(stored: Stored, check: Check) -> Found:
    found: list[Found] = [_cell(cell, check) for cell in stored.cells]
    if isinstance(check, HasType) and check.type in (TypeName.DEFINED, TypeName.OBJECT):
        found.append(sql("jsonb_exists(t.components, {})", param(stored.component)))
    return _merged(found, any_of)


def _cell(cell: Cell, check: Check) -> StateRow:
    if isinstance(check, HasType) and check.type is TypeName.DEFINED and not cell.inner:
        return StateRow(cell.path_no, Sql(PRESENT))
    documents = all_of([Sql(DOCUMENTS), on_json(check, _inner(Sql("l.doc"), cell.inner))])
    if cell.inner:
        return StateRow(cell.path_no, documents)
    numbers = all_of([Sql(NUMBERS), on_number(check, Sql("l.num"))])
    return StateRow(cell.path_no, any_of([numbers, documents]))


def _merged(terms: list[Found], combine: Callable[[Iterable[Sql]], Sql]) -> Found:
    """Return terms combined, with those on one row of the state as one, and the cheap ones first."""
    rows: dict[int, list[Sql]] = {}
    for term in terms:
        if isinstance(term, StateRow):
            rows.setdefault(term.path_no, []).append(term.condition)
    merged = [StateRow(path_no, combine(conditions)) for path_no, conditions in rows.items()]
    others = [term for term in terms if isinstance(term, Sql)]
    if len(merged) == 1 and not others:
        return merged[0]
    return combine([*others, *map(_rendered, merged)])


def _rendered(found: Found) -> Sql:
    if isinstance(found, Sql):
        return found
    if found.condition == FALSE:
        return FALSE
    series = sql(f"(t.twin_no << {PATH_BITS} | {{}})", param(found.path_no, "bigint"))
    return sql("EXISTS (SELECT FROM latest l WHERE l.series = {} AND {} OFFSET 0)", series, found.condition)


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
