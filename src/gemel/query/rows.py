"""From the rows of a statement to the rows of an answer: documents are read once, for all of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gemel.graph.context import GraphContext
from gemel.history.values import JSON, decode
from gemel.query.clauses import Collection
from gemel.query.layout import Fetch, Layout, Member
from gemel.query.tables import Tables
from gemel.query.values import COMPONENT
from gemel.store.columns import read_json
from gemel.store.database import ReadTransaction, Row

__all__ = ["answer_rows"]

Document = dict[str, Any]


class _Path(NamedTuple):
    """The keys of what a path goes through, from its start to its end."""

    twins: tuple[int, ...]
    relationships: tuple[tuple[int, str], ...]


async def answer_rows(
    tx: ReadTransaction, context: GraphContext, tables: Tables, layout: Layout, rows: Sequence[Row]
) -> list[Document]:
    """Return the answer's rows; a member that a twin does not have, or whose twin is not there, is left out."""
    documents = await _documents(tx, context, tables, layout, rows)
    if layout.whole is not None:
        return [documents[key] for row in rows if (key := _key(layout.whole, row)) is not None]
    return [_row(layout.members, row, documents) for row in rows]


async def _documents(
    tx: ReadTransaction, context: GraphContext, tables: Tables, layout: Layout, rows: Sequence[Row]
) -> dict[Any, Document]:
    fetches = {(member.fetch, member.property_at) for member in layout.members if member.fetch}
    if layout.whole is not None:
        fetches.add((layout.whole, None))
    keys: dict[Collection, dict[Any, None]] = {each: {} for each in Collection}
    for fetch, place in fetches:
        for row in rows if place is None else [row for row in rows if row[place] == COMPONENT]:
            key = _key(fetch, row)
            if isinstance(key, _Path):
                keys[Collection.TWINS] |= dict.fromkeys(key.twins)
                keys[Collection.RELATIONSHIPS] |= dict.fromkeys(key.relationships)
            elif key is not None:
                keys[fetch.collection][key] = None
    found: dict[Any, Document] = {}
    if keys[Collection.TWINS]:
        found |= await tables.twin_documents(tx, context, sorted(keys[Collection.TWINS]))
    if keys[Collection.RELATIONSHIPS]:
        found |= await tables.relationship_documents(tx, sorted(keys[Collection.RELATIONSHIPS]))
    return found


def _key(fetch: Fetch, row: Row) -> Any:
    number = row[fetch.at]
    if fetch.collection is Collection.PATHS:
        sources, ids = row[fetch.at + 1], row[fetch.at + 2]
        return _Path(tuple(number), tuple(zip(sources, ids, strict=True)))
    if number is None or fetch.collection is Collection.TWINS:
        return number
    return number, row[fetch.at + 1]


def _row(members: Sequence[Member], row: Row, documents: Mapping[Any, Document]) -> Document:
    found: Document = {}
    for member in members:
        if member.property_at is not None and row[member.property_at] != COMPONENT:
            there, value = _stored(row[member.property_at])
        elif member.at is not None:
            there = row[member.at] is not None
            value = decode(None, JSON, row[member.at]) if member.kind == "jsonb" else row[member.at]
        else:
            assert member.fetch is not None
            key = _key(member.fetch, row)
            there, value = (
                _follow(_document(key, documents), member.way) if key is not None else (False, None)
            )
        if there:
            found[member.name] = value
    return found


def _document(key: Any, documents: Mapping[Any, Document]) -> Document:
    if not isinstance(key, _Path):
        return documents[key]
    return {
        "length": len(key.relationships),
        "twins": [documents[each] for each in key.twins],
        "relationships": [documents[each] for each in key.relationships],
    }


def _stored(told: str | None) -> tuple[bool, Any]:
    if told is None:
        return False, None
    kind, value = int(told[0]), told[1:]
    return True, decode(None, JSON, read_json(value)) if kind == JSON else decode(float(value), kind, None)


def _follow(value: Any, way: Sequence[str]) -> tuple[bool, Any]:
    for name in way:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value
