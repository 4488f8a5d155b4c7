"""Every error code that is raised is documented, and every documented one can be raised."""

from __future__ import annotations

import ast
import re

from gemel.base import errors
from gemel.base.codes import CODES
from support.source_tree import ROOT, Module, literals, modules, offences

RAISERS = re.compile(r"(Error|Fault|Detail|Problem|Failure)$")
CODE = re.compile(r"[A-Z][A-Za-z]+\Z")


def test_codes_that_are_raised_are_listed() -> None:
    found = [
        f"{module.at(node)}: the code {code} is not in gemel.base.codes"
        for module in modules("src")
        for node, code in _raised(module)
        if code not in CODES
    ]
    offences(found)


def test_codes_that_are_listed_are_raised() -> None:
    used = {
        text for module in modules("src") if module.name != "gemel.base.codes" for _, text in literals(module)
    }
    offences([f"src/gemel/base/codes.py: nothing raises {code}" for code in CODES if code not in used])


def test_codes_say_what_they_mean_and_what_to_do() -> None:
    found = [
        f"src/gemel/base/codes.py: {name}: {part!r} is not a sentence"
        for name, code in CODES.items()
        for part in code
        if not part.endswith((".", "?"))
    ]
    offences(found)
    offences([f"src/gemel/base/codes.py: {name} is not PascalCase" for name in CODES if not CODE.match(name)])


def test_no_code_is_listed_twice() -> None:
    tree = ast.parse((ROOT / "src/gemel/base/codes.py").read_text("utf-8"))
    names = [
        str(key.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]
    offences(
        [
            f"src/gemel/base/codes.py: {name} is listed twice"
            for name in sorted(set(names))
            if names.count(name) > 1
        ]
    )


def test_the_error_tree_is_drawn_whole() -> None:
    drawn = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    assert drawn == {name for name in errors.__all__ if name.endswith("Error")}


def _raised(module: Module) -> list[tuple[ast.AST, str]]:
    found: list[tuple[ast.AST, str]] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and node.args and RAISERS.search(_callee(node)):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and CODE.match(first.value):
                found.append((node, first.value))
    return found


def _callee(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
