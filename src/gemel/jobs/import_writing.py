"""What the lines of each section are, and how a batch of them is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gemel.base.errors import ConflictError, Detail, GemelError, InvalidError
from gemel.graph.bulk import foresee_twins, put_twins, read_twin_puts
from gemel.graph.bulk_relationships import (
    RelationshipItem,
    foresee_relationships,
    put_foreseen,
    put_relationships,
)
from gemel.graph.library import add_models, get_model
from gemel.graph.plain_relationships import PlainRelationships, foresee_plain
from gemel.graph.twin_rows import new_numbers
from gemel.jobs.lines import MODELS, RELATIONSHIPS, TWINS, Row
from gemel.jobs.work import Work
from gemel.models import ModelError, ModelParsingError
from gemel.store.database import WriteTransaction

__all__ = ["Write", "Written", "key_of", "name_of", "prepare_plain", "prepare_write"]

DETAILS_MAX = 20

Written = tuple[Mapping[str, int], Mapping[int, GemelError]]
"""How many of what were written, and why lines (by number) were not."""
Write = Callable[[WriteTransaction], Awaitable[Written]]


def key_of(section: str, value: Any) -> object:
    """Return what a line of a section names, or None where it names nothing."""
    if not isinstance(value, dict):
        return None
    if section == TWINS:
        return _text(value.get("$dtId"))
    key = (_text(_source_of(value)), _text(value.get("$relationshipId")))
    return None if None in key else key


def name_of(value: Any) -> str | None:
    """Return how the log names what a line is about, or None."""
    if not isinstance(value, dict):
        return None
    # A relationship's id is one of its source's alone.
    names = [value.get(name) for name in ("@id", "$dtId", "$sourceId", "$relationshipId")]
    return "/".join(name[:200] for name in names if isinstance(name, str)) or None


async def prepare_write(work: Work, section: str, rows: Sequence[Row]) -> Write:
    """Do what can be done of writing rows before the lock is taken; return the rest."""
    if section == TWINS and rows:
        return await _twins(work, rows)
    if section == RELATIONSHIPS and rows:
        return await _relationships(work, rows)
    if section == MODELS and rows:
        return _models(work, rows)
    return _nothing


async def prepare_plain(
    work: Work, plain: PlainRelationships, rows: Callable[[], Sequence[Row]]
) -> Write | None:
    """Do what can be done of writing plain relationships before the lock is taken; return the rest, or None.

    `rows` are the same; they are looked at one by one where what was foreseen does not hold.
    """
    async with work.database.read(work.tenant) as read:
        foreseen = await foresee_plain(read, work.context, plain, work.ends)
    if foreseen is None:
        return None

    async def write(tx: WriteTransaction) -> Written:
        if await put_foreseen(tx, foreseen):
            return {"relationships": len(foreseen.errors)}, {}
        good, items, errors = await asyncio.to_thread(lambda: _items(rows()))
        return _written(
            "relationships", good, await put_relationships(tx, work.context, items, work.ends), errors
        )

    return write


async def _nothing(_: WriteTransaction) -> Written:
    return {}, {}


async def _twins(work: Work, rows: Sequence[Row]) -> Write:
    errors = {row.number: _lacks("twin", "$dtId") for row in rows if not _has(row.value, "$dtId")}
    good = [row for row in rows if row.number not in errors]
    twin_nos = await new_numbers(work.database, work.tenant, len(good))
    async with work.database.read(work.tenant) as read:
        items = [(row.value["$dtId"], row.value) for row in good]
        puts = await read_twin_puts(read, work.context, items, work.readers)
        puts = await foresee_twins(read, puts, twin_nos)
    await work.context.prepare(puts.times_us)

    async def write(tx: WriteTransaction) -> Written:
        return _written("twins", good, await put_twins(tx, work.context, puts, work.ends), errors)

    return write


async def _relationships(work: Work, rows: Sequence[Row]) -> Write:
    good, items, errors = await asyncio.to_thread(_items, rows)
    async with work.database.read(work.tenant) as read:
        foreseen = await foresee_relationships(read, work.context, items, work.ends)

    async def write(tx: WriteTransaction) -> Written:
        results = await put_relationships(tx, work.context, items, work.ends, foreseen)
        return _written("relationships", good, results, errors)

    return write


def _items(rows: Sequence[Row]) -> tuple[list[Row], list[RelationshipItem], dict[int, GemelError]]:
    """Return the rows that name a relationship, what they ask, and why others are refused."""
    errors: dict[int, GemelError] = {}
    good: list[Row] = []
    items: list[RelationshipItem] = []
    for row in rows:
        source = _source_of(row.value) if isinstance(row.value, dict) else None
        if not isinstance(source, str) or not _has(row.value, "$relationshipId"):
            errors[row.number] = _lacks("relationship", "$dtId (its source) and $relationshipId")
            continue
        good.append(row)
        items.append(RelationshipItem(source, row.value["$relationshipId"], row.value))
    return good, items, errors


def _models(work: Work, rows: Sequence[Row]) -> Write:
    async def write(tx: WriteTransaction) -> Written:
        known = (await work.context.library.models(tx)).ids
        errors: dict[int, GemelError] = {}
        fresh: list[Row] = []
        for row in rows:
            model_id = row.value.get("@id") if isinstance(row.value, dict) else None
            if not isinstance(model_id, str) or model_id not in known:
                fresh.append(row)
            elif (await get_model(tx, model_id))["model"] != row.value:
                message = f"A model of the id {model_id} is there, and it is another."
                errors[row.number] = ConflictError("ModelIdAlreadyExists", message)
        if fresh:
            await _add(tx, work, fresh)
        unchanged = len(rows) - len(fresh) - len(errors)
        counts = {"models": len(fresh), "modelsUnchanged": unchanged}
        return {name: number for name, number in counts.items() if number}, errors

    return write


async def _add(tx: WriteTransaction, work: Work, rows: Sequence[Row]) -> None:
    try:
        await add_models(tx, work.context.library, [row.value for row in rows], work.job.actor)
    except ModelParsingError as error:
        details = tuple(Detail(each.code, _located(each, rows)) for each in error.errors)
        first = details[0].message
        message = f"The models do not follow DTDL, and none was taken. First: {first}"
        raise InvalidError("DTDLParserError", message, details=details[:DETAILS_MAX]) from error


def _located(error: ModelError, rows: Sequence[Row]) -> str:
    if error.document is None or error.document >= len(rows):
        return error.message
    return f"line {rows[error.document].number}: {error.message}"


def _written(
    name: str, rows: Sequence[Row], results: Sequence[GemelError | None], errors: Mapping[int, GemelError]
) -> Written:
    taken = results.count(None)
    found = {row.number: error for row, error in zip(rows, results, strict=True) if error is not None}
    return ({name: taken} if taken else {}), {**errors, **found}


def _source_of(value: Mapping[str, Any]) -> Any:
    return value.get("$dtId", value.get("$sourceId"))


def _has(value: Any, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), str)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _lacks(what: str, names: str) -> InvalidError:
    return InvalidError("InvalidArgument", f"A {what} must be an object with {names}.")
