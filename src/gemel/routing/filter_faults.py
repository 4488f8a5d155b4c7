"""How a filter is refused: where in the text, what is wrong, and what to write instead."""

from __future__ import annotations

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from gemel.base.errors import InvalidError
from gemel.base.words import nearest
from gemel.routing.filter_tree import Attribute, TextPlace

__all__ = ["filter_fault", "unexpected_fault", "unknown_name"]

PIECE_MAX = 40
WRITTEN = {
    "$END": "the end",
    "NAME": "an attribute",
    "BODY": "$body",
    "STRING": "'text'",
    "WHOLE": "a number",
    "OPERATOR": "a comparison (=, !=, <, <=, >, >=)",
    "MEMBERSHIP": "IN",
    "TEXT_TEST": "a function (STARTS_WITH, ENDS_WITH, CONTAINS)",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": ",",
    "DOT": ".",
}
UNSAID = frozenset({"SYSTEM_NAME", "ESCAPED_NAME", "NUMBER", "DOT"})


def filter_fault(text: str, start: int, problem: str, suggestion: str) -> InvalidError:
    """Return the error (EventRouteFilterInvalid) for a place in a filter: line from 1, position in it from 0."""
    line = text.count("\n", 0, start) + 1
    position = start - (text.rfind("\n", 0, start) + 1)
    rest = text[start:].split("\n", 1)[0].rstrip()
    piece = rest if len(rest) <= PIECE_MAX else rest[: PIECE_MAX - 1] + "…"
    at = f" at '{piece}'" if piece else ""
    message = (
        f"The filter is not valid: Line={line}, Position={position}, Message={problem}{at}. {suggestion}"
    )
    return InvalidError("EventRouteFilterInvalid", message)


def unknown_name(text: str, start: int, word: str) -> InvalidError:
    """Return the error for a name that is no attribute of an event."""
    known = nearest(word, [*Attribute, *TextPlace])
    hint = (
        f"Did you mean {known}?"
        if known
        else f"Attributes are {', '.join(Attribute)}; a member of the body is $body.{word}."
    )
    return filter_fault(text, start, f"an event has no attribute '{word}'", hint)


def unexpected_fault(text: str, error: UnexpectedInput) -> InvalidError:
    """Return the error for the place where lark stopped: what stands there, and what could."""
    expected = sorted(error.accepts or error.expected) if isinstance(error, UnexpectedToken) else []
    start, word = len(text.rstrip()), ""
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        start, word = error.token.start_pos or 0, str(error.token)
    elif isinstance(error, UnexpectedCharacters):
        start = error.pos_in_stream or 0
        word = text[start]
    said = [WRITTEN.get(name, name) for name in expected if name not in UNSAID]
    problem = f"unexpected {word if len(word) < 2 else repr(word)}" if word else "the filter ends too early"
    if len(said) == 1:
        problem = f"missing {said[0]}"
    return filter_fault(text, start, problem, _suggest(text, start, word, said))


def _suggest(text: str, start: int, word: str, said: list[str]) -> str:
    called = text[:start].rsplit(maxsplit=1)[-1] if text[:start].strip() else ""
    known = None
    if word == '"':
        advice = "Write text in single quotes: 'text'."
    elif word == "'":
        advice = "Close the text with a single quote; inside it, write \\' for one."
    elif word == "=" and text[start - 1 : start] == "=":
        advice = "Compare with a single =."
    elif word == "[" and "$body" in called.lower():
        advice = "Members of an array cannot be asked for; nor can they in Azure Digital Twins."
    elif word == "(" and (known := nearest(called, [*TextPlace])):
        advice = f"There is no function {called}; did you mean {known}?"
    elif not said:
        advice = "Nothing in this language starts so."
    else:
        keywords = [name for name in said if name.isupper()]
        meant = nearest(word, keywords) if word.isidentifier() else None
        advice = f"Did you mean {meant}?" if meant else f"Expected {_listed(said)}."
    return advice


def _listed(said: list[str]) -> str:
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}"
