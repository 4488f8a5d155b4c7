"""JSON Patch (RFC 6902) with the operations that twins take: add, replace and remove. Nothing here does I/O.

A patch is applied to a copy along its own path: the document given is never changed, and what no operation
touched is shared with the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

from gemel.base.errors import InvalidError

__all__ = [
    "MISSING",
    "OPERATIONS_MAX",
    "Op",
    "Operation",
    "apply",
    "invalid",
    "parse_operations",
    "pointer_text",
]

Op = Literal["add", "replace", "remove"]
OPS = ("add", "replace", "remove")
OPERATIONS_MAX = 1000
POINTER_DEPTH_MAX = 64
MISSING: Any = object()
"""Stands for the value of an operation that has none."""


class Operation(NamedTuple):
    """One step of a patch: what, where (the decoded steps of the JSON Pointer), and with which value."""

    op: Op
    pointer: tuple[str, ...]
    value: Any


def parse_operations(patch: Any) -> tuple[Operation, ...]:
    """Return the operations of a decoded JSON Patch document.

    Raises InvalidError (JsonPatchInvalid) naming the operation that is malformed or not supported, and
    InvalidError (LimitExceeded) beyond 1,000 operations.
    """
    if not isinstance(patch, list):
        raise invalid("A JSON Patch is an array of operations.")
    if not patch:
        raise invalid("The JSON Patch has no operations.")
    if len(patch) > OPERATIONS_MAX:
        raise InvalidError("LimitExceeded", f"A JSON Patch has at most {OPERATIONS_MAX} operations.")
    return tuple(_parse(index, item) for index, item in enumerate(patch))


def apply(document: Any, operations: Sequence[Operation]) -> Any:
    """Return the document with the operations applied in order; the given one stays as it was.

    `add` on a member that exists replaces it, on an array inserts; `replace` and `remove` need what they
    name. Raises InvalidError (JsonPatchInvalid) naming the path that does not apply.
    """
    for operation in operations:
        document = _step(document, operation, 0)
    return document


def pointer_text(pointer: Sequence[str]) -> str:
    """Return the JSON Pointer (RFC 6901) of some steps."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in pointer)


def invalid(message: str) -> InvalidError:
    """Return the error of a patch that is malformed or does not apply."""
    return InvalidError("JsonPatchInvalid", message)


def _parse(index: int, item: Any) -> Operation:
    if not isinstance(item, dict):
        raise invalid(f"Operation {index} of the patch is not an object.")
    op, path = item.get("op"), item.get("path")
    if op not in OPS:
        if not isinstance(op, str):
            raise invalid(f"Operation {index} of the patch has no 'op'.")
        raise invalid(
            f"Unsupported operation type: '{op[:32]}'. Supported types are add, replace and remove."
        )
    if not isinstance(path, str):
        raise invalid(f"Operation {index} of the patch has no 'path'.")
    if op != "remove" and "value" not in item:
        raise invalid(f"Operation {index} of the patch ({op} {path}) has no 'value'.")
    return Operation(cast("Op", op), _pointer(path), MISSING if op == "remove" else item["value"])


def _pointer(path: str) -> tuple[str, ...]:
    if not path:
        return ()
    if path[0] != "/":
        raise invalid(f"The path '{path}' does not start with '/'.")
    steps = path[1:].split("/")
    if len(steps) > POINTER_DEPTH_MAX:
        raise invalid(f"The path has more than {POINTER_DEPTH_MAX} steps.")
    for step in steps:
        if "~" in step and "~" in step.replace("~0", "").replace("~1", ""):
            raise invalid(f"The path '{path}' has a '~' that is neither '~0' nor '~1'.")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def _step(node: Any, operation: Operation, depth: int) -> Any:
    if depth == len(operation.pointer):
        if operation.op == "remove":
            raise invalid("The whole document cannot be removed.")
        return operation.value
    if isinstance(node, dict):
        return _in_object(node, operation, depth)
    if isinstance(node, list):
        return _in_array(node, operation, depth)
    raise _not_found(operation, depth)


def _in_object(node: dict[str, Any], operation: Operation, depth: int) -> dict[str, Any]:
    name = operation.pointer[depth]
    last = depth + 1 == len(operation.pointer)
    if name not in node and not (last and operation.op == "add"):
        raise _not_found(operation, depth)
    result = dict(node)
    if not last:
        result[name] = _step(node[name], operation, depth + 1)
    elif operation.op == "remove":
        del result[name]
    else:
        result[name] = operation.value
    return result


def _in_array(node: list[Any], operation: Operation, depth: int) -> list[Any]:
    name = operation.pointer[depth]
    last = depth + 1 == len(operation.pointer)
    inserts = last and operation.op == "add"
    if name == "-" and inserts:
        return [*node, operation.value]
    if not name.isascii() or not name.isdigit() or (len(name) > 1 and name[0] == "0") or len(name) > 9:
        raise _not_found(operation, depth)
    index = int(name)
    if index > len(node) or (index == len(node) and not inserts):
        raise _not_found(operation, depth)
    result = list(node)
    if inserts:
        result.insert(index, operation.value)
    elif not last:
        result[index] = _step(node[index], operation, depth + 1)
    elif operation.op == "remove":
        del result[index]
    else:
        result[index] = operation.value
    return result


def _not_found(operation: Operation, depth: int) -> InvalidError:
    where = pointer_text(operation.pointer[: depth + 1])
    return invalid(
        f"{where} was not found, so {operation.op} {pointer_text(operation.pointer)} does not apply."
    )
