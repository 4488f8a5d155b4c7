"""Between our values and the messages of gemel.proto."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

import gemel.rpc.gemel_pb2 as pb
from gemel.api.failures import as_error
from gemel.base.errors import GemelError
from gemel.history.values import QUALITIES
from gemel.ingest.requests import IngestResult

__all__ = ["ack_of", "event_json", "failed_ack", "moment_texts", "sample_of", "time_text"]


def event_json(event: Any) -> bytes:
    """Return an event as the JSON event that it is as good as."""
    told: dict[str, Any] = {"specversion": "1.0"}
    for name in ("id", "source", "type", "subject"):
        if getattr(event, name):
            told[name] = getattr(event, name)
    if event.HasField("time"):
        told["time"] = time_text(event.time)
    if event.revision:
        told["revision"] = event.revision
    if event.quality:
        known = 0 <= event.quality < len(QUALITIES)
        told["quality"] = QUALITIES[event.quality] if known else event.quality
    told["data"] = {path: _value(value) for path, value in event.data.items()}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def time_text(time: Any) -> str:
    """Return a Timestamp as RFC 3339, cut to microseconds; one out of all range is no valid time."""
    us = time.seconds * 1_000_000 + time.nanos // 1000
    return f"{np.datetime64(us, 'us')}Z" if -(2**62) < us < 2**62 else f"{time.seconds} s"


def moment_texts(moment: Any) -> tuple[str | None, str | None]:
    """Return `as_of` and `known_at` of a Moment."""
    as_of = time_text(moment.as_of) if moment.HasField("as_of") else None
    return as_of, time_text(moment.known_at) if moment.HasField("known_at") else None


def sample_of(row: dict[str, Any]) -> pb.Sample:
    """Return a raw row of history, times in µs, as a Sample."""
    sample = pb.Sample(
        path=row["path"], quality=pb.Quality.Value(row["quality"].upper()), revision=max(0, row["revision"])
    )
    sample.time.FromMicroseconds(row["time"])
    sample.recorded.FromMicroseconds(row["recorded"])
    if not row["removed"]:
        _set(sample.value, row["value"])
    return sample


def ack_of(number: int, result: IngestResult) -> pb.IngestAck:
    """Return the answer to a batch that was taken."""
    return pb.IngestAck(
        number=number,
        events=result.events,
        accepted=result.accepted,
        late=result.late,
        duplicate=result.duplicate,
        corrected=result.corrected,
        quarantined=result.quarantined,
        rejected=_rejected(result),
    )


def failed_ack(number: int, error: GemelError) -> pb.IngestAck:
    """Return the answer to a batch that was refused."""
    known = as_error(error)
    text = known.message + (f" {known.hint}" if known.hint else "")
    return pb.IngestAck(number=number, failure=pb.Failure(code=known.code, message=_clean(text)))


def _rejected(result: IngestResult) -> Sequence[pb.Rejected]:
    return [
        pb.Rejected(
            index=each.index, code=each.code, message=_clean(each.message), quarantine=each.quarantine or 0
        )
        for each in result.rejected
    ]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _value(value: Any) -> Any:
    """Return a Value as JSON has it; None, which fits nowhere, for one of no kind."""
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    held = getattr(value, kind)
    if kind != "json":
        return held
    try:
        return json.loads(held)
    except (ValueError, RecursionError):
        return held  # a text, which fits where a text does


def _set(target: Any, value: Any) -> None:
    if isinstance(value, bool):
        target.flag = value
    elif isinstance(value, int):
        target.integer = value
    elif isinstance(value, float):
        target.number = value
    elif isinstance(value, str):
        target.text = value
    else:
        target.json = msgspec.json.encode(value).decode()
