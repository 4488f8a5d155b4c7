"""From the text of a query to its tree, as written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

from lark import Lark, Token, Transformer_NonRecursive, Tree, UnexpectedInput, v_args
from lark.exceptions import VisitError
from lark.tree import Meta

from gemel.query.faults import query_fault
from gemel.query.tree import (
    And,
    Check,
    Collection,
    Compare,
    Condition,
    Count,
    Everything,
    HasItem,
    HasText,
    HasType,
    Item,
    Items,
    Literal,
    Not,
    OfModel,
    OneOf,
    Operator,
    Or,
    Path,
    Query,
    Scalar,
    Selection,
    Span,
    Test,
    TextPlace,
    TypeName,
)
from gemel.query.unexpected import RESERVED, unexpected_fault

__all__ = ["NAMES_MAX", "NESTING_MAX", "TESTS_MAX", "TEXT_LENGTH_MAX", "parse"]

TEXT_LENGTH_MAX = 16_384
NESTING_MAX = 64
NAMES_MAX = 32
TESTS_MAX = 200

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
ESCAPE = re.compile(r"\\([\\'])")
WORDS = {"TRUE": True, "FALSE": False, "NULL": None}


def parse(text: str) -> Query:
    r"""Return the tree of a query as written.

    In text, `\'` is a quote and `\\` a backslash; any other backslash stands for itself. Raises InvalidError
    (SqlQueryError) that names line, position and piece, also beyond TEXT_LENGTH_MAX characters, NESTING_MAX
    levels, TESTS_MAX tests or NAMES_MAX names in a path.
    """
    if len(text) > TEXT_LENGTH_MAX:
        start = Span(TEXT_LENGTH_MAX, TEXT_LENGTH_MAX)
        raise query_fault(text, start, f"longer than {TEXT_LENGTH_MAX} characters", "Shorten the query.")
    unstorable = UNSTORABLE.search(text)
    if unstorable:
        problem = f"the character U+{ord(unstorable[0]):04X}"
        raise query_fault(text, Span(*unstorable.span()), problem, "No stored text has it: leave it out.")
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        raise unexpected_fault(text, error) from error
    _limit(text, tree)
    try:
        query: Query = _Build(text).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None
    return query


@lru_cache(maxsize=1)
def _grammar() -> Lark:
    grammar = (resources.files("gemel.query") / "grammar.lark").read_text("utf-8")
    return Lark(grammar, start="query", parser="lalr", lexer="contextual", propagate_positions=True)


def _limit(text: str, tree: Tree[Token]) -> None:
    tests, waiting = 0, [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        tests += node.data in TESTS
        if depth > NESTING_MAX or tests > TESTS_MAX:
            problem = (
                f"more than {TESTS_MAX} tests" if tests > TESTS_MAX else f"nested over {NESTING_MAX} deep"
            )
            raise query_fault(text, _span(node.meta), problem, "Split the query, or use IN for many values.")
        waiting += [(child, depth + 1) for child in node.children if isinstance(child, Tree)]


TESTS = frozenset({"compare", "one_of", "has_type", "has_text", "has_item", "of_model"})


def _span(place: Meta | Token) -> Span:
    start, end = place.start_pos, place.end_pos
    return Span(start or 0, end if end is not None else start or 0)


@v_args(meta=True)
class _Build(Transformer_NonRecursive[Token, Query]):
    """Makes our nodes of the grammar's, from the leaves up; one method for each of its rules."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def query(self, meta: Meta, parts: Sequence[object]) -> Query:
        top, selection, collection, alias, where = parts
        if selection is None and top is None:
            place = Span(meta.start_pos, meta.end_pos)
            raise query_fault(
                self._text, place, "nothing is selected", "Write SELECT * or name what you want."
            )
        return Query(self._text, selection or Everything(), collection, alias, where, top)  # type: ignore[arg-type]

    def top(self, meta: Meta, parts: Sequence[Token]) -> int:
        return self._whole(parts[0])

    def everything(self, meta: Meta, parts: Sequence[object]) -> Selection:
        return Everything()

    def count(self, meta: Meta, parts: Sequence[object]) -> Selection:
        return Count()

    def items(self, meta: Meta, parts: Sequence[Item]) -> Selection:
        return Items(tuple(parts))

    def item(self, meta: Meta, parts: tuple[Path, str | None]) -> Item:
        path, name = parts
        return Item(path, name or path.names[-1])

    def collection(self, meta: Meta, parts: Sequence[Token]) -> Collection:
        return Collection(parts[0].lower())

    def alias(self, meta: Meta, parts: Sequence[Token]) -> str:
        return self._free(parts[0])

    def any_of(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return Or(tuple(parts))

    def all_of(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return And(tuple(parts))

    def opposite(self, meta: Meta, parts: Sequence[Condition]) -> Condition:
        return Not(parts[0])

    def compare(self, meta: Meta, parts: tuple[Path, Token, Literal]) -> Test:
        path, token, literal = parts
        operator = Operator("<>" if token == "!=" else token)
        if literal.value is None and operator not in (Operator.EQ, Operator.NE):
            raise query_fault(self._text, literal.span, "null has no order", "Use IS_NULL or IS_DEFINED.")
        return self._test(meta, path, Compare(operator, literal))

    def one_of(self, meta: Meta, parts: Sequence[object]) -> Test:
        path, token, *literals = parts
        check = OneOf(tuple(literals), str(token).upper() == "NIN")  # type: ignore[arg-type]
        return self._test(meta, path, check)  # type: ignore[arg-type]

    def has_type(self, meta: Meta, parts: tuple[Token, Path]) -> Test:
        return self._test(meta, parts[1], HasType(TypeName(parts[0].upper())))

    def has_text(self, meta: Meta, parts: tuple[Token, Path, Literal]) -> Test:
        return self._test(meta, parts[1], HasText(TextPlace(parts[0].upper()), parts[2]))

    def has_item(self, meta: Meta, parts: tuple[Path, Literal]) -> Test:
        return self._test(meta, parts[0], HasItem(parts[1]))

    def of_model(self, meta: Meta, parts: tuple[Path | None, Literal, Token | None]) -> Test:
        path, model, exact = parts
        return self._test(meta, path or Path((), _span(meta)), OfModel(model, exact is not None))

    def path(self, meta: Meta, parts: Sequence[str]) -> Path:
        if len(parts) > NAMES_MAX:
            problem = f"a path of more than {NAMES_MAX} names"
            raise query_fault(self._text, _span(meta), problem, "No model nests so deep: shorten it.")
        first = meta.start_pos
        if not self._text.startswith("[[", first):
            self._free(Token("NAME", parts[0], start_pos=first, end_pos=first + len(parts[0])))
        return Path(tuple(parts), _span(meta))

    def name(self, meta: Meta, parts: Sequence[Token]) -> str:
        token = parts[0]
        return str(token[2:-2]) if token.type == "ESCAPED_NAME" else str(token)

    def literal(self, meta: Meta, parts: Sequence[Token]) -> Literal:
        return Literal(self._value(parts[0]), _span(meta))

    def string(self, meta: Meta, parts: Sequence[Token]) -> Literal:
        return self.literal(meta, parts)

    def _test(self, meta: Meta, path: Path, check: Check) -> Test:
        return Test(path, check, _span(meta))

    def _value(self, token: Token) -> Scalar:
        if token.type in WORDS:
            return WORDS[token.type]
        if token.type == "STRING":
            return ESCAPE.sub(r"\1", token[1:-1])
        number = float(token)
        if not math.isfinite(number):
            raise query_fault(self._text, _span(token), "the number is too great", "Stay below 1.8e308.")
        return int(token) if token.type == "WHOLE" else number

    def _whole(self, token: Token) -> int:
        value = int(token)
        if not 0 <= value < 1 << 31:
            raise query_fault(self._text, _span(token), "not a number of rows", "Use 0 to 2147483647.")
        return value

    def _free(self, token: Token) -> str:
        if token.upper() in RESERVED:
            raise query_fault(
                self._text,
                _span(token),
                f"{token.upper()} is a reserved word",
                f"Where a property is meant, write [[{token}]].",
            )
        return str(token)
