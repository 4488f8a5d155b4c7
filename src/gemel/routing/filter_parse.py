"""From the text of an event filter to its tree."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Annotated

import msgspec
from lark import Lark, Token, Transformer_NonRecursive, Tree, UnexpectedInput
from lark.exceptions import VisitError

from gemel.base.clock import to_us
from gemel.routing.filter_faults import filter_fault, unexpected_fault, unknown_name
from gemel.routing.filter_tree import (
    And,
    Attribute,
    Body,
    Compare,
    Condition,
    Constant,
    Field,
    HasText,
    Not,
    OneOf,
    Operator,
    Or,
    Scalar,
    TextPlace,
)

__all__ = ["TEXT_LENGTH_MAX", "parse_filter"]

TEXT_LENGTH_MAX = 4096
NESTING_MAX = 64
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
ESCAPE = re.compile(r"\\([\\'])")
WORDS: dict[str, bool | None] = {"TRUE": True, "FALSE": False, "NULL": None}

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def parse_filter(text: str) -> Condition:
    r"""Return the tree of a filter.

    In text, `\'` is a quote and `\\` a backslash. Raises InvalidError (EventRouteFilterInvalid) that names line,
    position, piece and what to write instead, also beyond TEXT_LENGTH_MAX characters and NESTING_MAX levels.
    """
    if len(text) > TEXT_LENGTH_MAX:
        problem = f"longer than {TEXT_LENGTH_MAX} characters"
        raise filter_fault(text, TEXT_LENGTH_MAX, problem, "Shorten it, or use two routes.")
    unstorable = UNSTORABLE.search(text)
    if unstorable:
        problem = f"the character U+{ord(unstorable[0]):04X}"
        raise filter_fault(text, unstorable.start(), problem, "No event has it: leave it out.")
    if not text.strip():
        raise filter_fault(text, 0, "there is nothing", "For every event, write true.")
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        raise unexpected_fault(text, error) from error
    _limit(text, tree)
    try:
        found: Condition = _Build(text).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    return found


@lru_cache(maxsize=1)
def _grammar() -> Lark:
    grammar = (resources.files("gemel.routing") / "filter.lark").read_text("utf-8")
    return Lark(grammar, start="filter", parser="lalr", lexer="contextual", propagate_positions=True)


def _limit(text: str, tree: Tree[Token]) -> None:
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > NESTING_MAX:
            problem = f"nested over {NESTING_MAX} deep"
            raise filter_fault(text, node.meta.start_pos, problem, "Use IN for many values.")
        waiting += [(child, depth + 1) for child in node.children if isinstance(child, Tree)]


class _Build(Transformer_NonRecursive[Token, Condition]):
    """Makes our nodes of the grammar's, from the leaves up; one method for each of its rules."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def any_of(self, parts: Sequence[Condition]) -> Condition:
        return Or(tuple(parts))

    def all_of(self, parts: Sequence[Condition]) -> Condition:
        return And(tuple(parts))

    def opposite(self, parts: Sequence[Condition]) -> Condition:
        return Not(parts[0])

    def always(self, parts: Sequence[Token]) -> Condition:
        return Constant(value=True)

    def never(self, parts: Sequence[Token]) -> Condition:
        return Constant(value=False)

    def attribute(self, parts: Sequence[Token]) -> Field:
        token = parts[0]
        try:
            return Attribute(token.lower())
        except ValueError:
            raise unknown_name(self._text, token.start_pos or 0, str(token)) from None

    def body(self, parts: Sequence[Token]) -> Field:
        names = [str(token[2:-2]) if token.type == "ESCAPED_NAME" else str(token) for token in parts[1:]]
        return Body(tuple(names))

    def value(self, parts: Sequence[Token]) -> Token:
        return parts[0]

    def compare(self, parts: tuple[Field, Token, Token]) -> Condition:
        field, sign, token = parts
        operator = Operator("!=" if sign == "<>" else sign)
        value = self._value(field, token)
        if (value is None or isinstance(value, bool)) and operator not in (Operator.EQ, Operator.NE):
            raise filter_fault(self._text, token.start_pos or 0, f"{token} has no order", "Use = or !=.")
        return Compare(field, operator, value)

    def one_of(self, parts: Sequence[object]) -> Condition:
        field, word, *tokens = parts
        values = tuple(self._value(field, token) for token in tokens)  # type: ignore[arg-type]
        return OneOf(field, values, negated=str(word).upper() == "NIN")  # type: ignore[arg-type]

    def has_text(self, parts: tuple[Token, Field, Token]) -> Condition:
        name, field, token = parts
        return HasText(field, TextPlace(name.upper()), ESCAPE.sub(r"\1", token[1:-1]))

    def _value(self, field: Field, token: Token) -> Scalar:
        start = token.start_pos or 0
        if token.type in WORDS:
            return WORDS[token.type]
        if token.type != "STRING":
            number = float(token)
            if not math.isfinite(number):
                raise filter_fault(self._text, start, "the number is too great", "Stay below 1.8e308.")
            return int(token) if token.type == "WHOLE" else number
        text = ESCAPE.sub(r"\1", token[1:-1])
        if field is not Attribute.TIME:
            return text
        try:
            return to_us(msgspec.convert(text, _Moment))
        except (msgspec.ValidationError, OverflowError):
            hint = "As in time >= '2026-01-31T12:00:00Z'."
            raise filter_fault(self._text, start, "no RFC 3339 time with a zone", hint) from None
