"""A live twin in memory: its row and its properties, and the document that the API gives of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gemel.base.clock import iso_us
from gemel.base.errors import NotFoundError
from gemel.graph.content import LIFECYCLE, METADATA, MODEL, SOURCE_TIME
from gemel.graph.etag import etag
from gemel.graph.lifecycle import ACTIVE
from gemel.graph.timeline import FOREVER_US
from gemel.history.state import StateValue

__all__ = ["Held", "LiveTwin", "TwinDocument", "TwinRow", "check_component"]

LAST_UPDATE = "lastUpdateTime"
TWIN_LAST_UPDATE = "$lastUpdateTime"


class Held(NamedTuple):
    """The last sample of a property; `removed` where it says that the property is not there."""

    value: Any
    removed: bool
    source_time_us: int
    recorded_us: int


class TwinRow(NamedTuple):
    """A twin without its values.

    `floor_us`: before it, the id belonged to an earlier twin, deleted then. `decommissioned_us`: from it on,
    the twin is decommissioned, and has no samples.
    """

    twin_no: int
    twin_id: str
    model_id: str
    components: dict[str, str]
    valid_from_us: int
    created_us: int
    recorded_us: int
    floor_us: int
    lifecycle: str = ACTIVE
    decommissioned_us: int = FOREVER_US


@dataclass(frozen=True, slots=True)
class TwinDocument:
    """What the API gives of a twin or component, and its entity tag."""

    body: dict[str, Any]
    etag: str


@dataclass(slots=True)
class LiveTwin:
    """A twin as one transaction sees it, and leaves it."""

    row: TwinRow
    properties: dict[str, Held] = field(default_factory=dict)

    @classmethod
    def of(cls, row: TwinRow, state: Iterable[StateValue]) -> LiveTwin:
        """Return the twin of a row and the last samples of its series; telemetry is passed over."""
        held = {
            value.path: Held(value.value, value.removed, value.source_time_us, value.recorded_us)
            for value in state
            if value.role == "property"
        }
        return cls(row, held)

    @property
    def version_us(self) -> int:
        """The recorded time of the newest change that took effect."""
        return max([self.row.recorded_us, 0, *[held.recorded_us for held in self.properties.values()]])

    @property
    def etag(self) -> str:
        """The entity tag of this version."""
        return etag(self.row.twin_no, self.version_us)

    def document(self) -> TwinDocument:
        """Return the whole twin."""
        version_us = self.version_us
        tag = etag(self.row.twin_no, version_us)
        body: dict[str, Any] = {"$dtId": self.row.twin_id, "$etag": tag, LIFECYCLE: self.row.lifecycle}
        places = self._nest(body)
        times: dict[str, dict[str, Any]] = {owner: {} for owner in places}
        newest = dict.fromkeys(places, self.row.created_us)
        for path, held in self.properties.items():
            owner, _, name = path.rpartition(".")
            if owner not in places:
                continue
            newest[owner] = max(newest[owner], held.recorded_us)
            if not held.removed:
                places[owner][name] = held.value
                times[owner][name] = _times(held)
        newest[""] = version_us
        for owner, place in places.items():
            model = {} if owner else {MODEL: self.row.model_id}
            place[METADATA] = {**model, TWIN_LAST_UPDATE: iso_us(newest[owner]), **times[owner]}
        return TwinDocument(body, tag)

    def component(self, path: str) -> TwinDocument:
        """Return one component. Raises NotFoundError (ComponentNotFound)."""
        check_component(self.row, path)
        body = self.document().body
        for step in path.split("."):
            body = body[step]
        return TwinDocument(body, self.etag)

    def plain(self) -> dict[str, Any]:
        """Return the document that a JSON Patch is applied to: values and the model, without times."""
        body: dict[str, Any] = {}
        places = self._nest(body)
        for owner, place in places.items():
            place[METADATA] = {} if owner else {MODEL: self.row.model_id}
        for path, held in self.properties.items():
            owner, _, name = path.rpartition(".")
            if not held.removed and owner in places:
                places[owner][name] = held.value
        return body

    def _nest(self, body: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Make an object for each component in `body`; return them by path, the body itself by ""."""
        places = {"": body}
        for path in sorted(self.row.components):
            owner, _, name = path.rpartition(".")
            places[path] = places[owner][name] = {}
        return places


def check_component(row: TwinRow, path: str) -> None:
    """Raise NotFoundError (ComponentNotFound) where a twin has no component at this dotted path."""
    if path not in row.components:
        raise NotFoundError("ComponentNotFound", f"{row.twin_id} does not have component {path}.")


def _times(held: Held) -> dict[str, str]:
    return {LAST_UPDATE: iso_us(held.recorded_us), SOURCE_TIME: iso_us(held.source_time_us)}
