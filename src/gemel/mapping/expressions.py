"""Expressions of mappings in the Common Expression Language (CEL), kept to what ends soon.

CEL (https://cel.dev) has no loops and no side effects, so that an expression ends; its macros over lists are
refused, because one within another costs a power of the list's length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import cel

__all__ = ["EXPRESSION_LENGTH_MAX", "VARIABLES", "Expression"]

EXPRESSION_LENGTH_MAX: Final = 500
PROBLEM_LENGTH_MAX: Final = 160
VARIABLES: Final = (
    "value",
    "payload",
    "item",
    "index",
    "name",
    "topic",
    "headers",
    "key",
    "received",
    "sent",
)
FUNCTIONS: Final = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string", "bool"}
)
MACRO: Final = re.compile(r"\.\s*(map|filter|all|exists|existsOne|exists_one)\s*\(")
NAMED: Final = re.compile(r"[A-Za-z]\w*\Z")


class Expression:
    """A compiled expression; `variables` are those of VARIABLES that it reads."""

    def __init__(self, text: str) -> None:
        """Compile; raise ValueError, saying what is wrong, for a text that is no expression taken here."""
        if len(text) > EXPRESSION_LENGTH_MAX:
            raise ValueError(f"has more than {EXPRESSION_LENGTH_MAX} characters")
        if macro := MACRO.search(text):
            raise ValueError(f"uses the macro {macro[1]}, which is not taken here: use `each` for lists")
        program = _guarded(lambda: cel.compile(text), "is no CEL expression")
        references = program.references()
        self.text = text
        self.variables = frozenset(references["variables"])
        self._program = program
        if unknown := sorted(self.variables.difference(VARIABLES)):
            raise ValueError(f"reads {', '.join(unknown)}; known are {', '.join(VARIABLES)}")
        called = {name for name in references["functions"] if NAMED.match(name)}
        if unknown := sorted(called - FUNCTIONS):
            raise ValueError(f"calls {', '.join(unknown)}; known are {', '.join(sorted(FUNCTIONS))}")

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Return the value as JSON has it; every number of the variables is a double, as CEL has JSON.

        Raises ValueError, saying why, where there is no such value.
        """
        known = {name: variables[name] for name in self.variables}
        found = _guarded(lambda: self._program.execute(known), "has no value")
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError(f"gives {found}, which is no number that can be kept")
        if found is not None and not isinstance(found, (str, bool, int, float, list, dict)):
            raise ValueError(f"gives a {type(found).__name__}, which is no value of JSON")
        return found


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """Call into the library, and make whatever goes wrong there a ValueError of one line."""
    try:
        return call()
    except KeyError as error:
        raise ValueError(f"{what}: there is no {error.args[0]!r}; ask with has()") from error
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library's own language is no Exception
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        line = lines[0].partition("ERROR: <input>:")[2] or lines[0]
        if "overload" in line or "Unsupported operation" in line:
            line = "numbers of a payload are doubles: write 1.0 for 1, or int(x) for x"
        raise ValueError(f"{what}: {line[:PROBLEM_LENGTH_MAX]}") from error
