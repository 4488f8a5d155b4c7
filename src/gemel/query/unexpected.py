"""What to say where the text of a query leaves the grammar."""

from __future__ import annotations

import re

from lark import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from gemel.base.errors import InvalidError
from gemel.base.words import nearest
from gemel.query.faults import query_fault
from gemel.query.sources import HOPS_MAX
from gemel.query.tree import Span

__all__ = ["RESERVED", "unexpected_fault"]

FUNCTIONS = [
    "ARRAY_CONTAINS", "CONTAINS", "ENDSWITH", "IS_BOOL", "IS_DEFINED", "IS_NULL", "IS_NUMBER", "IS_OBJECT",
    "IS_OF_MODEL", "IS_PRIMITIVE", "IS_STRING", "LAST", "SEARCH", "STARTSWITH",
]  # fmt: skip
RESERVED = (frozenset(FUNCTIONS) - {"LAST", "SEARCH"}) | frozenset(
    "ALL AND AS ASC AVG BY COUNT DESC DISTINCT FALSE FROM GROUP IN JOIN LIKE MATCH MAX MIN NIN NOT NULL OFFSET "
    "OR ORDER RELATED SELECT SUM TOP TRUE WHERE".split()
)
REFUSED = {
    "LIKE": "STARTSWITH, ENDSWITH or CONTAINS",
    "LIMIT": "TOP(n) after SELECT",
    "LEFT": "OPTIONAL JOIN",
    "OUTER": "OPTIONAL JOIN",
    "INNER": "JOIN",
}
"""Words that other languages have, and what this one has."""
ABSENT = {
    "HAVING": "There is no HAVING: test what is to be grouped, with WHERE before GROUP BY.",
    "BETWEEN": "There is no BETWEEN; write T.name >= 1 AND T.name <= 9.",
}
"""Words that other languages have, and what to do without."""
SLIPS = {
    '"': "Write text in single quotes: 'text'.",
    "'": "Close the text with a single quote; inside it, write \\' for one.",
    ";": "Leave the ; out: a query ends where its text does.",
} | dict.fromkeys("\u2018\u2019\u201a\u201c\u201d\u201e", "Write text in straight single quotes: 'text'.")
AFTER_TEST = frozenset({"AND", "OR", "GROUP", "ORDER", "OFFSET", ")"})
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
TURNED = re.compile(r"('[^']*'|[-+\d.eE]+|true\b|false\b)\s*(<=|>=|<>|!=|=|<|>)\s*([A-Za-z_$][\w.$]*)", re.I)
"""A comparison with its value first."""
WRITTEN = {
    "$END": "the end",
    "NAME": "a name",
    "STRING": "'text'",
    "WHOLE": "a number",
    "OPERATOR": "a comparison (=, !=, <, <=, >, >=)",
    "MEMBERSHIP": "IN",
    "DIRECTION": "ASC or DESC",
    "HOPS": "hops such as *..3",
    "VBAR": "|",
    "COLON": ":",
    "MINUS": "-",
    "__ANON_0": "->",
    "__ANON_1": "<-",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": ",",
    "STAR": "*",
    "DOT": ".",
}
UNSAID = frozenset(
    {"SYSTEM_NAME", "ESCAPED_NAME", "NUMBER", "TYPE_TEST", "TEXT_TEST", "DOT", "AGGREGATE", "EXPLAIN", "LAST"}
)
AGGREGATES = ["COUNT", "SUM", "AVG", "MIN", "MAX"]
WORDS = {
    "TYPE_TEST": FUNCTIONS,
    "AGGREGATE": AGGREGATES,
    "DIRECTION": ["ASC", "DESC"],
    "MEMBERSHIP": ["IN", "NIN"],
}
"""What a kind of word may be."""


def unexpected_fault(text: str, error: UnexpectedInput) -> InvalidError:
    """Return the error for the place where lark stopped: what stands there, and what could."""
    expected = _expected(error)
    start = error.pos_in_stream if error.pos_in_stream is not None else len(text)
    word = ""
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        word = str(error.token)
    elif isinstance(error, UnexpectedCharacters):
        word = text[start]
        if word.isalnum():
            return _foreign(text, start)
    else:
        start = len(text.rstrip())
    problem = f"unexpected {word if len(word) < 2 else repr(word)}" if word else "the query ends too early"
    said = [WRITTEN.get(name, name) for name in expected if name not in UNSAID or len(expected) == 1]
    if len(said) == 1:
        problem = f"missing {said[0]}"
    return query_fault(
        text, Span(start, start + len(word)), problem, _suggest(text, start, word, expected, said)
    )


