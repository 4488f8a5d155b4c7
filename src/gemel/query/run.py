"""Run a query for one tenant and return a page of its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import errors

from gemel.base.clock import now_us
from gemel.base.errors import InvalidError
from gemel.graph.context import GraphContext
from gemel.graph.paging import check_page_size
from gemel.history.cold import EveryTwin, stage_between, stage_last
from gemel.history.moment import LIVE as NOW
from gemel.history.moment import Moment, check_kept
from gemel.query.bind import (
    Catalog,
    doubtful,
    longest_window,
    roles_of,
    wanted_models,
    wanted_paths,
    wants_all,
    wants_names,
)
from gemel.query.clauses import Query
from gemel.query.compiler import analyse, compile_query, steps_of
from gemel.query.explain import explained
from gemel.query.limits import ROWS_MAX, STEPS_MAX, TOO_MANY
from gemel.query.rows import answer_rows
from gemel.query.statement import Window
from gemel.query.then import tables_at
from gemel.query.token import Key, Position, decode_position, encode_position, not_ours
from gemel.query.vocabulary import vocabulary
from gemel.store.database import READ_TIMEOUT_S, ReadTransaction

__all__ = ["Ask", "QueryPage", "run_query"]

NAME_NOS = """
SELECT path_no FROM path
WHERE tenant = current_tenant() AND role = 'property' AND lower(regexp_replace(path, '^.*[.]', '')) = ANY(%s)
ORDER BY path_no"""
NAMES = ("name", "displayname", "title", "label")
"""Properties that say what a twin is called, in any case, on the twin or on a component."""

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


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for: the first page of a query's text, or the next of what a token continues.

    `moment` is that of which a text is asked. A token has its own of both; what is sent with it must be equal.
    """

    text: str | None = None
    token: str | None = None
    page_size: int | None = None
    moment: Moment = NOW


@dataclass(frozen=True, slots=True)
class _Run:
    tx: ReadTransaction
    context: GraphContext
    moment: Moment
    size: int

    def wanted(self, position: Position) -> int:
        """Return how many rows the page has at most."""
        return self.size if position.left is None else min(self.size, position.left)


async def run_query(
    tx: ReadTransaction,
    context: GraphContext,
    ask: Ask,
    *,
    timeout_s: float = READ_TIMEOUT_S,
) -> QueryPage:
    """Return a page of a query's answer, at the moment of which it is asked.

    A page has `page_size` rows at most (default that of the page before it, or 100; never over 1000). Rows are as
    GET gives the twin or relationship, or have just the items selected, without those that a twin does not have.
    Raises InvalidError (SqlQueryError; BadRequest without text and token, or for a token that is none or
    of something else; InvalidArgument for a page size below 1; TimeoutError once a statement takes longer than
    `timeout_s`; LimitExceeded beyond what `gemel.query.limits` allows; MomentBeforeRetention).
    """
    position = _position(ask, tx.tenant)
    size = check_page_size(position.size if ask.page_size is None else ask.page_size)
    query = analyse(position.text)
    if position.after is None:
        position = replace(position, left=query.top, now_us=min(now_us(), *position.moment))
    start = time.perf_counter()
    try:
        if timeout_s != READ_TIMEOUT_S:
            await tx.limit(timeout_s)
        run = _Run(tx, context, position.moment, size)
        page = await (_explained if query.explain else _page)(run, query, position)
    except psycopg.Error as error:
        raise _refusal(error, position, timeout_s) from error
    items, after, warnings = page
    charge = round((time.perf_counter() - start) * 1000, 2)
    left = None if position.left is None else position.left - len(items)
    if after is None or left == 0:
        return QueryPage(items, None, charge, warnings)
    following = replace(position, after=after, left=left, size=size)
    return QueryPage(items, encode_position(following, tx.tenant), charge, warnings)


def _refusal(error: psycopg.Error, position: Position, timeout_s: float) -> Exception:
    """Return what a failed statement means to who asked."""
    if isinstance(error, errors.QueryCanceled):
        return InvalidError(
            "TimeoutError",
            f"The query took longer than {timeout_s:g} s.",
            "Narrow it: ask for a $dtId or a model, or count instead.",
        )
    if error.sqlstate == TOO_MANY:
        return InvalidError(
            "LimitExceeded",
            f"The query goes over more than {ROWS_MAX} rows that are ordered or grouped, or a way of several hops "
            f"over more than {STEPS_MAX} twins.",
            "Narrow it: ask for a $dtId or a model, or for fewer hops.",
        )
    if isinstance(error, errors.DataError) and position.after is not None:
        return not_ours()
    return error


