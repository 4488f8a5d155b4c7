"""Paths into payloads: JMESPath, with plain paths of keys as tuples that need no engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jmespath

__all__ = ["PLAIN", "Path", "compile_path"]

PATH_LENGTH_MAX: Final = 500
PLAIN: Final = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*", re.ASCII)
ROOT: Final = re.compile(r"\$([a-z]+)(?:\.|(?=\[)|$)")
ROOTS: Final = ("payload", "item", "index", "name", "topic", "headers", "key", "received", "sent")


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path: what it starts from (a root, or None for payload or item), and the way from there.

    `keys` is set for a plain path: its keys, in order; none of them means the start itself. `read` returns what
    stands there, None where nothing does.
    """

    text: str
    root: str | None
    keys: tuple[str, ...] | None
    read: Callable[[Any], Any]


def compile_path(text: str) -> Path:
    """Compile a path; raise ValueError, saying what is wrong, where it is none.

    `a.b-c` are keys of objects, one within another; `$topic.line` starts from a root of ROOTS; anything else is
    JMESPath (https://jmespath.org): `a[0].b`, `readings[?ok].value`, `"odd key".x`, `@` for the whole.
    """
    if len(text) > PATH_LENGTH_MAX:
        raise ValueError(f"has more than {PATH_LENGTH_MAX} characters")
    root, rest = None, text
    if text.startswith("$"):
        found = ROOT.match(text)
        if found is None or found[1] not in ROOTS:
            raise ValueError(f"starts with none of {', '.join('$' + name for name in ROOTS)}")
        root, rest = found[1], text[found.end() :]
    if rest in ("", "@"):
        if not text:
            raise ValueError("is empty")
        return Path(text, root, (), lambda start: start)
    if PLAIN.fullmatch(rest):
        keys = tuple(rest.split("."))
        return Path(text, root, keys, _walker(keys))
    try:
        compiled = jmespath.compile(rest)
    except ValueError as error:
        raise ValueError(f"is no path: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    return Path(text, root, None, lambda start: _searched(compiled, start))


def _walker(keys: tuple[str, ...]) -> Callable[[Any], Any]:
    if len(keys) == 1:
        key = keys[0]
        return lambda start: start.get(key) if isinstance(start, dict) else None

    def walk(start: Any) -> Any:
        for key in keys:
            if not isinstance(start, dict):
                return None
            start = start.get(key)
        return start

    return walk


def _searched(compiled: Any, start: Any) -> Any:
    try:
        return compiled.search(start)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"finds nothing: {str(error).splitlines()[0][:160]}") from error
