"""Run a query for one tenant and return a page of its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import errors

from gemel.base.errors import InvalidError
from gemel.graph.context import GraphContext
from gemel.graph.etag import etag
from gemel.graph.loading import documents
from gemel.graph.paging import check_page_size
from gemel.query.bind import Catalog, wanted_models, wanted_paths
from gemel.query.compiler import analyse, compile_query
from gemel.query.statement import START, Key, Window
from gemel.query.token import Position, decode_position, encode_position
from gemel.query.tree import Collection, Count, Items, Query, Selection
from gemel.store.database import ReadTransaction, Row

__all__ = ["TIMEOUT_S", "QueryPage", "run_query"]

TIMEOUT_S = 60.0

# A plan that is made without the values cannot know how few rows they leave; compiling one takes longer than it
# saves.
LIMITS = """
SELECT set_config('statement_timeout', %s, true), set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('jit', 'off', true)"""
PATH_NOS = """
SELECT path, path_no FROM path WHERE tenant = current_tenant() AND role = 'property' AND path = ANY(%s)"""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class QueryPage:
    """Some rows of an answer, and the token that continues it, or None at its end.

    `charge` is the time that the database took for the page, in ms. `warnings` name what the query asks for and
    the tenant does not have, so that no row can match.
    """

    items: list[Document]
    token: str | None
    charge: float
    warnings: tuple[str, ...] = ()


async def run_query(
    tx: ReadTransaction,
    context: GraphContext,
    text: str | None = None,
    token: str | None = None,
    page_size: int | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> QueryPage:
    """Return a page of a query's answer: the first of `text`, or the next of what `token` (which wins) continues.

    A page has `page_size` rows at most (default 100, never over 1000). Rows are as GET gives the twin or
    relationship, or have just the items selected, without those that a twin does not have.
    Raises InvalidError (SqlQueryError; BadRequest without text and token, or for a token that is none;
    InvalidArgument for a page size below 1; TimeoutError once a statement takes longer than `timeout_s`).
    """
    size = check_page_size(page_size)
    position = _position(text, token)
    query = analyse(position.text)
    if position.left is None and query.top is not None:
        position = Position(position.text, position.after, query.top)
    start = time.perf_counter()
    try:
        page = await _page(tx, context, query, position, size, timeout_s)
    except errors.QueryCanceled as error:
        raise InvalidError(
            "TimeoutError",
            f"The query took longer than {timeout_s:g} s.",
            "Narrow it: ask for a $dtId or a model, or count instead.",
        ) from error
    items, after, warnings = page
    charge = round((time.perf_counter() - start) * 1000, 2)
    left = None if position.left is None else position.left - len(items)
    if after is None or left == 0:
        return QueryPage(items, None, charge, warnings)
    return QueryPage(items, encode_position(Position(position.text, after, left)), charge, warnings)


def _position(text: str | None, token: str | None) -> Position:
    if token is not None:
        return decode_position(token)
    if text is None:
        raise InvalidError(
            "BadRequest", "There is neither a query nor a continuation token.", "Send one of them."
        )
    return Position(text, START)


async def _page(
    tx: ReadTransaction, context: GraphContext, query: Query, position: Position, size: int, timeout_s: float
) -> tuple[list[Document], Key | None, tuple[str, ...]]:
    """Return the rows, the key after which there are more or None, and the warnings."""
    await tx.rows(LIMITS, (str(max(1, int(timeout_s * 1000))),))
    catalog = await _catalog(tx, context, query)
    wanted = size if position.left is None else min(size, position.left)
    compiled = compile_query(query, catalog, Window(position.after, wanted + 1))
    rows = await tx.rows(compiled.sql, compiled.parameters)
    if isinstance(query.selection, Count):
        return [{"COUNT": rows[0][0]}][:wanted], None, compiled.warnings
    kept = rows[:wanted]
    if query.collection is Collection.TWINS:
        found = await documents(tx, context, [row[0] for row in kept])
    else:
        found = [_relationship(row) for row in kept]
    after = _key(query, kept[-1]) if len(rows) > wanted > 0 else None
    return [select(query.selection, document) for document in found], after, compiled.warnings


async def _catalog(tx: ReadTransaction, context: GraphContext, query: Query) -> Catalog:
    paths, models = wanted_paths(query), wanted_models(query)
    rows = await tx.rows(PATH_NOS, (sorted(paths),)) if paths else []
    families: dict[str, frozenset[str]] = {}
    if models:
        known = await context.library.models(tx)
        families = {each: known.descendants(each) for each in models}
    return Catalog(dict(rows), families)


def _key(query: Query, row: Row) -> Key:
    return (row[0], "" if query.collection is Collection.TWINS else row[1])


def _relationship(row: Row) -> Document:
    source_no, relationship_id, source_id, name, target_id, properties, recorded_us = row
    return {
        "$relationshipId": relationship_id,
        "$etag": etag(source_no, recorded_us),
        "$sourceId": source_id,
        "$relationshipName": name,
        "$targetId": target_id,
        **properties,
    }


def select(selection: Selection, document: Document) -> Document:
    """Return what of a document was selected; an item whose way leads nowhere is left out."""
    if not isinstance(selection, Items):
        return document
    row: Document = {}
    for item in selection.items:
        found, value = _follow(document, item.way)
        if found:
            row[item.name] = value
    return row


def _follow(value: Any, way: Sequence[str]) -> tuple[bool, Any]:
    for name in way:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value
