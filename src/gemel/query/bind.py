"""The passes that need to know the tenant: which models extend one, and which paths have a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gemel.query.clauses import Aggregate, Function, Query, map_terms, tests_of
from gemel.query.tree import (
    Cell,
    Column,
    Compare,
    Condition,
    Instant,
    JsonProperty,
    Literal,
    Names,
    Of,
    OfModel,
    OneOf,
    Operand,
    Operator,
    Part,
    Property,
    Stored,
    StoredInstant,
    StoredNames,
    StoredWindow,
    Test,
    Version,
    Window,
    map_tests,
)
from gemel.query.vocabulary import Vocabulary

__all__ = [
    "Catalog",
    "bind_models",
    "bind_paths",
    "doubtful",
    "longest_window",
    "roles_of",
    "wanted_models",
    "wanted_paths",
    "wants_all",
    "wants_names",
]


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a tenant has of what a query names.

    `path_nos` holds the number of each property path that some twin may have had a value of, `telemetry_nos` that of
    each path of telemetry, `name_nos` those of properties that say what a twin is called; `families` for each
    model the ids of itself and of all that extend it; `names` what the models have, where it was looked up;
    `promoted` the numbers of the paths that are indexed.
    """

    path_nos: Mapping[str, int]
    families: Mapping[str, frozenset[str]]
    names: Vocabulary | None = None
    promoted: frozenset[int] = frozenset()
    telemetry_nos: Mapping[str, int] = field(default_factory=dict)
    name_nos: tuple[int, ...] = ()


def wanted_paths(query: Query) -> frozenset[str]:
    """Return every dotted path that a property of the query may be stored under."""
    return frozenset(
        path
        for of in _subjects(query)
        if isinstance(of.field, Property | Instant | Window)
        for path, _ in _splits(of.field)
    )


def roles_of(query: Query) -> tuple[str, ...]:
    """Return the roles that a path of the query may have: telemetry only where it asks for samples."""
    windows = any(isinstance(of.field, Window) for of in _subjects(query))
    return ("property", "telemetry") if windows else ("property",)


def longest_window(query: Query) -> int:
    """Return how far back (µs) the query asks for samples; 0 where it asks for none."""
    return max((of.field.span_us for of in _subjects(query) if isinstance(of.field, Window)), default=0)


def wants_all(query: Query) -> bool:
    """Say whether a query asks for what follows from all values of a twin."""
    return any(isinstance(of.field, Version | Part) for of in _subjects(query))


def wants_names(query: Query) -> bool:
    """Say whether a query searches what twins are called."""
    return any(isinstance(of.field, Names) for of in _subjects(query))


