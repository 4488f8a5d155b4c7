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
    "ON": "RELATED and a relationship, as in JOIN b RELATED a.feeds",
}
"""Words that other languages have, and what this one has."""
ABSENT = {
    "HAVING": "There is no HAVING: test what is to be grouped, with WHERE before GROUP BY.",
    "BETWEEN": "There is no BETWEEN; write T.name >= 1 AND T.name <= 9.",
    "IS": "There is no IS; write IS_NULL(T.name), NOT IS_DEFINED(T.name), or T.name = true.",
    "UNION": "There is no UNION; ask twice, or join conditions with OR.",
}
"""Words that other languages have, and what to do without."""
SLIPS = {
    '"': "Write text in single quotes: 'text'.",
    "'": "Close the text with a single quote; inside it, write \\' for one.",
    ";": "Leave the ; out: a query ends where its text does.",
    "&": "Write AND.",
    "+": "There is no arithmetic here; compare the property itself.",
    "!": "Write != without a space, or NOT before a condition.",
} | dict.fromkeys("\u2018\u2019\u201a\u201c\u201d\u201e", "Write text in straight single quotes: 'text'.")
AROUND = tuple(
    (re.compile(rf"{before}\Z", re.I | re.S), re.compile(rest, re.I), told)
    for before, rest, told in (
        (r"'", "'", "Inside text, write \\' for a single quote, not two."),
        (r"=", "=", "Compare with a single =."),
        (r"\bCOUNT\s*\(\s*", r"\*", "Write COUNT()."),
        (r"\w\.", r"\*", "Write the alias alone for all of a twin."),
        (r"\bTOP\s*", r"[^(]", "Write the number in parentheses: TOP(10)."),
        (r"\bN?IN\s*", r"\(", "Write the values in brackets: IN ['a', 'b']."),
        (r"", r"not\s+in\b", "Write NIN ['a', 'b']."),
        (r"", r"\(\s*select\b", "There are no queries within queries; ask for one after the other."),
        (r"[\w\]]\s*", r"\[", "Write T.name.[[member]]; for an item of a list, ARRAY_CONTAINS(T.name, 1)."),
        (r"\(\w*", ":", "Ask for a model with IS_OF_MODEL(alias, 'dtmi:…')."),
        (r"\]-", ">", "An arrow has one point; -[]- leads both ways."),
        (r"\bMATCH\b.*\s", r"match\b", "There is one MATCH; go on with (a)-[]->(b)-[]->(c), or with JOIN."),
        (r"\brelationships\s+match\s*", r"\(", "A MATCH is of twins: FROM digitaltwins MATCH (a)-[r]->(b)."),
    )
)
"""What stands before a place, what follows there, and what to do about it."""
USAGES = {
    "IS_OF_MODEL": "IS_OF_MODEL(T, 'dtmi:…;1'), or with a third word IS_OF_MODEL(T, 'dtmi:…;1', exact)",
    "ARRAY_CONTAINS": "ARRAY_CONTAINS(T.name, 'value')",
    "SEARCH": "SEARCH(T, 'words')",
    "LAST": "LAST(T.name, '1h', 'avg')",
} | {name: f"{name}(T.name, 'text')" for name in ("STARTSWITH", "ENDSWITH", "CONTAINS")}
"""How a function of several arguments is written."""
CALL = re.compile(r"(\w+)\s*\([^()]*\Z")
"""A function, up to where its arguments went wrong."""
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
        return f"Nothing in this language starts with {word}."
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
    call = CALL.search(text, 0, start)
    usage = USAGES.get(call[1].upper()) if call else None
    if usage:
        return f"Write {usage}."
    return f"Did you mean {meant}?" if meant else f"Expected {_listed(said)}."


def _slip(text: str, start: int, word: str, called: str) -> str | None:
    """Return what to do about a slip that is known, or None."""
    for before, rest, told in AROUND:
        if rest.match(text, start) and before.search(text, 0, start):
            return told
    for absent in (word.upper(), called.upper()):
        if absent in ABSENT:
            return ABSENT[absent]
    if word.upper() == "MATCH" and text[:start].upper().split()[-2:-1] != ["SELECT"]:
        return "Leave out the alias: FROM digitaltwins MATCH (a)-[r]->(b)."
    for refused in (word.upper(), called.upper()):
        if refused in REFUSED:
            return f"There is no {refused} here; write {REFUSED[refused]}."
    return SLIPS.get(word)


def _misfit(text: str, start: int, word: str, expected: list[str]) -> str | None:
    """Return what to do about a test that other languages write so, or None."""
    before, rest = text[:start].rstrip(), text[start:]
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
