"""Changes as notifications: CloudEvents 1.0 with the types and bodies of Azure Digital Twins. Pure.

Each notification begins at a position of its change: 0 of a change of the graph, the place of its first sample of a
chunk. Positions depend on the change alone, so a delivery that was cut off goes on at the one where it stopped.
Source: the Azure Digital Twins guide on event notifications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from gemel.base.clock import iso_us
from gemel.graph.roster import TwinName
from gemel.graph.told import relationship_documents, twin_document
from gemel.history.changes import CURRENT, FIRST, Change, effects_of, traces_of
from gemel.history.paths import path_no_of, twin_no_of
from gemel.history.samples import SampleBatch
from gemel.history.values import JSON, REMOVED, decode
from gemel.routing.feed import Known, Told

__all__ = ["TYPES", "Components", "Naming", "Notification", "notifications"]

TWIN_UPDATE = "Microsoft.DigitalTwins.Twin.Update"
TELEMETRY = "microsoft.iot.telemetry"
GRAPH_TYPES = {
    "twin.created": "Microsoft.DigitalTwins.Twin.Create",
    "twin.updated": TWIN_UPDATE,
    "twin.deleted": "Microsoft.DigitalTwins.Twin.Delete",
    "relationship.created": "Microsoft.DigitalTwins.Relationship.Create",
    "relationship.updated": "Microsoft.DigitalTwins.Relationship.Update",
    "relationship.deleted": "Microsoft.DigitalTwins.Relationship.Delete",
}
TYPES = frozenset({*GRAPH_TYPES.values(), TELEMETRY})
"""Every type of notification."""

ROLES = {"property": TWIN_UPDATE, "telemetry": TELEMETRY}
RESTATED = ("$etag", "$relationshipId", "$sourceId")
"""What a relationship's patch does not name: it follows from the act, or never changes."""
SAFE = "!$&'()*+,=@-._"
DIGITS = 19

Components = Callable[[str], Mapping[str, str]]
"""The models of a model's components, by dotted path."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How events name where they come from: `source` is ours, and `components` knows the models of parts.

    `generation` is that of the database: change numbers repeat after a restore, and it does not.
    """

    source: str
    generation: str
    components: Components


class Notification(NamedTuple):
    """One event, the position in its change at which it begins, and the twin that it tells of."""

    position: int
    twin: str
    event: dict[str, Any]


class _Place(NamedTuple):
    """What names an event for good."""

    generation: str
    change_no: int
    position: int


@dataclass(slots=True)
class _Group:
    """Samples of one chunk that make one notification: their positions, the first of which names it."""

    twin: TwinName
    component: str
    positions: list[int] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)


def notifications(
    told: Told, known: Known, naming: Naming, start: int, types: frozenset[str]
) -> Iterator[Notification]:
    """Yield the notifications of a change that begin at `start` or later and are of these types, in order.

    What tells only of the past is not told: a late value of a property, or one that corrects the past. Nor are a
    new twin's first values, which its creation tells. Telemetry is told whatever its time.
    """
    change, batch = told
    if batch is not None:
        yield from _of_chunk(change, batch, known, naming, start=start, types=types)
    elif start == 0 and GRAPH_TYPES.get(change.kind) in types:
        event = _of_graph(change, known, naming)
        if event is not None:
            yield Notification(0, change.payload()["twin"], event)


def _of_graph(change: Change, known: Known, naming: Naming) -> dict[str, Any] | None:
    payload = change.payload()
    twin_id = payload["twin"]
    data: dict[str, Any] | None
    if "relationship" in payload:
        subject = f"{twin_id}/relationships/{payload['relationship']}"
        data = _relationship_data(change.kind, payload, known)
    else:
        subject = twin_id
        data = _twin_data(change.kind, payload)
    if data is None:
        return None
    kind = GRAPH_TYPES[change.kind]
    about = {"subject": subject, "time": iso_us(change.recorded_us)}
    if "traceparent" in payload:
        about["traceparent"] = payload["traceparent"]
    return _event(_Place(naming.generation, change.change_no, 0), kind, naming.source, data, **about)


def _twin_data(kind: str, payload: dict[str, Any]) -> dict[str, Any] | None:
    if kind != "twin.updated":
        return twin_document(payload)
    patch = []
    if "previousModel" in payload:
        patch.append({"op": "replace", "path": "/$metadata/$model", "value": payload["model"]})
    if "lifecycle" in payload:
        patch.append({"op": "replace", "path": "/$lifecycle", "value": payload["lifecycle"]["state"]})
    return {"modelId": payload["model"], "patch": patch} if patch else None


