"""From the text of a query to its tree, as written."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from lark import Lark, Token, Tree, UnexpectedInput

from gemel.query.build import build, span_of
from gemel.query.clauses import Query
from gemel.query.faults import query_fault
from gemel.query.tree import Span
from gemel.query.unexpected import unexpected_fault

__all__ = ["NESTING_MAX", "TESTS_MAX", "TEXT_LENGTH_MAX", "parse"]

TEXT_LENGTH_MAX = 16_384
NESTING_MAX = 64
TESTS_MAX = 200

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


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
    return build(text, tree)


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
            raise query_fault(
                text, span_of(node.meta), problem, "Split the query, or use IN for many values."
            )
        waiting += [(child, depth + 1) for child in node.children if isinstance(child, Tree)]


TESTS = frozenset({"compare", "one_of", "has_type", "has_text", "has_item", "has_words", "of_model"})