def _foreign(text: str, at: int) -> InvalidError:
    """Return the error for a name with a letter that is not one of A to Z, which is at a place."""
    word = next(found for found in re.finditer(r"\w+", text) if found.end() > at)
    return query_fault(
        text,
        Span(*word.span()),
        f"a name with the letter {text[at]}",
        f"Where a property is meant, write [[{word[0]}]]; an alias has only A to Z, digits and _.",
    )


def _expected(error: UnexpectedInput) -> list[str]:
    if isinstance(error, UnexpectedToken):
        return sorted(error.accepts or error.expected)
    return sorted(error.expected) if isinstance(error, UnexpectedEOF) else []


def _suggest(text: str, start: int, word: str, expected: list[str], said: list[str]) -> str:
    called = text[:start].rsplit(maxsplit=1)[-1] if text[:start].strip() else ""
    slip = _misfit(text, start, word, expected) or _slip(text, start, word, called)
    if slip:
        return slip
    if not expected:
        return f"Nothing in this language starts with {word}"
    if word == "(":
        if called.upper() in AGGREGATES:
            return f"{called} stands in SELECT or ORDER BY."
        called = called.rpartition("(")[2]
        if called.upper() in FUNCTIONS:
            return f"{called.upper()} cannot stand here. Expected {_listed(said)}."
        if called.upper() in AGGREGATES:
            return f"{called.upper()} cannot stand in another function."
        known = nearest(called, FUNCTIONS + AGGREGATES)
        return (
            f"There is no function {called}; did you mean {known}?" if known else f"Expected {_listed(said)}."
        )
    keywords = [name for name in expected if name.isupper() and name not in WRITTEN and name not in UNSAID]
    keywords += [each for kind in WORDS.keys() & set(expected) for each in WORDS[kind]]
    meant = nearest(word, keywords) if word.isidentifier() else None
    return f"Did you mean {meant}?" if meant else f"Expected {_listed(said)}."


def _slip(text: str, start: int, word: str, called: str) -> str | None:
    """Return what to do about a slip that is known, or None."""
    if "'" == word[:1] == text[start - 1 : start]:
        return "Inside text, write \\' for a single quote, not two."
    if word.upper() in ABSENT:
        return ABSENT[word.upper()]
    if called.upper() in ABSENT:
        return ABSENT[called.upper()]
    if word == "=" and text[start - 1 : start] == "=":
        return "Compare with a single =."
    if word == "*" and called.upper().endswith("COUNT("):
        return "Write COUNT()."
    if word == ":" and "(" in called:
        return "Ask for a model with IS_OF_MODEL(alias, 'dtmi:…')."
    if word.upper() == "MATCH" and text[:start].upper().split()[-2:-1] != ["SELECT"]:
        return "Leave out the alias: FROM digitaltwins MATCH (a)-[r]->(b)."
    for refused in (word.upper(), called.upper()):
        if refused in REFUSED:
            return f"There is no {refused} here; write {REFUSED[refused]}."
    return SLIPS.get(word)


def _misfit(text: str, start: int, word: str, expected: list[str]) -> str | None:
    """Return what to do about a test, a list or a hop that other languages write so, or None."""
    before, rest = text[:start].rstrip(), text[start:]
    if word == "(" and before.upper().endswith(" IN"):
        return "Write the values in brackets: IN ['a', 'b']."
    if word.upper() == "NOT" and re.match(r"not\s+in\b", rest, re.I):
        return "Write NIN ['a', 'b']."
    turned = TURNED.match(rest)
    if turned and "TYPE_TEST" in expected:
        value, operator, path = turned.groups()
        return f"Put the property first: {path} {FLIPPED.get(operator, operator)} {value}."
    if word.isidentifier() and {"STRING", "WHOLE"} <= set(expected):
        return "A property is compared with a value, and not with another; text stands in single quotes."
    if "OPERATOR" in expected and (not word or word.upper() in AFTER_TEST):
        path = re.split(r"[\s(]", before)[-1]
        return f"A test needs a comparison; for a Boolean, write {path} = true."
    return _misdrawn(before, word, expected)


def _misdrawn(before: str, word: str, expected: list[str]) -> str | None:
    """Return what to do about a relationship of a MATCH that is not drawn as here, or None."""
    if word in ("*", ".") and re.search(r"\[[^\[\]]*$", before):
        return f"Say how many hops at most: *3 for three, *..5 for one to five; up to {HOPS_MAX}."
    if word in ("-", "->", "<-", ">") and {"LSQB", "MINUS"} & set(expected):
        return "Write -[]-> for any relationship, -[:name]-> for those of a name."
    return None


def _listed(said: list[str]) -> str:
    if not said:
        return "nothing more"
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}"
