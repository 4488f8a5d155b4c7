"""The project's own source as syntax trees, for the tests of the house's rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["CODE", "ROOT", "Function", "Module", "functions", "literals", "modules", "offences"]

ROOT = Path(__file__).resolve().parents[2]
CODE = ("src", "tests", "bench", "tools")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file: its path from the root, its dotted name, its text and tree."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package of gemel that this is in: `store` for gemel.store.gather."""
        return [*self.name.split("."), ""][1]

    def at(self, node: ast.AST) -> str:
        """Return where a node stands, as path:line."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """Return every module of some folders of the root, `src` by its packages' own names; none made by protoc."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return tuple(_module(path) for path in found if not path.stem.endswith("_pb2"))


@cache
def _module(path: Path) -> Module:
    text = path.read_text("utf-8")
    relative = path.relative_to(ROOT)
    parts = relative.with_suffix("").parts
    name = ".".join(parts[1:] if parts[0] == "src" else parts).removesuffix(".__init__")
    return Module(relative, name, text, ast.parse(text, str(path)))


def functions(module: Module) -> Iterator[Function]:
    """Yield every function and method of a module, nested ones too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def literals(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield every string of a module but docstrings; of an f-string, its constant parts as one."""
    passed: set[int] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            passed.update(map(id, node.values))
            yield node, "…".join(str(p.value) for p in node.values if isinstance(p, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node, node.value


def offences(found: list[str]) -> None:
    """Fail with the list of what was found, if anything was."""
    assert not found, "\n" + "\n".join(found)
