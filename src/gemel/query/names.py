"""The pass that finds what each path means: the alias, a column, a time in the metadata, or a property."""

from __future__ import annotations

from dataclasses import replace

from gemel.base.errors import InvalidError
from gemel.query.faults import nearest, query_fault
from gemel.query.tree import (
    Collection,
    Column,
    Instant,
    Item,
    Items,
    JsonProperty,
    OfModel,
    Path,
    Property,
    Query,
    Subject,
    Test,
    Version,
    map_tests,
)

__all__ = ["INSTANTS", "resolve_names"]

METADATA = "$metadata"
INSTANTS = ("lastUpdateTime", "sourceTime")
SYSTEM: dict[Collection, dict[tuple[str, ...], Column | Version]] = {
    Collection.TWINS: {
        tuple(field.split(".")): field
        for field in (Column.TWIN_ID, Column.MODEL_ID, Version.ETAG, Version.LAST_UPDATE)
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
    """Return the query with a field in place of every path in its WHERE, and the way to every item.

    A path may leave the alias out. Raises InvalidError (SqlQueryError) for what no twin or relationship has, and
    for two items of one name.
    """
    where = query.where and map_tests(query.where, lambda test: _resolve_test(query, test))
    if not isinstance(query.selection, Items):
        return replace(query, where=where)
    items = tuple(_resolve_item(query, item) for item in query.selection.items)
    names: set[str] = set()
    for item in items:
        if item.name in names:
            problem = f"two items are called {item.name}"
            raise query_fault(
                query.text, item.path.span, problem, f"Write AS and another name after {item.name}."
            )
        names.add(item.name)
    return replace(query, where=where, selection=Items(items))


def _resolve_item(query: Query, item: Item) -> Item:
    way = _after_alias(query, item.path)
    if way and way[0].startswith("$") and way[0] not in _heads(query.collection):
        raise _no_such(query, item.path, way)
    return replace(item, way=way)


def _resolve_test(query: Query, test: Test) -> Test:
    assert isinstance(test.subject, Path)
    if isinstance(test.check, OfModel):
        return replace(test, subject=_whole(query, test.subject))
    return replace(test, subject=_field(query, test.subject, _after_alias(query, test.subject)))


def _whole(query: Query, path: Path) -> Column:
    """Return what IS_OF_MODEL asks of: the model of the twins that the alias stands for."""
    if query.collection is not Collection.TWINS:
        raise query_fault(
            query.text, path.span, "relationships have no model", "Use IS_OF_MODEL on digitaltwins."
        )
    if path.names and path.names != (query.alias,):
        known = f"Write IS_OF_MODEL({query.alias}, 'dtmi:…')." if query.alias else "Leave it out."
        raise query_fault(query.text, path.span, f"{'.'.join(path.names)} is not an alias", known)
    return Column.MODEL_ID


def _after_alias(query: Query, path: Path) -> tuple[str, ...]:
    return path.names[1:] if path.names[0] == query.alias else path.names


def _field(query: Query, path: Path, names: tuple[str, ...]) -> Subject:
    if not names:
        raise query_fault(
            query.text, path.span, "a collection has no value", f"Name a property, as {path.names[0]}.name."
        )
    system = SYSTEM[query.collection].get(names)
    if system is not None:
        return system
    if METADATA in names[:-1] and query.collection is Collection.TWINS:
        return _instant(query, path, names)
    if any(name.startswith("$") for name in names):
        raise _no_such(query, path, names)
    return Property(names) if query.collection is Collection.TWINS else JsonProperty(names)


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


def _no_such(query: Query, path: Path, names: tuple[str, ...]) -> InvalidError:
    written = ".".join(names)
    known = [".".join(field) for field in SYSTEM[query.collection]]
    meant = nearest(written, known)
    suggestion = f"Did you mean {meant}?" if meant else f"There are {', '.join(known)}."
    return query_fault(query.text, path.span, f"{query.collection} have no {written}", suggestion)