def _relationship_data(kind: str, payload: dict[str, Any], known: Known) -> dict[str, Any] | None:
    document, before = relationship_documents(payload)
    if kind != "relationship.updated":
        return document
    patch = _difference(before or {}, document)
    source = known.twins.get(payload["no"])
    return {"modelId": None if source is None else source.model_id, "patch": patch} if patch else None


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON Patch from one flat document to another, members in order."""
    patch: list[dict[str, Any]] = []
    for name in sorted({*before, *after} - {*RESTATED}):
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        if name not in after:
            patch.append({"op": "remove", "path": pointer})
        elif name not in before:
            patch.append({"op": "add", "path": pointer, "value": after[name]})
        elif before[name] != after[name]:
            patch.append({"op": "replace", "path": pointer, "value": after[name]})
    return patch


def _of_chunk(
    change: Change, batch: SampleBatch, known: Known, naming: Naming, *, start: int, types: frozenset[str]
) -> Iterator[Notification]:
    roles = {role for role, kind in ROLES.items() if kind in types}
    if not roles:
        return
    effects = effects_of(change).tolist()
    trace_at = traces_of(change)
    for group, role in _groups(batch, effects, known, roles):
        first = group.positions[0]
        if first < start:
            continue
        if role == "property":
            told = _update(change, batch, effects, known, naming, group)
        else:
            told = _telemetry(change, batch, known, naming, group)
        if (trace := trace_at(int(batch.recorded_us[first]))) is not None:
            told["traceparent"] = trace
        yield Notification(first, group.twin.twin_id, told)


def _groups(
    batch: SampleBatch, effects: list[int], known: Known, roles: set[str]
) -> list[tuple[_Group, str]]:
    """Gather samples of some roles: properties of a twin that one act changed, telemetry of one part and time.

    Samples of one role do not touch the groups of the other, so positions hang on neither. A path that comes
    again begins a new group, so that each group says one thing of each path.
    """
    open_groups: dict[tuple[Any, ...], _Group] = {}
    made: list[tuple[_Group, str]] = []
    rows = zip(batch.series.tolist(), batch.recorded_us.tolist(), batch.time_us.tolist(), strict=True)
    for position, (series, recorded_us, time_us) in enumerate(rows):
        twin_no = twin_no_of(series)
        path, role = known.paths[path_no_of(series)]
        twin = known.twins.get(twin_no)
        if twin is None or role not in roles:
            continue
        if role == "property":
            if not effects[position] & CURRENT or recorded_us == twin.created_us:
                continue
            key: tuple[Any, ...] = (twin_no, recorded_us)
            component = ""
        else:
            component = path.rpartition(".")[0]
            key = (twin_no, recorded_us, component, time_us)
        group = open_groups.get(key)
        if group is None or path in group.paths:
            group = open_groups[key] = _Group(twin, component)
            made.append((group, role))
        group.positions.append(position)
        group.paths.add(path)
    return made


def _update(
    change: Change, batch: SampleBatch, effects: list[int], known: Known, naming: Naming, group: _Group
) -> dict[str, Any]:
    patch = []
    for position in group.positions:
        path = "/" + known.paths[path_no_of(int(batch.series[position]))][0].replace(".", "/")
        if int(batch.kind[position]) == REMOVED:
            patch.append({"op": "remove", "path": path})
        else:
            op = "add" if effects[position] & FIRST else "replace"
            patch.append({"op": op, "path": path, "value": _value(batch, position)})
    data = {"modelId": group.twin.model_id, "patch": patch}
    place = _Place(naming.generation, change.change_no, group.positions[0])
    about = {"subject": group.twin.twin_id, "time": iso_us(int(batch.recorded_us[place.position]))}
    return _event(place, TWIN_UPDATE, naming.source, data, **about)


def _telemetry(
    change: Change, batch: SampleBatch, known: Known, naming: Naming, group: _Group
) -> dict[str, Any]:
    paths = [known.paths[path_no_of(int(batch.series[position]))][0] for position in group.positions]
    data = {
        path.rpartition(".")[2]: _value(batch, position)
        for path, position in zip(paths, group.positions, strict=True)
    }
    model_id = group.twin.model_id
    about: dict[str, Any] = {}
    if group.component:
        about["subject"] = group.component
        model_id = naming.components(model_id).get(group.component, model_id)
    place = _Place(naming.generation, change.change_no, group.positions[0])
    about |= {"time": iso_us(int(batch.time_us[place.position])), "dataschema": model_id}
    source = f"{naming.source}/{quote(group.twin.twin_id, safe=SAFE)}"
    return _event(place, TELEMETRY, source, data, **about)


def _value(batch: SampleBatch, position: int) -> Any:
    kind = int(batch.kind[position])
    doc = batch.docs[position] if kind == JSON and batch.docs is not None else None
    return decode(float(batch.num[position]), kind, None if doc is None else msgspec.json.decode(doc))


def _event(place: _Place, kind: str, source: str, data: dict[str, Any], **about: Any) -> dict[str, Any]:
    """Return a CloudEvent; `sequence` orders the events of a source as texts (the CloudEvents extension)."""
    generation, change_no, position = place
    return {
        "specversion": "1.0",
        "id": f"{generation}.{change_no}.{position}",
        "type": kind,
        "source": source,
        **about,
        "datacontenttype": "application/json",
        "sequence": f"{generation}.{change_no:0{DIGITS}}.{position:05}",
        "data": data,
    }
