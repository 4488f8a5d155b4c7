"""From the grammar's nodes to ours, from the leaves up."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeVar

from lark import Token, Transformer_NonRecursive, Tree, v_args
from lark.exceptions import VisitError
from lark.tree import Meta

from gemel.base.durations import duration_us
from gemel.query.clauses import (
    Aggregate,
    Collection,
    Direction,
    Everything,
    Function,
    Item,
    Items,
    Query,
    Selection,
    Sort,
)
from gemel.query.faults import query_fault
from gemel.query.sources import Edge, From, Joined, Name, build_sources
from gemel.query.tree import (
    And,
    Check,
    Compare,
    Condition,
    HasItem,
    HasText,
    HasType,
    HasWords,
    Literal,
    Not,
    OfModel,
    OneOf,
    Operator,
    Or,
    Path,
    Recent,
    Scalar,
    Span,
    Test,
    TextPlace,
    TypeName,
)
from gemel.query.unexpected import RESERVED

__all__ = ["ITEMS_MAX", "NAMES_MAX", "SORTS_MAX", "build", "span_of"]

NAMES_MAX = 32
WORDS_MAX = 16
WINDOW_FUNCTIONS = ("avg", "min", "max", "sum", "count", "first", "last")
ITEMS_MAX = 100
SORTS_MAX = 16

ESCAPE = re.compile(r"\\([\\'])")
CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}
T = TypeVar("T")

NOTHING = Name(None, Span(0, 0))


def span_of(place: Meta | Token) -> Span:
    """Return where in the text a node of the grammar stands."""
    start, end = place.start_pos, place.end_pos
    return Span(start or 0, end if end is not None else start or 0)


def build(text: str, tree: Tree[Token]) -> Query:
    """Return the query that the grammar's tree of a text is. Raises InvalidError (SqlQueryError)."""
    try:
        query: Query = _Build(text).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    return query


