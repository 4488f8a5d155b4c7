"""Where each value of a JSON text stands: needed only when there is something to complain about."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Member", "Node", "Position", "TextMap", "position_in"]

_TOKEN = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Position:
    """A piece of a text: its line and column, counted from 1, and how many characters it has on that line."""

    line: int
    column: int
    width: int


@dataclass(slots=True)
class Member:
    """One member of an object: where its key stands, and its value."""

    start: int
    end: int
    node: Node


class Node:
    """One value of a text; an object has members, a list has items."""

    __slots__ = ("end", "items", "members", "start", "text")

    def __init__(self, start: int, end: int, text: str) -> None:
        """Note where a value begins; the end of an object or a list is filled in when it is met."""
        self.start = start
        self.end = end
        self.text = text
        self.members: dict[str, Member] = {}
        self.items: list[Node] = []


class TextMap:
    """A JSON text beside what it was decoded to: for an object that was decoded, its node in the text."""

    def __init__(self, text: str, decoded: object) -> None:
        """Map a text that is known to be JSON; `decoded` is what it decodes to."""
        self._text = text
        self._line_starts = [0, *(match.end() for match in re.finditer(r"\n", text))]
        self._nodes = dict(_pair(decoded, _scan(text)))

    def node_of(self, decoded: object) -> Node | None:
        """The node of a decoded object or list, by identity; None when it is not from this text."""
        return self._nodes.get(id(decoded))

    def position(self, start: int, end: int) -> Position:
        """The position of a span; what goes on beyond the end of its first line is cut off."""
        line = bisect.bisect_right(self._line_starts, start) - 1
        line_end = self._text.find("\n", start)
        end = min(end, len(self._text) if line_end < 0 else line_end)
        return Position(line + 1, start - self._line_starts[line] + 1, max(end - start, 1))


def position_in(text: str, at: int) -> Position:
    """The position of one character of a text."""
    line_start = text.rfind("\n", 0, at) + 1
    return Position(text.count("\n", 0, at) + 1, at - line_start + 1, 1)


def _scan(text: str) -> Node:
    """Read a text into nodes, without recursion: it may be nested deeper than the call stack."""
    root = Node(0, len(text), "[")
    path = [root]
    key: re.Match[str] | None = None
    for match in _TOKEN.finditer(text):
        token = match.group()
        top = path[-1]
        if token in "}]":
            path.pop()
            top.end = match.end()
        elif token[0] == '"' and top.text == "{" and key is None:
            key = match
        elif token not in ",:":
            node = Node(match.start(), match.end(), token)
            if key is None:
                top.items.append(node)
            else:
                name = json.loads(key.group(), strict=False)
                top.members[name] = Member(key.start(), key.end(), node)
                key = None
            if token in "{[":
                path.append(node)
    return root.items[0]


def _pair(decoded: object, node: Node) -> Iterator[tuple[int, Node]]:
    waiting = [(decoded, node)]
    while waiting:
        value, found = waiting.pop()
        if isinstance(value, dict):
            yield id(value), found
            waiting.extend((value[name], member.node) for name, member in found.members.items())
        elif isinstance(value, list):
            yield id(value), found
            waiting.extend(zip(value, found.items, strict=True))
