"""What a path means: of which source, and there a column, a time, or a property."""

from __future__ import annotations

from gemel.base.errors import InvalidError
from gemel.base.words import nearest
from gemel.query.clauses import Collection, Query
from gemel.query.faults import query_fault
from gemel.query.tree import (
    Column,
    Field,
    Instant,
    JsonProperty,
    Names,
    Of,
    Part,
    Path,
    PathColumn,
    Property,
    Recent,
    Version,
    Whole,
    Window,
)

__all__ = ["SYSTEM", "called", "field_of", "modelled", "shown", "split", "windowed"]

METADATA = "$metadata"
THINGS = {Collection.TWINS: "a twin", Collection.RELATIONSHIPS: "a relationship", Collection.PATHS: "a path"}
INSTANTS = ("lastUpdateTime", "sourceTime")
SYSTEM: dict[Collection, dict[tuple[str, ...], Column | PathColumn | Version]] = {
    Collection.TWINS: {
        tuple(field.split(".")): field
        for field in (Column.TWIN_ID, Column.MODEL_ID, Column.LIFECYCLE, Version.ETAG, Version.LAST_UPDATE)
    },
    Collection.PATHS: {(PathColumn.LENGTH,): PathColumn.LENGTH},
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


def modelled(query: Query, path: Path) -> Of:
    """Return what IS_OF_MODEL asks of: the model of the twins that the alias stands for.

    Raises InvalidError (SqlQueryError) where it stands for none.
    """
    return Of(_twins(query, path, "IS_OF_MODEL", "model"), Column.MODEL_ID)


def called(query: Query, path: Path) -> Of:
    """Return what SEARCH goes over: what the twins that the alias stands for are called.

    Raises InvalidError (SqlQueryError) where it stands for none.
    """
    return Of(_twins(query, path, "SEARCH", "names"), Names())


def _twins(query: Query, path: Path, function: str, what: str) -> str:
    named = len(path.names) == 1 and path.names[0] in query.named
    source = path.names[0] if named else None if path.names else query.default
    if source is None:
        written = ".".join(path.names)
        problem = f"{written} is not an alias" if written else "it is not clear of which twin"
        twins = [name for name in query.named if query.source(name).collection is Collection.TWINS]
        known = f"Write {function}({twins[0]}, '…')." if twins else "Leave it out."
        raise query_fault(query.text, path.span, problem, known)
    if query.source(source).collection is not Collection.TWINS:
        raise query_fault(
            query.text,
            path.span,
            f"{query.source(source).collection} have no {what}",
            f"Use {function} on digitaltwins.",
        )
    return source


def split(query: Query, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the source that a path is about, and the names that follow.

    A path may leave the alias out where one source only can be meant. Raises InvalidError (SqlQueryError).
    """
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
        told = f"{head} is not an alias here. " if len(path.names) > 1 else ""
        suggestion = told + (
            f"Did you mean {meant}?" if meant else f"Write {' or '.join(f'{n}.{head}' for n in known[:4])}."
        )
    problem = f"it is not clear which twin or relationship has {'.'.join(path.names)}"
    raise query_fault(query.text, path.span, problem, suggestion)


def shown(query: Query, path: Path) -> tuple[Of, tuple[str, ...]]:
    """Return what a path that is selected is of, and the way to it in the document: all of a document too.

    Raises InvalidError (SqlQueryError) for what no twin or relationship has.
    """
    source, way = split(query, path)
    if not way:
        return Of(source, Whole()), way
    collection = query.source(source).collection
    if way[0].startswith("$") and way[0] not in _heads(collection):
        raise _no_such(query, path, collection, way)
    if collection is Collection.PATHS:
        return Of(source, field_of(query, path, source, way)), way
    try:
        return Of(source, field_of(query, path, source, way)), way
    except InvalidError:
        if METADATA not in way and way != (Version.ETAG,):
            raise
        return Of(source, Part()), way


def windowed(query: Query, recent: Recent) -> Of:
    """Return what LAST is of. Raises InvalidError (SqlQueryError) for what has no samples."""
    source, names = split(query, recent.path)
    if query.source(source).collection is not Collection.TWINS:
        raise query_fault(query.text, recent.path.span, "only twins have samples", "Name a twin's property.")
    if not names or any(name.startswith("$") for name in names):
        raise query_fault(query.text, recent.path.span, "it has no samples", "Name a property or telemetry.")
    return Of(source, Window(names, recent.span_us, recent.function))


def field_of(query: Query, path: Path, source: str, names: tuple[str, ...]) -> Field:
    """Return what can be compared and sorted by. Raises InvalidError (SqlQueryError) for what has no value."""
    collection = query.source(source).collection
    if not names:
        thing = THINGS[collection]
        example = "length" if collection is Collection.PATHS else "name"
        raise query_fault(
            query.text, path.span, f"{thing} has no value", f"Name a property, as {path.names[0]}.{example}."
        )
    system = SYSTEM[collection].get(names)
    if system is not None:
        return system
    if collection is Collection.PATHS:
        raise _no_such(query, path, collection, names)
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
    if query.named and not names[0].startswith("$") and path.names == names:
        suggestion = (
            f"{names[0]} is not an alias here; write {nearest(names[0], query.named) or query.named[0]}."
        )
    return query_fault(query.text, path.span, f"{collection} have no {written}", suggestion)
