"""Which nodes of an OPC UA server are read: patterns of browse paths below Objects, and node ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

__all__ = ["Called", "Pick", "nested", "parse_pick"]

NODE_ID: Final = re.compile(r"(?:ns=\d+;|nsu=[^;]+;)?[isgb]=.+", re.DOTALL)
ANY_DEPTH: Final = "**"
LEVELS_MAX: Final = 20


@dataclass(frozen=True)
class Pick:
    """One entry of `nodes`: a node id, or a pattern by its levels; `thing` is the level that names the thing.

    `sampling_ms` and `queue` are how the nodes that it fits are to be monitored.
    """

    text: str
    node: str | None
    levels: tuple[str, ...]
    thing: int | None
    sampling_ms: float
    queue: int

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("".join(_level(level, number) for number, level in enumerate(self.levels)))

    def fits(self, path: Sequence[str]) -> Called | None:
        """Return what a path's variable is called, if this pattern fits it."""
        found = self._pattern.fullmatch("/" + "/".join(map(_escape, path)))
        if found is None:
            return None
        depth = len(path) - 2
        if self.thing is not None:
            depth = found.string.count("/", 0, found.start(f"l{self.thing}")) - 1
        if depth < 0:
            return Called("", tuple(path))
        return Called(path[depth], tuple(path[depth + 1 :]))

    def may_lead(self, path: Sequence[str]) -> bool:
        """Whether something below a path may fit."""
        for level, name in zip(self.levels, path, strict=False):
            if level == ANY_DEPTH:
                return True
            if re.fullmatch(_names(level), _escape(name)) is None:
                return False
        return len(path) < len(self.levels)


@dataclass(frozen=True, slots=True)
class Called:
    """What a variable is called: the thing that it is of, and the names from there to it."""

    thing: str
    names: tuple[str, ...]


def parse_pick(text: str, sampling_ms: float, queue: int) -> Pick:
    """Read a node id (`ns=2;s=Speed`, `nsu=urn:plant;i=7`) or a pattern such as `Plant/{*}/**`.

    `*` stands for any text within one level, `**` for any number of levels. The level in braces is the thing that
    the values are of; without one it is the variable's parent. Raises ValueError, saying why.
    """
    if NODE_ID.fullmatch(text):
        return Pick(text, text, (), None, sampling_ms, queue)
    levels, thing = [], None
    for number, part in enumerate(text.strip("/").split("/")):
        level = part
        if level.startswith("{") and level.endswith("}"):
            if thing is not None:
                raise ValueError("has two levels in braces")
            thing, level = number, level[1:-1]
            if level == ANY_DEPTH:
                raise ValueError("** in braces is not one level")
        if not level or "{" in level or "}" in level:
            raise ValueError("has an empty level, or a brace within one")
        if ANY_DEPTH in level and level != ANY_DEPTH:
            raise ValueError("** stands for whole levels alone")
        levels.append(level)
    if len(levels) > LEVELS_MAX:
        raise ValueError(f"has more than {LEVELS_MAX} levels")
    if thing is not None and thing == len(levels) - 1:
        raise ValueError("the level in braces is the last; the variable's own name stands behind it")
    return Pick(text, None, tuple(levels), thing, sampling_ms, queue)


def nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    """Return a value in objects, one in the other, by its names."""
    for name in reversed(names):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def _level(level: str, number: int) -> str:
    if level == ANY_DEPTH:
        return r"(?:/[^/]*)*"
    return f"/(?P<l{number}>{_names(level)})"


def _names(level: str) -> str:
    """Return the regular expression of the names that one level fits."""
    return re.escape(level).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def _escape(name: str) -> str:
    """Return a name without the character that parts levels; it may stand in the names of nodes."""
    return name.replace("/", "\x1f")
