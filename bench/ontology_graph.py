"""A seeded building graph over the RealEstateCore building ontology: as bodies, or as an import file.

`python -m bench.ontology_graph FILE --twins 100000 --relationships 300000 --seed 1` writes the NDJSON that an
import job takes. The same arguments give the same bytes. Everything has been there since START.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from gemel.models import Primitive, Slot, TwinType, compile_twin_type, parse
from gemel.models.model_set import ModelSet

__all__ = ["ONTOLOGY", "START", "Graph", "main", "write_import"]

ONTOLOGY = Path(__file__).parents[2] / "shared/data/ontologies/building-v3.json"
REC = "dtmi:digitaltwins:rec_3_3:{};1"
BUILDING, LEVEL, ROOM, SENSOR, EQUIPMENT = (
    REC.format(name)
    for name in ("core:Building", "core:Level", "core:Room", "core:Sensor", "asset:HVACEquipment")
)
LEVELS, ROOMS = 10, 20  # of a building, and of a level
EQUIPMENT_OF_ROOM, SENSORS_OF_ROOM = 3, 6
PROPERTIES_MAX = 7
SENSORS_MAX, ROOMS_MAX, EQUIPMENT_MAX = 40, 30, 25  # different models of each kind

START = datetime(2026, 1, 5, tzinfo=UTC)
VALID_FROM = START.strftime("%Y-%m-%dT%H:%M:%SZ")

Body = dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """One twin before its values: its id, its model, and the twin that it belongs to."""

    twin_id: str
    model: str
    kind: str
    owner: str | None


class Graph:
    """Buildings with levels, rooms, equipment and sensors: `twins` of them, joined by `relationships`."""

    def __init__(self, twins: int, relationships: int, seed: int = 1, ontology: Path = ONTOLOGY) -> None:
        self.models: list[Body] = json.loads(ontology.read_text("utf-8"))
        self._known = parse(self.models)
        self._seed = seed
        self._relationships = relationships
        self._shapes: dict[str, tuple[TwinType, list[Slot]]] = {}
        self.places = list(self._places(twins))

    def twins(self) -> Iterator[Body]:
        """Yield the body of each twin, as a PUT takes it, with its `$dtId`."""
        chance = random.Random(f"{self._seed}:values")
        for number, place in enumerate(self.places):
            twin_type, slots = self._shape(place.model)
            body: Body = {
                "$dtId": place.twin_id,
                "$metadata": {"$model": place.model, "$validFrom": VALID_FROM},
            }
            for component in sorted(twin_type.components):
                _set(body, component, {"$metadata": {}})
            for slot in slots:
                _set(body, slot.path, _value(slot, number, chance))
            yield body

    def relationships(self) -> Iterator[Body]:
        """Yield each relationship with `$dtId` (its source), `$relationshipId`, `$targetId` and its name."""
        for number, (source, name, target) in enumerate(islice(self._links(), self._relationships)):
            yield {
                "$dtId": source,
                "$relationshipId": f"r{number}",
                "$targetId": target,
                "$relationshipName": name,
                "$validFrom": VALID_FROM,
            }

    def _places(self, count: int) -> Iterator[_Place]:
        chance = random.Random(f"{self._seed}:places")
        kinds = {
            "room": _some(self._known, ROOM, ROOMS_MAX),
            "equipment": _some(self._known, EQUIPMENT, EQUIPMENT_MAX),
            "sensor": _some(self._known, SENSOR, SENSORS_MAX),
        }
        endless = self._buildings(kinds, chance)
        for _ in range(count):
            yield next(endless)

    def _buildings(self, kinds: dict[str, list[str]], chance: random.Random) -> Iterator[_Place]:
        building = 0
        while True:
            top = f"building-{building}"
            yield _Place(top, BUILDING, "building", None)
            for level in range(LEVELS):
                floor = f"{top}-level-{level}"
                yield _Place(floor, LEVEL, "level", top)
                for room in range(ROOMS):
                    name = f"{floor}-room-{room}"
                    yield _Place(name, chance.choice(kinds["room"]), "room", floor)
                    for kind, many in (("equipment", EQUIPMENT_OF_ROOM), ("sensor", SENSORS_OF_ROOM)):
                        for each in range(many):
                            yield _Place(f"{name}-{kind}-{each}", chance.choice(kinds[kind]), kind, name)
            building += 1

    def _links(self) -> Iterator[tuple[str, str, str]]:
        for place in self.places:
            if place.owner is None:
                continue
            if place.kind == "sensor":
                yield place.owner, "hasCapability", place.twin_id
                yield place.twin_id, "isCapabilityOf", place.owner
            elif place.kind == "equipment":
                yield place.twin_id, "locatedIn", place.owner
                yield place.owner, "isLocationOf", place.twin_id
            else:
                yield place.owner, "hasPart", place.twin_id
                yield place.twin_id, "isPartOf", place.owner
        yield from self._feeds()

    def _feeds(self) -> Iterator[tuple[str, str, str]]:
        chance = random.Random(f"{self._seed}:feeds")
        equipment = [place.twin_id for place in self.places if place.kind == "equipment"]
        rooms = [place.twin_id for place in self.places if place.kind == "room"]
        while equipment and rooms:
            yield chance.choice(equipment), "feeds", chance.choice(rooms)

    def _shape(self, model: str) -> tuple[TwinType, list[Slot]]:
        if model not in self._shapes:
            twin_type = compile_twin_type(self._known, model)
            slots = [slot for slot in twin_type.slots.values() if _is_plain(slot)]
            slots.sort(key=lambda slot: (slot.path != "name", slot.path.count("."), slot.path))
            self._shapes[model] = twin_type, slots[:PROPERTIES_MAX]
        return self._shapes[model]


def write_import(path: Path, graph: Graph) -> None:
    """Write a graph as the NDJSON of an import job."""
    with path.open("wb") as file:
        for name, rows in (
            ("Header", iter([{"fileVersion": "1.0.0", "author": "bench", "organization": "gemel"}])),
            ("Models", iter(graph.models)),
            ("Twins", graph.twins()),
            ("Relationships", graph.relationships()),
        ):
            file.write(msgspec.json.encode({"Section": name}) + b"\n")
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")


def _some(models: ModelSet, ancestor: str, count: int) -> list[str]:
    return sorted(models.descendants(ancestor))[:count]


def _is_plain(slot: Slot) -> bool:
    return slot.role == "property" and isinstance(slot.schema, Primitive) and slot.schema.kind in _KINDS


_KINDS = {"string", "integer", "double", "boolean", "dateTime", "date", "duration"}


def _value(slot: Slot, number: int, chance: random.Random) -> Any:
    assert isinstance(slot.schema, Primitive)
    day = chance.randrange(1, 29)
    values: dict[str, Any] = {
        "string": f"{slot.path.rpartition('.')[2]} {number}",
        "integer": chance.randrange(1000),
        "double": round(chance.uniform(0, 100), 3),
        "boolean": day % 2 == 0,
        "dateTime": f"2026-01-{day:02}T12:00:00Z",
        "date": f"2026-01-{day:02}",
        "duration": f"P{day}D",
    }
    return values[slot.schema.kind]


def _set(body: Body, path: str, value: Any) -> None:
    *owners, name = path.split(".")
    for owner in owners:
        body = body[owner]
    body[name] = value


def main() -> None:
    """Write an import file as the command line says."""
    parser = argparse.ArgumentParser(description="Write a seeded building graph as an import file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--twins", type=int, default=100_000)
    parser.add_argument("--relationships", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    write_import(wanted.file, Graph(wanted.twins, wanted.relationships, wanted.seed))


if __name__ == "__main__":
    main()
