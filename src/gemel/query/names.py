"""The pass that finds what each path means: of which source, and there a column, a time, or a property."""

from __future__ import annotations

from dataclasses import replace

from gemel.base.errors import InvalidError
from gemel.query.clauses import Collection, Everything, Item, Items, Query, Selection
from gemel.query.faults import nearest, query_fault
from gemel.query.tree import (
    Column,
    Field,
    HasType,
    Instant,
    JsonProperty,
    Of,
    OfModel,
    Path,
    Property,
    Span,
    Test,
    TypeName,
    Version,
    Whole,
    map_tests,
)

__all__ = ["SYSTEM", "resolve_names"]

METADATA = "$metadata"
INSTANTS = ("lastUpdateTime", "sourceTime")
SYSTEM: dict[Collection, dict[tuple[str, ...], Column | Version]] = {
    Collection.TWINS: {
        tuple(field.split(".")): field
        for field in (Column.TWIN_ID, Column.MODEL_ID, Column.LIFECYCLE, Version.ETAG, Version.LAST_UPDATE)
    },
    Collection.RELATIONSHIPS: {
        (field,): field
        for field in (
            Column.RELATIONSHIP_ID,
            Column.RELATIONSHIP_NAME,
            Column.SOURCE_ID,
            Column.TARGET_ID,
        )
    },
}


def resolve_names(query: Query) -> Query:
    """Return the query with a field of a source in place of every path in its WHERE, and the way to every item.

    A path may leave the alias out where one source only can be meant. Raises InvalidError (SqlQueryError) for
    what no twin or relationship has, and for two items of one name.
    """
    where = query.where and map_tests(query.where, lambda test: _resolve_test(query, test))
    return replace(query, where=where, selection=_selection(query))


def _selection(query: Query) -> Selection:
    match query.selection:
        case Everything() if len(query.sources) > 1 and query.default is None:
            if not query.named:
                raise query_fault(
                    query.text, Span(0, 0), "nothing has a name", "Name what you want, as in (a)-[r]->(b)."
                )
            return Items(tuple(Item(Path((name,)), name, name) for name in query.named))
        case Items(items):
            return Items(_distinct(query, tuple(_resolve_item(query, item) for item in items)))
        case other:
            return other


def _distinct(query: Query, items: tuple[Item, ...]) -> tuple[Item, ...]:
    names: set[str] = set()
    for item in items:
        if item.name in names:
            problem = f"two items are called {item.name}"
            raise query_fault(
                query.text, item.path.span, problem, f"Write AS and another name after {item.name}."
            )
        names.add(item.name)
    return items


def _resolve_item(query: Query, item: Item) -> Item:
    source, way = _split(query, item.path)
    collection = query.source(source).collection
    if way and way[0].startswith("$") and way[0] not in _heads(collection):
        raise _no_such(query, item.path, collection, way)
    return replace(item, source=source, way=way)


def _resolve_test(query: Query, test: Test) -> Test:
    assert isinstance(test.subject, Path)
    if isinstance(test.check, OfModel):
        return replace(test, subject=_modelled(query, test.subject))
    source, names = _split(query, test.subject)
    if not names and isinstance(test.check, HasType) and test.check.type is TypeName.DEFINED:
        return replace(test, subject=Of(source, Whole()))
    return replace(test, subject=Of(source, _field(query, test.subject, source, names)))


def _modelled(query: Query, path: Path) -> Of:
    """Return what IS_OF_MODEL asks of: the model of the twins that the alias stands for."""
    named = len(path.names) == 1 and path.names[0] in query.named
    source = path.names[0] if named else None if path.names else query.default
    if source is None:
        written = ".".join(path.names)
        problem = f"{written} is not an alias" if written else "it is not clear of which twin"
        twins = [name for name in query.named if query.source(name).collection is Collection.TWINS]
        known = f"Write IS_OF_MODEL({twins[0]}, 'dtmi:…')." if twins else "Leave it out."
        raise query_fault(query.text, path.span, problem, known)
    if query.source(source).collection is not Collection.TWINS:
        raise query_fault(
            query.text, path.span, "relationships have no model", "Use IS_OF_MODEL on digitaltwins."
        )
    return Of(source, Column.MODEL_ID)


def _split(query: Query, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the source that a path is about, and the names that follow."""
    head = path.names[0]
    if head in query.named:
        return head, path.names[1:]
    if query.default is not None:
        return query.default, path.names
    known = query.named
    if not known:
        suggestion = "Give one a name, as in MATCH (a)-[r]->(b)."
    else:
        meant = nearest(head, known) if len(path.names) > 1 else None
        suggestion = (
            f"Did you mean {meant}?" if meant else f"Write {' or '.join(f'{n}.{head}' for n in known[:4])}."
        )
    problem = f"it is not clear which twin or relationship has {'.'.join(path.names)}"
    raise query_fault(query.text, path.span, problem, suggestion)


def _field(query: Query, path: Path, source: str, names: tuple[str, ...]) -> Field:
    collection = query.source(source).collection
    if not names:
        thing = "a twin" if collection is Collection.TWINS else "a relationship"
        raise query_fault(
            query.text, path.span, f"{thing} has no value", f"Name a property, as {path.names[0]}.name."
        )
    system = SYSTEM[collection].get(names)
    if system is not None:
        return system
    if METADATA in names[:-1] and collection is Collection.TWINS:
        return _instant(query, path, names)
    if any(name.startswith("$") for name in names):
        raise _no_such(query, path, collection, names)
    return Property(names) if collection is Collection.TWINS else JsonProperty(names)


def _instant(query: Query, path: Path, names: tuple[str, ...]) -> Instant:
    """Return a time of a property: `$metadata` stands on the twin, or on the component that has it."""
    place = names.index(METADATA)
    owner, inner = names[:place], names[place + 1 :]
    if len(inner) < 2 or inner[-1] not in INSTANTS or any(name.startswith("$") for name in inner):
        raise query_fault(
            query.text,
            path.span,
            f"{'.'.join(names)} cannot be asked for",
            "Use $metadata.$model, $metadata.NAME.lastUpdateTime or $metadata.NAME.sourceTime.",
        )
    return Instant(owner + inner[:-1], inner[-1])


def _heads(collection: Collection) -> set[str]:
    return {names[0] for names in SYSTEM[collection]} | {str(Version.ETAG)}


def _no_such(query: Query, path: Path, collection: Collection, names: tuple[str, ...]) -> InvalidError:
    written = ".".join(names)
    known = [".".join(field) for field in SYSTEM[collection]]
    meant = nearest(written, known)
    suggestion = f"Did you mean {meant}?" if meant else f"There are {', '.join(known)}."
    return query_fault(query.text, path.span, f"{collection} have no {written}", suggestion)
