"""Printing a part of a long list, and saying that there is more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from gemel.cli import output

__all__ = ["Limit", "print_rows", "rows_of"]

Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to show at most.")]


def print_rows(
    found: Iterable[dict[str, Any]],
    limit: int,
    as_json: bool,
    table: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Print the first `limit` items, as a JSON array or with `table`; a note says where more were found."""
    rows = list(islice(found, limit + 1))
    if as_json:
        output.print_json(rows[:limit])
    else:
        table(rows[:limit])
    if len(rows) > limit:
        output.note(f"There are more; --limit was {limit:,}.")


def rows_of(pages: Iterable[tuple[list[dict[str, Any]], str]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query's pages; what the server warns of is said once."""
    said = ""
    for rows, warnings in pages:
        if warnings and warnings != said:
            said = warnings
            output.note(f"warning {warnings}")
        yield from rows
