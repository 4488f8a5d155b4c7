"""One entry under `twins` of a mapping of payloads, compiled: an event for each item that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from gemel.base.errors import Detail
from gemel.history.values import QUALITIES
from gemel.ingest.events import Event, decode_event
from gemel.mapping.paths import Path
from gemel.mapping.payload import Field, PayloadMapping, PayloadRule
from gemel.mapping.scene import Scene, evaluate, field_reader, finished, read_path
from gemel.mapping.times import moment_reader

__all__ = ["CompiledRule", "Made", "reduced"]


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one item: an event, or the problem that there is; neither where it says nothing.

    `declined` is set where that is as the mapping wants it: `when` was not true, or the list is empty.

    `place` tells it from the others of its message; `rule`, `index` and `name` say which item it is of.
    """

    event: Event | None = None
    problem: str = ""
    place: str = ""
    rule: int | None = None
    index: int | None = None
    name: str | None = None
    declined: bool = False


class CompiledRule:
    """A rule with its readers made; plain keys are read without them."""

    def __init__(self, rule: PayloadRule, number: int, mapping: PayloadMapping) -> None:
        self._rule = rule
        self._number = number
        self._source, self._type, self._revision = mapping.source, mapping.type, mapping.revision
        self._prefix = "" if len(mapping.twins) == 1 and rule.each is None else str(number)
        self._plain = [
            (target, _plain_key(field)) for target, field in rule.values.items() if _is_plain(target, field)
        ]
        others = {target: field for target, field in rule.values.items() if not _is_plain(target, field)}
        self._read = [
            (target, field.place, field_reader(field))
            for target, field in others.items()
            if "*" not in target
        ]
        self._stars = [(target, field, finished(field)) for target, field in others.items() if "*" in target]
        self._moment = None if rule.time is None else field_reader(rule.time.field)
        self._parse = None if rule.time is None else moment_reader(rule.time.format, rule.time.zone)
        self._quality = None if rule.quality is None else field_reader(rule.quality)
        self._fixed = rule.twin.text if not rule.twin.paths else ""
        # What JSON's decoder gives can be stored as it is, unless an escape brought in what no text may hold.
        self._computes = any(field.expression for field in rule.values.values())

    def make(self, scene: Scene, name: str, index: int | None = None) -> Iterator[Made]:
        """Yield what came of each item, in order; `index` stands for the place of the first in place of 0.

        Raises ValueError where the message is not as the rule's `each` says.
        """
        each = self._rule.each
        if each is None:
            yield self._one(scene, name, None)
            return
        items = each.read(scene.roots["payload"])
        if items is None:
            return
        if not isinstance(items, (list, dict)):
            raise ValueError(f"twins[{self._number}].each: {each.text} is no list and no object")
        if not items:
            yield Made(declined=True)
        pairs = items.items() if isinstance(items, dict) else ((None, item) for item in items)
        for place, (key, item) in enumerate(pairs, index or 0):
            scene.start = scene.roots["item"] = item
            scene.roots["index"], scene.roots["name"] = place, key
            yield self._one(scene, name, place)
        scene.start = scene.roots["payload"]
        scene.roots["item"] = scene.roots["index"] = scene.roots["name"] = None

    def _one(self, scene: Scene, name: str, index: int | None) -> Made:
        place = self._prefix if index is None else f"{self._prefix}.{index}"
        when = self._rule.when
        try:
            if when is not None and _told(f"twins[{self._number}].when", evaluate, when, scene) is not True:
                return Made(declined=True)
            event = self._event(scene, f"{name}:{place}" if place else name)
        except ValueError as error:
            where = "" if index is None else f" of item {scene.roots['name'] or index}"
            problem = f"{error}{where}"
            return Made(None, problem, place, self._number, index, scene.roots["name"])
        return Made(event, "", place, self._number, index)

    def _event(self, scene: Scene, event_id: str) -> Event | None:
        """Return the event of an item, None where it says nothing; ValueError naming the key that it broke."""
        data = self._data(scene)
        if not data:
            return None
        data |= self._rule.constants
        quality = self._quality_of(scene)
        time = self._time(scene)
        subject = self._fixed or self._subject(scene)
        event = Event(event_id, self._source, self._type, "1.0", subject, data, time, self._revision, quality)
        return _storable(event) if self._computes or not scene.clean else event

    def _data(self, scene: Scene) -> dict[str, Any]:
        data: dict[str, Any] = {}
        start = scene.start
        if self._plain and isinstance(start, dict):
            get = start.get
            for target, key in self._plain:
                value = get(key)
                if value is not None:
                    data[target] = value
        for target, place, read in self._read:
            value = _told(place, read, scene)
            if value is not None:
                data[target] = value
        for target, field, finish in self._stars:
            data |= _spread(target, field, finish, scene)
        return data

    def _time(self, scene: Scene) -> datetime | None:
        if self._moment is None or self._parse is None or self._rule.time is None:
            return None
        place = self._rule.time.field.place
        found = _told(place, self._moment, scene)
        if found is None:
            raise ValueError(f"{place}: there is none")
        moment: datetime = _told(place, self._parse, found)
        return moment

    def _quality_of(self, scene: Scene) -> Any:
        if self._quality is None or self._rule.quality is None:
            return "good"
        found = _told(self._rule.quality.place, self._quality, scene)
        if found is not None and found not in QUALITIES:
            raise ValueError(f"{self._rule.quality.place}: {found!r} is none of {', '.join(QUALITIES)}")
        return found or "good"

    def _subject(self, scene: Scene) -> str:
        template = self._rule.twin
        parts = [template.literals[0]]
        for path, literal in zip(template.paths, template.literals[1:], strict=True):
            place = f"twins[{self._number}].twin"
            value = _told(place, read_path, path, scene)
            if value is None or value == "" or isinstance(value, (bool, list, dict)):
                raise ValueError(f"{place}: nothing at {path.text} that can be part of a name")
            parts += [str(value).strip(), literal]
        return "".join(parts)


