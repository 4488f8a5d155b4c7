"""How a query is refused: where in the text, what is wrong, and what to write instead."""

from __future__ import annotations

from gemel.base.errors import InvalidError
from gemel.query.tree import Span

__all__ = ["query_fault"]

PIECE_MAX = 40


def query_fault(text: str, span: Span, problem: str, suggestion: str) -> InvalidError:
    """Return the error (SqlQueryError) for a place in a query.

    Its first words, with the line from 1 and the position in it from 0, are those of Azure Digital Twins; the
    piece of text that starts at the place and what to do about it follow.
    """
    line = text.count("\n", 0, span.start) + 1
    position = span.start - (text.rfind("\n", 0, span.start) + 1)
    return InvalidError(
        "SqlQueryError",
        f"SQL query parse failed: SQL Parser Error, Line={line}, Position={position}, "
        f"Message={problem}{_at(text, span)}. {suggestion}",
    )


def _at(text: str, span: Span) -> str:
    rest = text[span.start :].split("\n", 1)[0].rstrip()
    if not rest:
        return ""
    return f" at '{rest if len(rest) <= PIECE_MAX else rest[: PIECE_MAX - 1] + '…'}'"
