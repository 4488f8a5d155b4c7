"""What is installed: exact pins for everything that is declared, and extras that stay optional."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

import gemel
from support.source_tree import ROOT, Module, modules, offences

EXTRA_MODULES = {
    "asyncua": "opcua",
    "confluent_kafka": "kafka",
    "fastavro": "kafka",
    "google": "grpc",
    "grpc": "grpc",
    "opentelemetry": "otel",
    "pyarrow": "arrow",
}
"""The modules that an extra brings, which code imports only where it needs them."""

WITH_EXTRA = {
    f"gemel.connectors.opcua_{name}": "opcua"
    for name in ("browse", "link", "source", "tree", "types", "values")
} | {f"gemel.rpc.{name}": "grpc" for name in ("calls", "changes", "ingest", "messages", "reading", "server")}
"""Modules of ours that need an extra as a whole: others import them only where they need them."""

HEAVY = ("litestar", "numpy", "psycopg", "uvicorn", "pint", "lark")
"""What a command that only asks a server does not wait for."""


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_what_is_declared_is_pinned_within_its_bounds() -> None:
    project, pins = _project(), _pins()
    declared = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    found = []
    for requirement in map(Requirement, declared):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name == "gemel":
            continue
        if name not in pins:
            found.append(f"constraints.txt: {name} is not pinned")
        elif not requirement.specifier.contains(Version(pins[name])):
            found.append(f"constraints.txt: {name}=={pins[name]} is outside {requirement.specifier}")
    offences(found)


def test_the_version_is_one_and_told() -> None:
    version = _project()["version"]
    assert gemel.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_extras_are_imported_where_they_are_needed() -> None:
    extras = {*_project()["optional-dependencies"]} - {"dev"}
    assert extras == set(EXTRA_MODULES.values())
    brought = EXTRA_MODULES | WITH_EXTRA
    found = [
        f"{module.at(node)}: imports {name} at the top; it comes with the extra {brought[name]}"
        for module in modules("src")
        for node, name in _top_imports(module)
        if name in brought and WITH_EXTRA.get(module.name) != brought[name]
    ]
    offences(found)


def test_the_command_line_starts_light() -> None:
    program = f"import sys, gemel.cli; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )
    offences([f"gemel.cli: imports {name} at its start" for name in result.stdout.split()])


def _top_imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Yield the packages, and modules of ours, that importing a module imports; what is only for types is not."""
    pending: list[ast.stmt] = list(module.tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            ours = node.module.startswith("gemel.")
            yield node, node.module if ours else node.module.split(".")[0]
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            pending += node.body
