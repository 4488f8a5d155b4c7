"""`__all__` says what a module gives to others, and it is true both ways."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from support.source_tree import Module, modules, offences

BY_NAME = {module.name: module for module in modules("src")}


def test_modules_state_what_they_export() -> None:
    found = [
        f"{module.path}: has public names but no __all__"
        for module in modules("src")
        if _exported(module) is None and any(not name.startswith("_") for name in _defined(module))
    ]
    offences(found)


def test_exported_names_exist() -> None:
    found = [
        f"{module.path}: __all__ names {name}, which is not there"
        for module in modules("src")
        for name in sorted((_exported(module) or set()) - _bound(module))
    ]
    offences(found)


def test_what_others_import_is_exported() -> None:
    found = [
        f"{module.at(node)}: imports {name}, which {node.module} does not export"
        for module in modules("src", "bench", "tools")
        for node, name in _imports(module)
        if node.module in BY_NAME
        and f"{node.module}.{name}" not in BY_NAME
        and name not in (_exported(BY_NAME[node.module]) or set())
        and not name.startswith("__")
    ]
    offences(found)


def test_nothing_is_dead() -> None:
    """Every top-level name is read somewhere, tests counted: what only waits for a use goes."""
    read: Counter[str] = Counter()
    for module in modules("src", "bench", "tools", "tests"):
        read.update(_read(module))
    found = [
        f"{module.at(node)}: {name} is never used"
        for module in modules("src")
        for name, node in _defined(module).items()
        if not read[name] and not _called_by_others(node)
    ]
    offences(found)


def _exported(module: Module) -> set[str] | None:
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.List), f"{module.path}: __all__ is not a plain list"
            return {str(element.value) for element in value.elts if isinstance(element, ast.Constant)}
    return None


def _bound(module: Module) -> set[str]:
    """Return the names that a module's top level binds, by definition or import."""
    imported = {
        alias.asname or alias.name
        for node in module.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return imported | set(_defined(module))


def _defined(module: Module) -> dict[str, ast.stmt]:
    """Return the names that a module's top level defines, and where."""
    names: dict[str, ast.stmt] = {}
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names |= {part.id: node for part in ast.walk(target) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
    return {name: node for name, node in names.items() if name not in {"__all__", "__version__"}}


def _imports(module: Module) -> Iterator[tuple[ast.ImportFrom, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, alias.name


def _read(module: Module) -> Iterator[str]:
    """Yield every name that a module reads, as a name, an attribute or an import."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and module.path.name != "__init__.py":
            yield from (alias.name for alias in node.names)


def _called_by_others(node: ast.stmt) -> bool:
    """Say whether a decorator hands a function to a framework, which calls it."""
    return bool(getattr(node, "decorator_list", [])) and not isinstance(node, ast.ClassDef)