@v_args(meta=True)
class _Build(Transformer_NonRecursive[Token, Query]):
    """Makes our nodes of the grammar's, from the leaves up; one method for each of its rules."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def query(self, meta: Meta, parts: Sequence[object]) -> Query:
        explain, distinct, top, selection, source, where, group, order, offset = parts
        if selection is None and top is None:
            raise query_fault(
                self._text, span_of(meta), "nothing is selected", "Write SELECT * or name what you want."
            )
        assert isinstance(source, From)
        whence = build_sources(self._text, source)
        return Query(
            self._text,
            selection or Everything(),  # type: ignore[arg-type]
            whence.sources,
            whence.links,
            whence.default,
            where,  # type: ignore[arg-type]
            top,  # type: ignore[arg-type]
            distinct is not None,
            group or (),  # type: ignore[arg-type]
            order or (),  # type: ignore[arg-type]
            offset or 0,  # type: ignore[arg-type]
            explain is not None,
        )

    def top(self, meta: Meta, parts: Sequence[Token]) -> int:
        return self._whole(parts[0])

    def everything(self, meta: Meta, parts: Sequence[object]) -> Selection:
        return Everything()

    def items(self, meta: Meta, parts: Sequence[Item]) -> Selection:
        return Items(self._few(meta, parts, ITEMS_MAX))

    def item(self, meta: Meta, parts: tuple[Path | Recent | Aggregate, str | None]) -> Item:
        term, name = parts
        written = term.names[-1] if isinstance(term, Path) else "LAST"
        written = str(term.function) if isinstance(term, Aggregate) else written
        return Item(term, name or written, given=name is not None, span=span_of(meta))

    def aggregate(self, meta: Meta, parts: Sequence[object]) -> Aggregate:
        function = Function(str(parts[0]).upper())
        operand = parts[1] if len(parts) > 1 else None
        if operand is None and function is not Function.COUNT:
            suggestion = f"Name a property, as {function}(T.name)."
            raise query_fault(self._text, span_of(meta), f"{function} of nothing", suggestion)
        return Aggregate(function, operand)  # type: ignore[arg-type]

    def recent(self, meta: Meta, parts: tuple[Token, Path, Literal, Literal]) -> Recent:
        _, path, span, function = parts
        span_us = duration_us(str(span.value))
        if span_us is None:
            raise query_fault(
                self._text, span.span, "not a duration", "Write it as '30s', '10m', '1h' or '7d'."
            )
        name = str(function.value).lower()
        if name not in WINDOW_FUNCTIONS:
            known = ", ".join(WINDOW_FUNCTIONS)
            raise query_fault(self._text, function.span, "not a function of samples", f"There are {known}.")
        return Recent(path, span_us, name)

    def where(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return parts[0]

    def group(self, meta: Meta, parts: Sequence[Path | Recent]) -> tuple[Path | Recent, ...]:
        return self._few(meta, parts, ITEMS_MAX)

    def order(self, meta: Meta, parts: Sequence[Sort]) -> tuple[Sort, ...]:
        return self._few(meta, parts, SORTS_MAX)

    def sort(self, meta: Meta, parts: tuple[Path | Recent | Aggregate, Token | None]) -> Sort:
        term, direction = parts
        return Sort(term, direction is not None and direction.upper() == "DESC", span_of(meta))

    def offset(self, meta: Meta, parts: Sequence[Token]) -> int:
        return self._whole(parts[0])

    def collection(self, meta: Meta, parts: Sequence[Token]) -> Collection:
        return Collection(parts[0].lower())

    def related(self, meta: Meta, parts: Sequence[object]) -> From:
        collection, alias, *joins = parts
        return From(collection, (alias or NOTHING,), (), tuple(joins))  # type: ignore[arg-type]

    def matched(self, meta: Meta, parts: Sequence[object]) -> From:
        shortest = isinstance(parts[1], Token)
        nodes = tuple(part for part in parts if isinstance(part, Name))
        edges = tuple(part for part in parts if isinstance(part, Edge))
        joins = tuple(part for part in parts if isinstance(part, Joined))
        return From(Collection.TWINS, nodes, edges, joins, shortest)

    def join(self, meta: Meta, parts: Sequence[object]) -> Joined:
        optional, target, source, relation, variable = parts
        return Joined(
            self._name(target),
            self._name(source),
            relation,  # type: ignore[arg-type]
            variable or NOTHING,  # type: ignore[arg-type]
            optional is not None,
            span_of(meta),
        )

    def node(self, meta: Meta, parts: Sequence[Token | None]) -> Name:
        return self._name(parts[0])

    def outgoing(self, meta: Meta, parts: Sequence[object]) -> Edge:
        return self._edge(parts, Direction.OUT)

    def incoming(self, meta: Meta, parts: Sequence[object]) -> Edge:
        return self._edge(parts, Direction.IN)

    def undirected(self, meta: Meta, parts: Sequence[object]) -> Edge:
        return self._edge(parts, Direction.BOTH)

    def relations(self, meta: Meta, parts: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parts))

    def relation(self, meta: Meta, parts: Sequence[Token]) -> str:
        return self.name(meta, parts)

    def alias(self, meta: Meta, parts: Sequence[Token]) -> Name:
        return self._name(parts[0])

    def any_of(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return Or(tuple(parts))

    def all_of(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return And(tuple(parts))

    def opposite(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return Not(parts[0])

    def compare(self, meta: Meta, parts: tuple[Path | Recent, Token, Literal]) -> Test:
        path, token, literal = parts
        operator = Operator("<>" if token == "!=" else token)
        if literal.value is None and operator not in (Operator.EQ, Operator.NE):
            raise query_fault(self._text, literal.span, "null has no order", "Use IS_NULL or IS_DEFINED.")
        return self._test(meta, path, Compare(operator, literal))

    def one_of(self, meta: Meta, parts: Sequence[object]) -> Test:
        path, token, *literals = parts
        check = OneOf(tuple(literals), str(token).upper() == "NIN")  # type: ignore[arg-type]
        return self._test(meta, path, check)  # type: ignore[arg-type]

    def has_type(self, meta: Meta, parts: tuple[Token, Path | Recent]) -> Test:
        return self._test(meta, parts[1], HasType(TypeName(parts[0].upper())))

    def has_text(self, meta: Meta, parts: tuple[Token, Path | Recent, Literal]) -> Test:
        return self._test(meta, parts[1], HasText(TextPlace(parts[0].upper()), parts[2]))

    def has_words(self, meta: Meta, parts: tuple[Token, Path | None, Literal]) -> Test:
        _, path, text = parts
        words = tuple(dict.fromkeys(str(text.value).split()))
        if not words or len(words) > WORDS_MAX:
            problem = f"a search is for 1 to {WORDS_MAX} words"
            raise query_fault(self._text, text.span, problem, "Write SEARCH(T, 'pump north').")
        return self._test(meta, path or Path((), span_of(meta)), HasWords(words))

    def has_item(self, meta: Meta, parts: tuple[Path | Recent, Literal]) -> Test:
        return self._test(meta, parts[0], HasItem(parts[1]))

    def of_model(self, meta: Meta, parts: tuple[Path | None, Literal, Token | None]) -> Test:
        path, model, exact = parts
        return self._test(meta, path or Path((), span_of(meta)), OfModel(model, exact is not None))

    def path(self, meta: Meta, parts: Sequence[str]) -> Path:
        if len(parts) > NAMES_MAX:
            problem = f"a path of more than {NAMES_MAX} names"
            raise query_fault(self._text, span_of(meta), problem, "No model nests so deep: shorten it.")
        first = meta.start_pos
        if not self._text.startswith("[[", first):
            self._free(Token("NAME", parts[0], start_pos=first, end_pos=first + len(parts[0])))
        return Path(tuple(parts), span_of(meta))

    def name(self, meta: Meta, parts: Sequence[Token]) -> str:
        token = parts[0]
        return str(token[2:-2]) if token.type == "ESCAPED_NAME" else str(token)

    def literal(self, meta: Meta, parts: Sequence[Token]) -> Literal:
        return Literal(self._value(parts[0]), span_of(meta))

    def string(self, meta: Meta, parts: Sequence[Token]) -> Literal:
        return self.literal(meta, parts)

    def _few(self, meta: Meta, parts: Sequence[T], most: int) -> tuple[T, ...]:
        if len(parts) > most:
            raise query_fault(self._text, span_of(meta), f"more than {most} in one list", "Shorten the list.")
        return tuple(parts)

    def _edge(self, parts: Sequence[object], direction: Direction) -> Edge:
        variable, names, hops = parts
        written = Name(str(hops), span_of(hops)) if isinstance(hops, Token) else NOTHING
        return Edge(direction, self._name(variable), names or (), written)  # type: ignore[arg-type]

    def _name(self, token: object) -> Name:
        return Name(self._free(token), span_of(token)) if isinstance(token, Token) else NOTHING

    def _test(self, meta: Meta, path: Path | Recent, check: Check) -> Test:
        return Test(path, check, span_of(meta))

    def _value(self, token: Token) -> Scalar:
        if token.type in CONSTANTS:
            return CONSTANTS[token.type]
        if token.type == "STRING":
            return ESCAPE.sub(r"\1", token[1:-1])
        number = float(token)
        if not math.isfinite(number):
            raise query_fault(self._text, span_of(token), "the number is too great", "Stay below 1.8e308.")
        return int(token) if token.type == "WHOLE" else number

    def _whole(self, token: Token) -> int:
        value = int(token)
        if not 0 <= value < 1 << 31:
            raise query_fault(self._text, span_of(token), "not a number of rows", "Use 0 to 2147483647.")
        return value

    def _free(self, token: Token) -> str:
        if token.upper() in RESERVED:
            raise query_fault(
                self._text,
                span_of(token),
                f"{token.upper()} is a reserved word",
                f"Where a property is meant, write [[{token}]].",
            )
        return str(token)
