"""The documents that models are read from, and where in them a fault stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from gemel.models.positions import Member, Node, Position, TextMap, position_in

__all__ = ["Document", "Fault", "Origin", "Sources", "decode"]


@dataclass(frozen=True, slots=True)
class Origin:
    """From which document an element is, by index, and from which object of it."""

    document: int
    raw: object


@dataclass(slots=True)
class Document:
    """One document: its text, where it was given as one, what that decodes to, or where it cannot be decoded."""

    value: object
    text: str | None = None
    broken_at: int | None = None


@dataclass(slots=True)
class Fault:
    """What an error says of the place that it is about."""

    other: str | None
    property: str | None
    value: str | None
    origin: Origin | None


@dataclass(slots=True)
class Sources:
    """All documents of one parse, the object being read, and which element came from where."""

    documents: list[Document] = field(default_factory=list)
    current: Origin | None = None
    elements: dict[str, Origin] = field(default_factory=dict)
    _maps: dict[int, TextMap | None] = field(default_factory=dict)

    def add(self, element_id: str, raw: object) -> None:
        """Note that an element was read from an object of the document being read."""
        if self.current is not None:
            self.elements.setdefault(element_id, Origin(self.current.document, raw))

    def at(self, raw: object) -> Origin | None:
        """Where an object of the document being read stands."""
        return None if self.current is None else Origin(self.current.document, raw)

    def origin_of(self, element_id: str | None) -> Origin | None:
        """Where an element is from; one that never came to be counts as part of what is being read."""
        found = self.elements.get(element_id or "")
        if found is not None or self.current is None or element_id is None:
            return found or self.current
        for raw in _objects(self.current.raw):
            if raw.get("@id") == element_id:
                return Origin(self.current.document, raw)
        return self.current

    def locate(self, fault: Fault) -> Position | None:
        """The line and column of a fault; None when its document cannot be laid out.

        The position is in the text that was given, or else in the decoded document as it looks when written
        with two spaces of indentation.
        """
        if fault.origin is None:
            return None
        document = self.documents[fault.origin.document]
        if document.broken_at is not None:
            return position_in(document.text or "", document.broken_at)
        text_map = self._map(fault.origin.document)
        node = text_map.node_of(fault.origin.raw) if text_map is not None else None
        if text_map is None or node is None:
            return None
        return text_map.position(*_span(node, fault))

    def _map(self, index: int) -> TextMap | None:
        if index not in self._maps:
            document = self.documents[index]
            self._maps[index] = _map_of(document)
        return self._maps[index]


def decode(document: str | bytes) -> object:
    """Decode a text or UTF-8 bytes as JSON; ValueError when it is not, or nested too deep to be read."""
    try:
        return json.loads(document, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _map_of(document: Document) -> TextMap | None:
    text = document.text
    if text is None:
        try:
            text = json.dumps(document.value, indent=2, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            # Decoded JSON from elsewhere may hold what JSON cannot say, or be too deep for its writer.
            return None
    return TextMap(text, document.value)


def _objects(value: object) -> Iterator[dict[str, object]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _span(node: Node, fault: Fault) -> tuple[int, int]:
    """The narrowest piece of an element's text that an error is about: a value, a property, its beginning."""
    member = _member(node, fault.property)
    if member is None:
        named = [node.members[key].node for key in ("@type", "@context", "@id") if key in node.members]
        found = next((item for each in named if (item := _holding(each, fault.value))), None)
        span = found or node
        return span.start, span.end
    key = member.node.members.get(fault.value or "")
    if key is not None:
        return key.start, key.end
    holding = _holding(member.node, fault.value) or _holding(member.node, fault.other)
    held = _sharing(member.node, fault) or holding
    if held is not None:
        return held.start, held.end
    if fault.value is None or member.node.text in "{[":
        return member.start, member.end
    return member.node.start, member.node.end


def _member(node: Node, name: str | None) -> Member | None:
    """The member of a property, whether the author wrote its term or its identifier."""
    if name is None:
        return None
    found = node.members.get(name)
    if found is not None:
        return found
    wanted = _last_label(name)
    return next((member for key, member in node.members.items() if _last_label(key) == wanted), None)


def _last_label(name: str) -> str:
    return name.partition(";")[0].rpartition(":")[2]


def _holding(node: Node, value: str | None) -> Node | None:
    """The node, or the item of it, that is a value."""
    if value is None:
        return None
    wanted = (value, json.dumps(value), json.dumps(value, ensure_ascii=False))
    return next((item for item in (node, *node.items) if item.text in wanted), None)


def _sharing(node: Node, fault: Fault) -> Node | None:
    """The value that several items of a list share although it must differ: the last of them."""
    found = None
    for item in node.items:
        member = item.members.get(fault.other or "")
        if member is not None and _holding(member.node, fault.value) is not None:
            found = member.node
    return found
