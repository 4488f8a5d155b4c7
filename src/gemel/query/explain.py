"""`EXPLAIN SELECT …`: what a query becomes, pass by pass, and what the database would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from gemel.base.clock import iso_us, to_us
from gemel.query.clauses import Query
from gemel.query.indexes import indexable_paths
from gemel.query.statement import Compiled
from gemel.store.database import ReadTransaction

__all__ = ["explained"]


async def explained(
    tx: ReadTransaction, steps: Sequence[tuple[str, Query]], compiled: Compiled
) -> dict[str, Any]:
    """Return the tree after each pass that changed it, the statement, its parameters and the database's plan.

    `indexes` has for each path that an index could find twins by whether one does.
    """
    passes: list[dict[str, Any]] = []
    for name, query in steps:
        tree = _plain(query)
        if not passes or tree != passes[-1]["tree"]:
            passes.append({"pass": name, "tree": tree})
    bound = steps[-1][1]
    used = {use.path_no for use in bound.indexes}
    text, parameters, _ = compiled.statement
    plan = await tx.rows(f"EXPLAIN {text}", parameters, keeps_plan=False)
    return {
        "passes": passes,
        "sql": text,
        "parameters": _plain(parameters),
        "indexes": {path: path_no in used for path, path_no in indexable_paths(bound).items()},
        "plan": [row[0] for row in plan],
    }


def _plain(node: Any) -> Any:
    """Return a node of a tree as JSON: what is not as it is by default."""
    if is_dataclass(node) and not isinstance(node, type):
        shown = {
            each.name: _plain(getattr(node, each.name))
            for each in fields(node)
            if each.repr and (each.default is MISSING or getattr(node, each.name) != each.default)
        }
        return {"node": type(node).__name__} | shown
    if isinstance(node, Enum):
        return str(node.value)
    if isinstance(node, tuple | list):
        return [_plain(each) for each in node]
    return iso_us(to_us(node)) if isinstance(node, datetime) else node