def reduced(payload: Any, each: Path | None, made: Made) -> Any:
    """Return a payload whose list or object at `each` holds one item alone: enough to map it again."""
    assert each is not None
    assert each.keys is not None
    items = each.read(payload)
    kept: Any = {made.name: items[made.name]} if isinstance(items, dict) else [items[made.index]]
    for depth in range(len(each.keys) - 1, -1, -1):
        around = payload
        for key in each.keys[:depth]:
            around = around[key]
        kept = {**around, each.keys[depth]: kept}
    return kept


def _is_plain(target: str, field: Field) -> bool:
    return field.is_plain and "*" not in target


def _plain_key(field: Field) -> str:
    assert field.path is not None
    assert field.path.keys is not None
    return field.path.keys[0]


def _spread(target: str, field: Field, finish: Any, scene: Scene) -> dict[str, Any]:
    """Return the values of a target with a star: one for each key of the object that its path ends in."""
    assert field.path is not None
    found = _told(field.place, _object_of, field.path, scene)
    data: dict[str, Any] = {}
    before, _, behind = target.partition("*")
    for key, raw in found.items():
        if key in field.left_out:
            continue
        value = evaluate(field.expression, scene, raw) if field.expression else raw
        value = _told(f"{field.place} for {key!r}", finish, value)
        if value is not None:
            data[f"{before}{key}{behind}"] = value
    return data


def _object_of(path: Path, scene: Scene) -> dict[str, Any]:
    found = read_path(path, scene)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("is no object whose keys a star could stand for")
    return found


def _told(place: str, read: Any, *arguments: Any) -> Any:
    """Call a reader; what it says is wrong gets the key of the mapping in front."""
    try:
        return read(*arguments)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _storable(event: Event) -> Event:
    """Return an event as ingest itself would decode it; ValueError for texts and numbers that cannot be kept."""
    try:
        found = decode_event(msgspec.json.encode(event))
    except (UnicodeEncodeError, RecursionError) as error:
        raise ValueError("a text holds half a surrogate pair, or a value is nested too deeply") from error
    if isinstance(found, Detail):
        raise ValueError(found.message)
    return found