def doubtful(query: Query, path_nos: Mapping[str, int]) -> bool:
    """Say whether a query names what only the models can tell is there."""
    if any(link.names for link in query.links) or any(True for _ in _summed(query)):
        return True
    if any(isinstance(test.check, OfModel) or _named(test) for test in tests_of(query.where)):
        return True
    return any(
        isinstance(of.field, JsonProperty)
        or (isinstance(of.field, Property | Instant | Window) and ".".join(of.field.names) not in path_nos)
        for of in _subjects(query)
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
        told = catalog.names and catalog.names.unknown_model(model)
        if told or not family:
            warnings.append(told or f"There is no model {model}.")
        literals = tuple(Literal(name, check.model.span) for name in sorted(family))
        return replace(test, check=OneOf(literals, check.negated))

    return _rebuilt(query, bind, warnings)


def bind_paths(query: Query, catalog: Catalog) -> Query:
    """Return the query with each property's and time's place in the state, with a warning where it has none.

    Of `a.b.c`, `a.b.c` may be a path itself, or `a.b` or `a` one whose value is an object: each that has a number
    is a cell, the longest first. No twin has more than one of them, as a model's names are unique.
    """
    warnings = list(_warn_of_names(query, catalog)) + list(_warn_of_sums(query, catalog))

    def place(of: Operand) -> Of:
        assert isinstance(of, Of)
        field = of.field
        if isinstance(field, Names):
            return Of(of.source, StoredNames(catalog.name_nos))
        if isinstance(field, Window):
            cells = (*_cells(field, catalog.path_nos), *_cells(field, catalog.telemetry_nos))
            warnings.extend(_warn(query, catalog, field.names, found=bool(cells), telemetry=True))
            return Of(of.source, StoredWindow(cells, field.span_us, field.function))
        if isinstance(field, Property):
            cells = _cells(field, catalog.path_nos)
            warnings.extend(_warn(query, catalog, field.names, found=bool(cells)))
            return Of(of.source, Stored(cells, ".".join(field.names)))
        if isinstance(field, Instant):
            number = catalog.path_nos.get(".".join(field.names))
            warnings.extend(_warn(query, catalog, field.names, found=number is not None))
            return Of(of.source, StoredInstant(number, field.which))
        if isinstance(field, JsonProperty):
            warnings.extend(_warn_of_relationship(catalog, field.names))
        return of

    def bind(test: Test) -> Test:
        return replace(test, subject=place(test.subject))

    return _rebuilt(map_terms(query, place), bind, warnings)


def _cells(field: Property | Window, numbers: Mapping[str, int]) -> tuple[Cell, ...]:
    return tuple(Cell(numbers[path], inner) for path, inner in _splits(field) if path in numbers)


def _rebuilt(query: Query, bind: Callable[[Test], Condition], warnings: list[str]) -> Query:
    where = query.where and map_tests(query.where, bind)
    return replace(query, where=where, warnings=(*query.warnings, *dict.fromkeys(warnings)))


def _splits(field: Property | Instant | Window) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = field.names
    shortest = len(names) if isinstance(field, Instant) else 1
    for length in range(len(names), shortest - 1, -1):
        # A name with a dot, possible as [[a.b]], can only be a key within a value.
        if not any("." in name for name in names[:length]):
            yield ".".join(names[:length]), names[length:]


def _warn(
    query: Query, catalog: Catalog, names: tuple[str, ...], *, found: bool, telemetry: bool = False
) -> Iterator[str]:
    """Yield what is worth saying of a path of twins: the rows it selects may be none."""
    known = catalog.names
    said = _misread(query, known, names)
    if known is not None and not telemetry and not known.has(names) and known.has(names, telemetry=True):
        path = ".".join(names)
        yield f"{path} is telemetry, which a twin does not keep: ask for LAST({path}, '1h', 'last')."
    elif known is not None and not known.has(names, telemetry=telemetry):
        yield _unknown("model", names, known.meant(names, telemetry=telemetry)) + said
    elif not found and (known is None or said):
        yield f"No twin has ever had a value of {'.'.join(names)}.{said}"


def _warn_of_relationship(catalog: Catalog, names: tuple[str, ...]) -> Iterator[str]:
    if catalog.names is not None and not catalog.names.has_of_relationship(names):
        yield _unknown("relationship of a model", names, catalog.names.meant(names, of_relationship=True))


def _misread(query: Query, known: Vocabulary | None, names: tuple[str, ...]) -> str:
    """Return what to say of a first name that was written as an alias, and is none."""
    head = names[0]
    alias = {name.casefold(): name for name in query.named}.get(head.casefold())
    if alias:
        return f" The alias is written {alias}."
    if len(names) == 1 or known is None or known.is_head(head):
        return ""
    aliases = " or ".join(query.named)
    return f" {head} is not an alias here; " + (f"write {aliases}." if aliases else "leave it out.")


def _warn_of_names(query: Query, catalog: Catalog) -> Iterator[str]:
    """Yield what is worth saying of the names of relationships: one that no model has finds nothing."""
    asked = [name for link in query.links for name in link.names]
    asked += [name for test in tests_of(query.where) for name in _named(test)]
    for name in asked:
        told = catalog.names and catalog.names.unknown_relationship(name)
        if told:
            yield told


def _named(test: Test) -> list[str]:
    """Return the names of relationships of which a test takes one."""
    if not isinstance(test.subject, Of) or test.subject.field is not Column.RELATIONSHIP_NAME:
        return []
    check = test.check
    literals: tuple[Literal, ...] = ()
    if isinstance(check, Compare) and check.operator is Operator.EQ:
        literals = (check.literal,)
    elif isinstance(check, OneOf) and not check.negated:
        literals = check.literals
    return [each.value for each in literals if isinstance(each.value, str)]


def _warn_of_sums(query: Query, catalog: Catalog) -> Iterator[str]:
    for function, of in _summed(query):
        of_relationship = isinstance(of, JsonProperty)
        if catalog.names is not None and not catalog.names.counts(of.names, of_relationship=of_relationship):
            owner = "relationship of a model" if of_relationship else "model"
            yield f"{function} is of numbers, which {'.'.join(of.names)} is in no {owner}."


def _summed(query: Query) -> Iterator[tuple[str, Property | JsonProperty]]:
    """Yield what is added up, with the function that does."""
    for term in (*(item.term for item in query.items), *(sort.term for sort in query.order)):
        if isinstance(term, Aggregate) and term.function in (Function.SUM, Function.AVG):
            field = term.of.field if isinstance(term.of, Of) else None
            if isinstance(field, Property | JsonProperty):
                yield term.function, field


def _unknown(owner: str, names: tuple[str, ...], meant: str | None) -> str:
    said = f"No {owner} has a property {'.'.join(names)}."
    return f"{said} Did you mean {meant}?" if meant and meant != names[0] else said


def _subjects(query: Query) -> Iterator[Of]:
    terms = [item.term for item in query.items] + [sort.term for sort in query.order] + [*query.group]
    subjects = [term.of if isinstance(term, Aggregate) else term for term in terms]
    for each in (*subjects, *(test.subject for test in tests_of(query.where))):
        if isinstance(each, Of):
            yield each
