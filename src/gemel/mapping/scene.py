"""A message, and what the paths and expressions of a mapping see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gemel.mapping.cells import cell_reader
from gemel.mapping.expressions import Expression
from gemel.mapping.paths import Path
from gemel.mapping.payload import ANY, Field

__all__ = ["Message", "Scene", "evaluate", "field_reader", "finished", "read_path"]

WORK_MAX: Final = 64 << 20
"""Bytes of payload that may be read for one message in all: an expression reads all of what it names."""
KINDS: Final[dict[str, tuple[type, ...]]] = {
    "number": (float,),
    "integer": (int,),
    "string": (str,),
    "boolean": (bool,),
    "json": (object,),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came: its payload as bytes, or as JSON values where its reader has decoded it.

    `id` is set where the transport names the message, the same when it comes again (topic, partition and
    offset, say); `received_us` is the time of receipt, `sent_us` when it was sent, where its transport says so.
    """

    payload: Any
    received_us: int
    id: str | None = None
    topic: str | None = None
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sent_us: int | None = None


@dataclass(slots=True)
class Scene:
    """What can be read while one item of a message is mapped; `roots` are by the names of paths.ROOTS.

    `start` is what paths without a root start from; `size` the payload's bytes, `work` those read so far by
    expressions; `clean` whether no text of the message can hold what no text that is stored may.
    """

    roots: dict[str, Any]
    start: Any
    size: int
    clean: bool
    work: int = 0


def read_path(path: Path, scene: Scene) -> Any:
    """Return what stands at a path, None where nothing does; ValueError where it cannot be said."""
    if path.root is None:
        return path.read(scene.start)
    found = path.read(scene.roots[path.root])
    if path.root == "payload" and isinstance(found, (dict, list)):
        _count_work(scene)
    return found


def evaluate(expression: Expression, scene: Scene, value: Any = None) -> Any:
    """Return the value of an expression; ValueError where it has none, or the message has read too much."""
    known: dict[str, Any] = {}
    for name in expression.variables:
        known[name] = value if name == "value" else scene.roots[name]
        if name in ("payload", "item", "value"):
            known[name] = _doubles(known[name])
        if name == "payload":
            _count_work(scene)
    return expression.evaluate(known)


def _count_work(scene: Scene) -> None:
    """Count that the whole payload is read once more: each item of a list may ask for that."""
    scene.work += scene.size
    if scene.work > WORK_MAX:
        raise ValueError(
            f"more than {WORK_MAX >> 20} MiB are read for one message; read `item` in place of `payload`"
        )


def field_reader(wanted: Field) -> Callable[[Scene], Any]:
    """Return the function that reads a field: its value, or None where there is none.

    It raises ValueError, saying why, where what stands there is not what the mapping says.
    """
    path, expression, finish = wanted.path, wanted.expression, finished(wanted)

    def read(scene: Scene) -> Any:
        value = None
        if path is not None:
            value = read_path(path, scene)
        if expression is not None and (path is None or value is not None):
            value = evaluate(expression, scene, value)
        return finish(value)

    return read


def finished(wanted: Field) -> Callable[[Any], Any]:
    """Return what makes a field's value of what stood there: listed values, type and unit."""
    listed, otherwise, kind = wanted.listed, wanted.otherwise, wanted.type
    convert = None if kind == ANY else cell_reader(kind, wanted.change)
    accepted = KINDS.get(kind, (object,))
    required = wanted.required

    def finish(value: Any) -> Any:
        if value is not None and listed is not None:
            value = listed.get(_key(value), otherwise)
            if value is otherwise and not isinstance(value, (str, int, float, bool, list, dict, type(None))):
                raise ValueError("is a value that `map` does not list")
        if value is not None and convert is not None:
            found = convert(value)
            if found is not None and (
                not isinstance(found, accepted) or (type(found) is bool and kind not in ("boolean", "json"))
            ):
                raise ValueError(f"{_shown(value)} is no {kind}")
            value = found
        if value is None and required:
            raise ValueError("there is none, and it is required")
        return value

    return finish


def _key(value: Any) -> str:
    """Return how a value is written under `map`: text as it is, the others as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _doubles(value: Any) -> Any:
    """Return JSON with every number as a double."""
    if type(value) is int:
        return float(value) if abs(value) < 1 << 1023 else str(value)
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    return list(map(_doubles, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
