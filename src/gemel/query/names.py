"""The pass that finds what each path of a query means."""

from __future__ import annotations

from dataclasses import replace

from gemel.base.errors import InvalidError
from gemel.query.clauses import Aggregate, Everything, Function, Item, Items, Query, Selection, Term
from gemel.query.faults import query_fault
from gemel.query.resolve import called, field_of, modelled, shown, split, windowed
from gemel.query.tree import (
    Column,
    HasType,
    HasWords,
    Instant,
    Of,
    OfModel,
    Operand,
    Part,
    Path,
    Recent,
    Span,
    Test,
    TypeName,
    Version,
    Whole,
    map_tests,
)

__all__ = ["resolve_names"]

NUMERIC = frozenset({Function.SUM, Function.AVG})


def resolve_names(query: Query) -> Query:
    """Return the query with a field of a source in place of every path, and the way to every item.

    Raises InvalidError (SqlQueryError) for what no twin or relationship has, for what has no value where one is
    needed, and for two items of one name.
    """
    selection = _selection(query)
    items = selection.items if isinstance(selection, Items) else ()
    return replace(
        query,
        selection=selection,
        where=query.where and map_tests(query.where, lambda test: _test(query, test)),
        group=tuple(_group(query, path) for path in query.group),
        order=tuple(replace(sort, term=_sort(query, sort.term, items)) for sort in query.order),
    )


def _selection(query: Query) -> Selection:
    if isinstance(query.selection, Everything):
        if len(query.sources) == 1 or query.default is not None:
            return query.selection
        if not query.named:
            raise query_fault(
                query.text, Span(0, 0), "nothing has a name", "Name what you want, as in (a)-[r]->(b)."
            )
        return Items(tuple(Item(Of(name, Whole()), name) for name in query.named))
    items = tuple(_item(query, item) for item in query.selection.items)
    names: set[str] = set()
    for item in items:
        if item.name in names:
            problem = f"two items are called {item.name}"
            raise query_fault(query.text, item.span, problem, f"Write AS and another name after {item.name}.")
        names.add(item.name)
    return Items(items)


def _item(query: Query, item: Item) -> Item:
    if isinstance(item.term, Path):
        term, way = shown(query, item.term)
        return replace(item, term=term, way=way)
    if isinstance(item.term, Recent):
        return replace(item, term=windowed(query, item.term))
    return replace(item, term=_aggregate(query, item.term))


def _aggregate(query: Query, term: Term) -> Term:
    if isinstance(term, Recent):
        return windowed(query, term)
    if not isinstance(term, Aggregate) or term.of is None or isinstance(term.of, Of):
        return term
    if isinstance(term.of, Recent):
        return replace(term, of=windowed(query, term.of))
    source, names = split(query, term.of)
    if not names and term.function is Function.COUNT:
        return replace(term, of=Of(source, Whole()))
    field = field_of(query, term.of, source, names)
    if term.function in NUMERIC and isinstance(field, Column | Version | Instant):
        raise query_fault(
            query.text, term.of.span, f"{term.function} is of numbers", "Use COUNT, MIN or MAX of it."
        )
    return replace(term, of=Of(source, field))


def _group(query: Query, path: Operand) -> Of:
    if isinstance(path, Recent):
        return windowed(query, path)
    assert isinstance(path, Path)
    found, _ = shown(query, path)
    if isinstance(found.field, Part):
        raise _no_value(query, path)
    return found


def _sort(query: Query, term: Term, items: tuple[Item, ...]) -> Term:
    if not isinstance(term, Path):
        return _aggregate(query, term)
    if len(term.names) == 1:
        named = [item for item in items if item.name == term.names[0]]
        if named and (named[0].given or query.default is None or isinstance(named[0].term, Aggregate)):
            if isinstance(named[0].term, Of) and isinstance(named[0].term.field, Whole | Part):
                raise _no_value(query, term)
            return named[0].term
    source, names = split(query, term)
    return Of(source, field_of(query, term, source, names))


def _no_value(query: Query, path: Path) -> InvalidError:
    written = ".".join(path.names)
    return query_fault(
        query.text, path.span, f"{written} has no value", f"Name a property, as {path.names[0]}.name."
    )


def _test(query: Query, test: Test) -> Test:
    if isinstance(test.subject, Recent):
        return replace(test, subject=windowed(query, test.subject))
    assert isinstance(test.subject, Path)
    if isinstance(test.check, HasWords) and test.subject.names in {(), *((name,) for name in query.named)}:
        return replace(test, subject=called(query, test.subject))
    if isinstance(test.check, OfModel):
        return replace(test, subject=modelled(query, test.subject))
    source, names = split(query, test.subject)
    if not names and isinstance(test.check, HasType) and test.check.type is TypeName.DEFINED:
        return replace(test, subject=Of(source, Whole()))
    return replace(test, subject=Of(source, field_of(query, test.subject, source, names)))
