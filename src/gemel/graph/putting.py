"""What a PUT asks of a twin, and the twin that it makes or leaves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from msgspec import UNSET

from gemel.base.errors import GemelError, InvalidError
from gemel.graph.changing import Change, Limits, Outcome, as_stored, change_twin, time_fault
from gemel.graph.content import LIFECYCLE, METADATA, VALID_FROM, parse_time_us, raise_faults, read_twin
from gemel.graph.lifecycle import ACTIVE, LIFECYCLE_HINT, check_state
from gemel.graph.live import LiveTwin, TwinRow
from gemel.history.values import Encoded, encode
from gemel.models import TwinType

__all__ = ["Put", "born", "created", "foresee_values", "read_put", "replaced", "valid_from_of"]


class Put(NamedTuple):
    """A PUT of a twin, read against the type it is to have; `lifecycle` is what it states, or UNSET.

    `stored` are its values in their stored form, where they are known already and have no times of their own.
    """

    twin_id: str
    change: Change
    lifecycle: Any
    valid_from_us: int | None
    stored: tuple[Mapping[str, Any], Sequence[Encoded]] | None = None


def valid_from_of(body: Any) -> int | None:
    """Return the `$metadata.$validFrom` of a twin's body in µs, or None where there is none.

    Raises InvalidError (InvalidArgument) where it is not an RFC 3339 time with a zone.
    """
    metadata = body.get(METADATA) if isinstance(body, dict) else None
    if not isinstance(metadata, dict) or VALID_FROM not in metadata:
        return None
    time_us = parse_time_us(metadata[VALID_FROM])
    if time_us is None:
        raise InvalidError("InvalidArgument", "$metadata.$validFrom is not an RFC 3339 time with a zone.")
    return time_us


def read_put(
    twin_id: str, body: Mapping[str, Any], twin_type: TwinType, valid_from_us: int | None = None
) -> Put:
    """Read a twin's whole body; `valid_from_us` wins over what it says of it.

    Raises InvalidError (ValidationFailed, InvalidArgument).
    """
    valid_from_us = valid_from_of(body) if valid_from_us is None else valid_from_us
    content = read_twin(body, twin_type)
    raise_faults(content)
    change = Change(twin_type, content.values, times_us=content.times_us, restamped=True)
    return Put(twin_id, change, body.get(LIFECYCLE, UNSET), valid_from_us)


def created(put: Put, twin_no: int, floor_us: int, stamp_us: int, limits: Limits) -> Outcome:
    """Return the new twin that a PUT makes: active unless it says otherwise.

    Before `floor_us` its id was another's. Raises InvalidError (InvalidArgument, ValidationFailed).
    """
    row, at_us = born(put, (twin_no, floor_us), stamp_us, limits)
    change = put.change
    if put.valid_from_us is not None:
        change = Change(
            change.twin_type, change.values, times_us=change.times_us, at_us=at_us, restamped=True
        )
    return change_twin(LiveTwin(row), change, stamp_us, limits)


def foresee_values(put: Put) -> Put:
    """Return a PUT with its values in their stored form, where they have no times of their own and can be stored."""
    change = put.change
    if change.times_us:
        return put
    slots = change.twin_type.slots
    try:
        encoded = [encode(value, slots[path].storage) for path, value in change.values.items()]
    except GemelError:
        return put  # told where the twin is made
    held = {
        path: value if type(value) is str or type(value) is bool else as_stored(each)
        for (path, value), each in zip(change.values.items(), encoded, strict=True)
    }
    return put._replace(stored=(held, encoded))


def born(put: Put, place: tuple[int, int], stamp_us: int, limits: Limits) -> tuple[TwinRow, int]:
    """Return the row of the new twin that a PUT makes, and the source time (µs) of values that have none of their own.

    `place` is the twin's number, and until when its id was another's. Raises InvalidError as `created` does.
    """
    lifecycle = check_state(ACTIVE if put.lifecycle is UNSET else put.lifecycle)
    twin_no, floor_us = place
    start_us = at_us = stamp_us
    if put.valid_from_us is not None:
        start_us = _checked_start(put.valid_from_us, stamp_us, limits, floor_us)
        at_us = max(start_us, limits.earliest_us)
    twin_type = put.change.twin_type
    components = dict(twin_type.components)
    row = TwinRow(
        twin_no, put.twin_id, twin_type.model, components, start_us, stamp_us, stamp_us, floor_us, lifecycle
    )
    return row, at_us


def replaced(put: Put, before: LiveTwin, stamp_us: int, limits: Limits) -> Outcome:
    """Return what a PUT leaves of a twin that exists: properties that it does not name are removed.

    Its start can only move back. Raises InvalidError (InvalidArgument, ValidationFailed).
    """
    if put.lifecycle is not UNSET and put.lifecycle != before.row.lifecycle:
        raise InvalidError(
            "InvalidArgument",
            f"The twin {put.twin_id} is {before.row.lifecycle}, and a PUT does not change its $lifecycle.",
            LIFECYCLE_HINT,
        )
    kept = put.change.values.keys()
    removed = frozenset(
        path for path, held in before.properties.items() if not held.removed and path not in kept
    )
    outcome = change_twin(before, replace(put.change, removed=removed), stamp_us, limits)
    if put.valid_from_us is None:
        return outcome
    start_us = _checked_start(put.valid_from_us, stamp_us, limits, before.row.floor_us)
    row = outcome.twin.row
    row = row._replace(valid_from_us=min(start_us, row.valid_from_us))
    return Outcome(LiveTwin(row, outcome.twin.properties), outcome.samples)


def _checked_start(valid_from_us: int, stamp_us: int, limits: Limits, floor_us: int) -> int:
    fault = time_fault(valid_from_us, Limits(0, limits.latest_us), floor_us)
    if fault is not None:
        raise InvalidError("InvalidArgument", f"$metadata.$validFrom {fault.message}")
    return min(valid_from_us, stamp_us)
