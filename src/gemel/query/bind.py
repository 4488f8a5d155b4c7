"""The passes that need to know the tenant: which models extend one, and which paths have a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from gemel.query.clauses import Query, tests_of
from gemel.query.tree import (
    Cell,
    Check,
    Condition,
    Field,
    HasType,
    Instant,
    Literal,
    Of,
    OfModel,
    OneOf,
    Property,
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
    of itself and of all that extend it; `promoted` the numbers of the paths that are indexed.
    """

    path_nos: Mapping[str, int]
    families: Mapping[str, frozenset[str]]
    promoted: frozenset[int] = frozenset()


def wanted_paths(query: Query) -> frozenset[str]:
    """Return every dotted path that a property of the query may be stored under."""
    return frozenset(
        path
        for test in tests_of(query.where)
        if isinstance(test.subject, Of) and isinstance(test.subject.field, Property | Instant)
        for path, _ in _splits(test.subject.field)
    )


def wanted_models(query: Query) -> frozenset[str]:
    """Return the models whose descendants the query asks for."""
    return frozenset(
        str(test.check.model.value)
        for test in tests_of(query.where)
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
        return replace(test, check=OneOf(literals, check.negated))

    return _rebuilt(query, bind, warnings)


def bind_paths(query: Query, catalog: Catalog) -> Query:
    """Return the query with each property's and time's place in the state, with a warning where it has none.

    Of `a.b.c`, `a.b.c` may be a path itself, or `a.b` or `a` one whose value is an object: each that has a number
    is a cell, the longest first. No twin has more than one of them, as a model's names are unique.
    """
    warnings: list[str] = []

    def place(of: Of, check: Check) -> Field:
        field = of.field
        if isinstance(field, Instant):
            number = catalog.path_nos.get(".".join(field.names))
            if number is None:
                warnings.append(_unknown(query, field.names))
            return StoredInstant(number, field.which)
        if not isinstance(field, Property):
            return field
        cells = tuple(
            Cell(catalog.path_nos[path], inner) for path, inner in _splits(field) if path in catalog.path_nos
        )
        # IS_DEFINED and IS_OBJECT may mean a component, which has no value of its own.
        if not cells and not isinstance(check, HasType):
            warnings.append(_unknown(query, field.names))
        return Stored(cells, ".".join(field.names))

    def bind(test: Test) -> Test:
        assert isinstance(test.subject, Of)
        return replace(test, subject=Of(test.subject.source, place(test.subject, test.check)))

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
    meant = {name.casefold(): name for name in query.named}.get(names[0].casefold())
    return f"{said} The alias is written {meant}." if meant else said
