"""The passes that need to know the tenant: which models extend one, and which paths have a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from gemel.query.tree import (
    And,
    Cell,
    Column,
    Condition,
    HasType,
    Instant,
    Literal,
    Not,
    OfModel,
    OneOf,
    Or,
    Property,
    Query,
    Stored,
    StoredInstant,
    Test,
    map_tests,
)

__all__ = ["Catalog", "bind_models", "bind_paths", "wanted_models", "wanted_paths"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a tenant has of what a query names.

    `path_nos` holds the number of each property path that ever had a value; `families` for each model the ids
    of itself and of all that extend it.
    """

    path_nos: Mapping[str, int]
    families: Mapping[str, frozenset[str]]


def wanted_paths(query: Query) -> frozenset[str]:
    """Return every dotted path that a property of the query may be stored under."""
    return frozenset(
        path
        for test in _tests(query.where)
        if isinstance(test.subject, Property | Instant)
        for path, _ in _splits(test.subject)
    )


def wanted_models(query: Query) -> frozenset[str]:
    """Return the models whose descendants the query asks for."""
    return frozenset(
        str(test.check.model.value)
        for test in _tests(query.where)
        if isinstance(test.check, OfModel) and not test.check.exact
    )


def bind_models(query: Query, catalog: Catalog) -> Query:
    """Return the query with each IS_OF_MODEL as a list of model ids, with a warning for models not there."""
    warnings: list[str] = []

    def bind(test: Test) -> Test:
        check = test.check
        if not isinstance(check, OfModel):
            return test
        model = str(check.model.value)
        family = {model} if check.exact else catalog.families.get(model, frozenset())
        if not family:
            warnings.append(f"There is no model {model}.")
        literals = tuple(Literal(name, check.model.span) for name in sorted(family))
        return Test(Column.MODEL_ID, OneOf(literals, check.negated), test.span)

    return _rebuilt(query, bind, warnings)


def bind_paths(query: Query, catalog: Catalog) -> Query:
    """Return the query with each property's and time's place in the state, with a warning where it has none.

    Of `a.b.c`, `a.b.c` may be a path itself, or `a.b` or `a` one whose value is an object: each that has a number
    is a cell, the longest first. No twin has more than one of them, as a model's names are unique.
    """
    warnings: list[str] = []

    def bind(test: Test) -> Test:
        subject = test.subject
        if isinstance(subject, Instant):
            number = catalog.path_nos.get(".".join(subject.names))
            if number is None:
                warnings.append(_unknown(query, subject.names))
            return replace(test, subject=StoredInstant(number, subject.which))
        if not isinstance(subject, Property):
            return test
        cells = tuple(
            Cell(catalog.path_nos[path], inner)
            for path, inner in _splits(subject)
            if path in catalog.path_nos
        )
        # IS_DEFINED and IS_OBJECT may mean a component, which has no value of its own.
        if not cells and not isinstance(test.check, HasType):
            warnings.append(_unknown(query, subject.names))
        return replace(test, subject=Stored(cells, ".".join(subject.names)))

    return _rebuilt(query, bind, warnings)


def _rebuilt(query: Query, bind: Callable[[Test], Condition], warnings: list[str]) -> Query:
    where = query.where and map_tests(query.where, bind)
    return replace(query, where=where, warnings=(*query.warnings, *dict.fromkeys(warnings)))


def _splits(field: Property | Instant) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = field.names
    shortest = len(names) if isinstance(field, Instant) else 1
    for length in range(len(names), shortest - 1, -1):
        # A name with a dot, possible as [[a.b]], can only be a key within a value.
        if not any("." in name for name in names[:length]):
            yield ".".join(names[:length]), names[length:]


def _unknown(query: Query, names: tuple[str, ...]) -> str:
    said = f"No twin has ever had a value of {'.'.join(names)}."
    if query.alias and names[0].casefold() == query.alias.casefold():
        said += f" The alias is written {query.alias}."
    return said


def _tests(condition: Condition | None) -> Iterator[Test]:
    match condition:
        case Test():
            yield condition
        case Not():
            yield from _tests(condition.term)
        case And() | Or():
            for term in condition.terms:
                yield from _tests(term)
