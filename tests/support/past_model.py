"""What a tenant's twins and relationships were at any moment, by the rules alone: facts in the order of recording.

A simple model to compare the platform with: it keeps every fact ever told and computes each answer from all of
them, without state, spans or indexes. Times are µs; `END` is no limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from gemel.base.clock import iso_us
from gemel.graph.etag import etag
from gemel.history.moment import END_US as END

__all__ = ["END", "GONE", "Fact", "PastModel", "PastTwin", "Relation"]

GONE = object()
"""The value of a property that was removed."""

Document = dict[str, Any]


class Fact(NamedTuple):
    """A value that arrived for a path and source time."""

    path: str
    time: int
    value: Any
    revision: int
    recorded: int

    @property
    def rank(self) -> tuple[Any, ...]:
        """By what two values of one key are compared: all values of a path are of one type."""
        return (self.revision, self.value is not GONE, () if self.value is GONE else (self.value,))


@dataclass
class PastTwin:
    """One incarnation of a twin: all that was ever told of it."""

    no: int
    twin_id: str
    created: int
    starts: list[tuple[int, int]]
    """When we learnt of it, and since when it was there."""
    models: list[tuple[int, str]]
    """From when on, in both times, it had a model."""
    lifecycles: list[tuple[int, int, str]]
    """When we learnt of it, since when it was so, and the state."""
    stamps: list[tuple[int, int]] = field(default_factory=list)
    """When its row was written anew, and since when that holds."""
    facts: list[Fact] = field(default_factory=list)
    deleted: int | None = None

    def there(self, t: int, k: int) -> bool:
        """Whether it was there at t, by what was known at k."""
        known = [start for recorded, start in self.starts if recorded <= k]
        ended = self.deleted is not None and self.deleted <= k and self.deleted <= t
        return bool(known) and min(known) <= t and not ended

    def model(self, t: int, k: int) -> str:
        return [
            model for since, model in self.models if since <= k and (since <= t or since == self.created)
        ][-1]

    def lifecycle(self, t: int, k: int) -> str:
        return [state for told, since, state in self.lifecycles if told <= k and since <= t][-1]

    def state(self, t: int, k: int) -> dict[str, Fact]:
        """The last fact of each path, of those that held their keys."""
        holders: dict[tuple[str, int], Fact] = {}
        for fact in self.facts:
            holder = holders.get((fact.path, fact.time))
            if fact.recorded <= k and (holder is None or fact.rank > holder.rank):
                holders[fact.path, fact.time] = fact
        last: dict[str, Fact] = {}
        for fact in holders.values():
            if fact.time <= t and (fact.path not in last or fact.time > last[fact.path].time):
                last[fact.path] = fact
        return last

    def holders(self, low: int, high: int, k: int) -> list[tuple[int, str, Any]]:
        """Time, path and value of each key from low to before high, as known at k."""
        found: dict[tuple[int, str], Fact] = {}
        for fact in self.facts:
            key = (fact.time, fact.path)
            known = low <= fact.time < high and fact.recorded <= k
            if known and (key not in found or fact.rank > found[key].rank):
                found[key] = fact
        return [(*key, None if fact.value is GONE else fact.value) for key, fact in sorted(found.items())]

    def document(
        self, t: int, k: int, components: dict[str, list[str]], telemetry: Iterable[str]
    ) -> Document:
        """The twin as GET gives it; `components` by model."""
        model = self.model(t, k)
        owned = components[model]
        state = {path: fact for path, fact in self.state(t, k).items() if path not in telemetry}
        stamp = max([self.created] + [told for told, since in self.stamps if told <= k and since <= t])
        version = max([stamp, *(fact.recorded for fact in state.values())])
        body: Document = {
            "$dtId": self.twin_id,
            "$etag": etag(self.no, version),
            "$lifecycle": self.lifecycle(t, k),
        }
        places: dict[str, Document] = {"": body}
        for name in owned:
            places[name] = body[name] = {}
        for name, place in places.items():
            own = {p.rpartition(".")[2]: f for p, f in state.items() if p.rpartition(".")[0] == name}
            newest = version if not name else max([self.created, *(fact.recorded for fact in own.values())])
            metadata: Document = {"$lastUpdateTime": iso_us(newest)}
            if not name:
                metadata["$model"] = model
            for path, fact in own.items():
                if fact.value is not GONE:
                    place[path] = fact.value
                    metadata[path] = {
                        "lastUpdateTime": iso_us(fact.recorded),
                        "sourceTime": iso_us(fact.time),
                    }
            place["$metadata"] = metadata
        return body


@dataclass
class Relation:
    """All that was ever told of relationships of one source and id: when, since when, and what or None."""

    source: PastTwin
    relationship_id: str
    told: list[tuple[int, int, tuple[str, PastTwin, Document] | None]] = field(default_factory=list)

    def at(self, t: int, k: int) -> tuple[int, tuple[str, PastTwin, Document] | None]:
        found = [(recorded, what) for recorded, since, what in self.told if recorded <= k and since <= t]
        return found[-1] if found else (0, None)

    @property
    def held(self) -> tuple[str, PastTwin, Document]:
        """What it is now, and it is."""
        what = self.at(END, END)[1]
        assert what is not None
        return what


class PastModel:
    """A tenant's whole past."""

    def __init__(self, components: dict[str, list[str]], telemetry: Iterable[str]) -> None:
        self.components = components
        self.telemetry = set(telemetry)
        self.twins: list[PastTwin] = []
        self.relations: dict[tuple[int, str], Relation] = {}

    def twin(self, twin_id: str, t: int = END, k: int = END) -> PastTwin | None:
        found = [twin for twin in self.twins if twin.twin_id == twin_id and twin.there(t, k)]
        assert len(found) <= 1, "one twin of an id at a moment"
        return found[0] if found else None

    def floor(self, twin_id: str) -> int:
        """Before which the id was of a twin that is no more."""
        return max([0, *(twin.deleted for twin in self.twins if twin.twin_id == twin_id and twin.deleted)])

    def document(self, twin_id: str, t: int = END, k: int = END) -> Document | None:
        twin = self.twin(twin_id, t, k)
        return None if twin is None else twin.document(t, k, self.components, self.telemetry)

    def outgoing(self, twin_id: str, t: int = END, k: int = END) -> list[Document] | None:
        """The relationships that leave a twin, as the list gives them, or None without the twin."""
        source = self.twin(twin_id, t, k)
        if source is None:
            return None
        found = []
        for relation in self.relations.values():
            recorded, what = relation.at(t, k)
            if relation.source is source and what is not None:
                name, target, properties = what
                found.append(
                    {
                        "$relationshipId": relation.relationship_id,
                        "$etag": etag(source.no, recorded),
                        "$sourceId": source.twin_id,
                        "$relationshipName": name,
                        "$targetId": target.twin_id,
                        **properties,
                    }
                )
        return sorted(found, key=lambda each: each["$relationshipId"])

    def incoming(self, twin_id: str, t: int = END, k: int = END) -> list[Document] | None:
        target = self.twin(twin_id, t, k)
        if target is None:
            return None
        found = []
        for relation in self.relations.values():
            _, what = relation.at(t, k)
            if what is not None and what[1] is target:
                link = (
                    f"/digitaltwins/{quote(relation.source.twin_id)}/relationships/{relation.relationship_id}"
                )
                row = {
                    "$relationshipId": relation.relationship_id,
                    "$sourceId": relation.source.twin_id,
                    "$relationshipName": what[0],
                    "$relationshipLink": link,
                }
                found.append((relation.source.no, relation.relationship_id, row))
        return [row for *_, row in sorted(found, key=lambda each: each[:2])]
