"""Changes as events: which a reader wants, and what each tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from gemel.base.clock import iso_us
from gemel.history.changes import SAMPLES, Change, traces_of
from gemel.history.paths import PATH_BITS, path_no_of, twin_no_of
from gemel.history.samples import SampleBatch
from gemel.history.values import QUALITIES, REMOVED, decode
from gemel.routing.feed import Known, Told

__all__ = ["ChangeEvent", "Wanted", "events_of"]

SAMPLES_MAX = 500
"""How many samples one event has at most; a change with more becomes several."""

UNTOLD = ("whole", "version", "before")
"""What a change tells event routes only."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reader's filters: ids of twins and of models, their subtypes included; empty means all."""

    twins: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()

    def takes(self, twin_id: str | None, model_id: str | None) -> bool:
        """Say whether a change of this twin and model is wanted."""
        if self.twins and twin_id not in self.twins:
            return False
        return not self.models or model_id in self.models


class ChangeEvent(NamedTuple):
    """What is told of a change, or of a part of it: `number` is 0 where more of it follows."""

    number: int
    kind: str
    body: dict[str, Any]


def events_of(told: Told, known: Known, wanted: Wanted) -> Iterator[ChangeEvent]:
    """Yield the events of a change, none where it is not wanted.

    `traceparent` stands on the event, or on each of its samples where these are of several traces. Only the last
    event carries the change's number, so that a reader cut off within a change gets all of it again.
    """
    change, batch = told
    if batch is None:
        body = _told(change, known, wanted)
        if body is not None:
            yield ChangeEvent(change.change_no, change.kind, body)
        return
    positions = _wanted_positions(batch, known, wanted)
    trace_at = traces_of(change)
    for start in range(0, len(positions), SAMPLES_MAX):
        part = positions[start : start + SAMPLES_MAX]
        samples = [_sample(batch, int(position), known) for position in part]
        body = {"recorded": iso_us(change.recorded_us), "samples": samples}
        traces = [trace_at(each) for each in batch.recorded_us[part].tolist()]
        if traces.count(traces[0]) == len(traces):
            body |= _trace(traces[0])
        else:
            for sample, trace in zip(samples, traces, strict=True):
                sample.update(_trace(trace))
        last = start + SAMPLES_MAX >= len(positions)
        yield ChangeEvent(change.change_no if last else 0, SAMPLES, body)


def _trace(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"traceparent": traceparent}


def _told(change: Change, known: Known, wanted: Wanted) -> dict[str, Any] | None:
    """Return what a change of graph or models says, without our internal numbers."""
    payload = change.payload()
    twin_no = payload.pop("no", None)
    for member in UNTOLD:
        payload.pop(member, None)
    name = known.twins.get(twin_no) if twin_no is not None else None
    model_id = payload.get("model") or (name.model_id if name else None)
    ends = [payload.get("twin"), payload.get("target")] if "target" in payload else [payload.get("twin")]
    if not any(wanted.takes(end, model_id) for end in ends):
        return None
    if isinstance(payload.get("validFrom"), int):
        payload["validFrom"] = iso_us(payload["validFrom"])
    return {"recorded": iso_us(change.recorded_us), **payload}


def _wanted_positions(batch: SampleBatch, known: Known, wanted: Wanted) -> npt.NDArray[np.int64]:
    twin_nos = batch.series >> PATH_BITS
    taken = [
        twin_no
        for twin_no in np.unique(twin_nos).tolist()
        if (name := known.twins.get(twin_no)) is not None and wanted.takes(name.twin_id, name.model_id)
    ]
    return np.flatnonzero(np.isin(twin_nos, np.array(taken, np.int64)))


def _sample(batch: SampleBatch, position: int, known: Known) -> dict[str, Any]:
    series = int(batch.series[position])
    kind = int(batch.kind[position])
    doc = None if batch.docs is None else batch.docs[position]
    sample: dict[str, Any] = {
        "twin": known.twins[twin_no_of(series)].twin_id,
        "path": known.paths[path_no_of(series)][0],
        "value": decode(float(batch.num[position]), kind, None if doc is None else msgspec.json.decode(doc)),
        "sourceTime": iso_us(int(batch.time_us[position])),
        "quality": QUALITIES[int(batch.quality[position])],
        "revision": int(batch.revision[position]),
    }
    if kind == REMOVED:
        sample["removed"] = True
    return sample