def _position(ask: Ask, tenant: int) -> Position:
    if ask.token is not None:
        position = decode_position(ask.token, tenant)
        _check_own(ask, position)
        return position
    if ask.text is None:
        raise InvalidError(
            "BadRequest", "There is neither a query nor a continuation token.", "Send one of them."
        )
    return Position(ask.text, moment=ask.moment)


def _check_own(ask: Ask, position: Position) -> None:
    """Refuse a text or a moment that is not the token's: one of the two would be passed over in silence."""
    other = None
    if ask.text not in (None, position.text):
        other = "query"
    elif ask.moment not in (NOW, position.moment):
        other = "moment (asOf, knownAt)"
    if other is not None:
        raise InvalidError(
            "BadRequest",
            f"The continuation token is of another {other} than what was sent with it.",
            "Send the token alone or with what gave it; for something else, leave the token out.",
        )


async def _page(
    run: _Run, query: Query, position: Position
) -> tuple[list[Document], Key | None, tuple[str, ...]]:
    """Return the rows, the key after which there are more or None, and the warnings."""
    catalog = await _prepared(run, query)
    await _stage(run, query, position, catalog)
    wanted = run.wanted(position)
    tables = tables_at(run.tx, run.moment, catalog.path_nos)
    compiled = compile_query(query, catalog, Window(position.after, wanted + 1, position.now_us), tables)
    layout, statement = compiled.layout, compiled.statement
    if layout.is_twins:
        rows, documents = await tables.named_documents(run.tx, run.context, statement)
        items = [documents[row[0]] for row in rows[:wanted] if row[0] is not None]
    else:
        rows = await run.tx.rows(*statement[:2], keeps_plan=statement.keeps_plan)
        items = await answer_rows(run.tx, run.context, tables, layout, rows[:wanted])
    kept = rows[:wanted]
    if layout.key is None or len(rows) <= wanted or not kept:
        return items, None, compiled.warnings
    return items, tuple(kept[-1][place] for place in layout.key), compiled.warnings


async def _stage(run: _Run, query: Query, position: Position, catalog: Catalog) -> None:
    """Have what is frozen of what the query may ask for, of every twin; the twins that it gives have theirs staged."""
    if run.tx.frozen_us is None:
        return
    named = frozenset((*catalog.path_nos.values(), *catalog.telemetry_nos.values(), *catalog.name_nos))
    if run.moment != NOW:
        await stage_last(run.tx, EveryTwin(None if wants_all(query) else named), *run.moment)
    span_us = longest_window(query)
    if span_us:
        between_us = (position.now_us - span_us, position.now_us)
        await stage_between(run.tx, EveryTwin(named), between_us, run.moment.known_at_us)


async def _explained(
    run: _Run, query: Query, position: Position
) -> tuple[list[Document], Key | None, tuple[str, ...]]:
    """Return what the query becomes, and the warnings."""
    catalog = await _prepared(run, query)
    window = Window(None, run.wanted(position) + 1, position.now_us)
    compiled = compile_query(query, catalog, window, tables_at(run.tx, run.moment, catalog.path_nos))
    return (
        [await explained(run.tx, steps_of(position.text, catalog), compiled)],
        None,
        compiled.warnings,
    )


async def _prepared(run: _Run, query: Query) -> Catalog:
    """Return what the tenant has of what the query names."""
    tx = run.tx
    check_kept(tx, run.moment)
    models = wanted_models(query)
    wanted = [(path, role) for path in sorted(wanted_paths(query)) for role in roles_of(query)]
    numbers = await run.context.paths.find(tx, wanted)
    path_nos = {path: number for (path, role), number in numbers.items() if role == "property"}
    # What is indexed is the present.
    promoted = frozenset(tx.promoted) if run.moment == NOW else frozenset()
    families: dict[str, frozenset[str]] = {}
    names = None
    if models or doubtful(query, path_nos):
        known = await run.context.library.models(tx)
        families = {each: known.descendants(each) for each in models}
        names = vocabulary(known)
    return Catalog(
        path_nos,
        families,
        names,
        promoted,
        {path: number for (path, role), number in numbers.items() if role == "telemetry"},
        await _name_nos(run) if wants_names(query) else (),
    )


async def _name_nos(run: _Run) -> tuple[int, ...]:
    return tuple(row[0] for row in await run.tx.rows(NAME_NOS, (list(NAMES),)))
