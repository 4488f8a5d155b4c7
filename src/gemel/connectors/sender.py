"""A file to the server: batches in order, each resent until it is answered, resumed where it was left.

One request is under way while the next batch is read. The server keeps the position in the commit of the
batch it stands behind, so what is resumed from never runs ahead of what is stored; and since the platform
knows again what it has, sending a batch twice does no harm.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from gemel.base.errors import (
    EnvironmentFaultError,
    GemelError,
    InvalidError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from gemel.connectors.events import Event
from gemel.connectors.files import Batch, FileSource, Position

__all__ = ["IngestSummary", "RejectedRow", "SendOptions", "Server", "send_file"]

DELAY_FIRST_S: Final = 0.2
DELAY_MAX_S: Final = 10.0
EXAMPLES_MAX: Final = 10
T = TypeVar("T")
COUNTS: Final = ("events", "accepted", "late", "duplicate", "corrected", "quarantined")


class Server(Protocol):
    """What is needed of an HTTP client: calls one gemel, and raises refusals as the errors they are."""

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer; `options` are httpx's. Raises GemelError, ServerUnreachable for no answer."""


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How to send: events and bytes of a request, whether to create twins, how long to try one request."""

    events_max: int = 5000
    body_bytes_max: int = 4 << 20
    create_twins: bool = False
    patience_s: float = 120.0


class RejectedRow(msgspec.Struct, frozen=True):
    """One event that went to quarantine: its id (source, file, row, twin), why, and its number there."""

    id: str
    code: str
    message: str
    quarantine: int | None


@dataclass(slots=True)
class IngestSummary:
    """What became of a file so far.

    `rows` were read; `empty` of them, counted per twin, had no value and made no event. `accepted`, `late`,
    `duplicate` and `corrected` count values, `quarantined` events. `codes` counts the reasons of quarantine
    and `examples` has the first of them. `unseen_columns` are those of the mapping that no row had a value
    for. `resumed_row` is the row behind which an earlier attempt is taken up, 0 from the beginning.
    """

    source: str
    bytes_total: int
    resumed_row: int = 0
    bytes_done: int = 0
    rows: int = 0
    empty: int = 0
    events: int = 0
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    corrected: int = 0
    quarantined: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    examples: list[RejectedRow] = field(default_factory=list)
    unseen_columns: tuple[str, ...] = ()
    requests: int = 0
    retries: int = 0
    elapsed_s: float = 0.0


def send_file(
    server: Server,
    source: FileSource,
    options: SendOptions,
    on_progress: Callable[[IngestSummary], None] | None = None,
    on_wait: Callable[[GemelError, float], None] | None = None,
) -> IngestSummary:
    """Send a file from where an earlier attempt was left, or from its beginning, and return the counts.

    `on_progress` is called after each answered batch with the counts so far, `on_wait` (from another thread)
    before a request is tried again, with the reason and the wait in seconds. A file that is already in, whole,
    is sent again from its beginning and counts as duplicate.
    Raises InvalidError (MappingInvalid, FileUnreadable, FileChanged), and what the server refuses; a request
    that found it busy, starting or gone is tried again for `options.patience_s`.
    """
    return _Sending(server, source, options, on_wait or (lambda error, wait_s: None)).run(on_progress)


class _Rejected(msgspec.Struct):
    index: int
    code: str
    message: str
    quarantine: int | None = None


class _Answer(msgspec.Struct):
    events: int
    accepted: int
    late: int
    duplicate: int
    corrected: int
    quarantined: int
    rejected: list[_Rejected]


class _Position(msgspec.Struct):
    position: str | None


class _Sending:
    """One run over a file."""

    def __init__(
        self,
        server: Server,
        source: FileSource,
        options: SendOptions,
        on_wait: Callable[[GemelError, float], None],
    ) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._on_wait = on_wait
        self._stopped = threading.Event()
        self._encoder = msgspec.json.Encoder()
        self._summary = IngestSummary(source.name, source.bytes_total)

    def run(self, on_progress: Callable[[IngestSummary], None] | None) -> IngestSummary:
        started_s = time.monotonic()
        self._check_models()
        summary = self._summary
        with ThreadPoolExecutor(1, "gemel-send") as pool:
            try:
                batch = self._resume()
                under_way: tuple[Batch, Future[None]] | None = None
                while batch is not None or under_way is not None:
                    # The batch behind is read first: where there is none, this one's position is the end.
                    following = self._next() if batch is not None else None
                    if under_way is not None:
                        under_way[1].result()
                        summary.bytes_done = under_way[0].bytes_done
                        summary.elapsed_s = time.monotonic() - started_s
                        if on_progress:
                            on_progress(summary)
                    under_way = None
                    if batch is not None:
                        position = batch.position if following else self._source.position
                        under_way = (batch, pool.submit(self._deliver, batch, position))
                    batch = following
            finally:
                self._stopped.set()
        summary.bytes_done = self._source.bytes_done
        summary.unseen_columns = () if summary.resumed_row else self._source.unseen_columns
        summary.elapsed_s = time.monotonic() - started_s
        return summary

    def _check_models(self) -> None:
        mapping = self._source.mapping
        if not self._options.create_twins:
            return
        for index, rule in enumerate(mapping.twins):
            if rule.model is None:
                raise InvalidError(
                    "MappingInvalid",
                    f"{mapping.file}: twins[{index}].model: is missing, and twins are to be created.",
                    "Add the model's DTMI there, or create the twins first.",
                )

    def _resume(self) -> Batch | None:
        """Return the first batch: behind the position that the server keeps, if there is more behind it."""
        path = f"/v1/sources/{quote(self._source.name, safe='')}/position"
        kept = self._decoded(self._tried("GET", path, {}, b""), _Position).position
        position = Position.parse(kept) if kept is not None else None
        if position is not None:
            self._source.seek(position)
            if (batch := self._next()) is not None:
                self._summary.resumed_row = position.row
                return batch
            self._source.rewind()
            self._summary.rows = self._summary.empty = 0
        return self._next()

    def _next(self) -> Batch | None:
        """Return the next batch that has events."""
        while (batch := self._source.next_batch(self._options.events_max)) is not None:
            self._summary.rows += batch.rows
            self._summary.empty += batch.empty
            if batch.parts:
                return batch
        return None

    def _deliver(self, batch: Batch, position: Position) -> None:
        """Send a batch's events, those of each model apart; the position goes with the last of them."""
        for index, part in enumerate(batch.parts):
            headers = {
                "Content-Type": "application/x-ndjson",
                "Gemel-Source": self._source.name,
                "Gemel-File": quote(self._source.path.name),
                "Gemel-Mapping": quote(self._source.mapping.label),
            }
            if self._options.create_twins and part.model is not None:
                headers["Gemel-Create-Model"] = part.model
            self._post(part.events, headers, position if index == len(batch.parts) - 1 else None)

    def _post(self, events: Sequence[Event], headers: dict[str, str], position: Position | None) -> None:
        """Send events in one request, or in halves where that is too large for the server or for us."""
        body = self._encoder.encode_lines(events)
        if len(body) <= self._options.body_bytes_max or len(events) == 1:
            own = headers if position is None else {**headers, "Gemel-Position": str(position)}
            try:
                answer = self._decoded(self._tried("POST", "/v1/events", own, body), _Answer)
            except TooLargeError:
                if len(events) == 1:
                    raise
            else:
                self._count(events, answer)
                return
        middle = len(events) // 2
        self._post(events[:middle], headers, None)
        self._post(events[middle:], headers, position)

    def _tried(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Call the server until it answers, waiting longer from time to time, or as long as it says."""
        deadline_s = time.monotonic() + self._options.patience_s
        delay_s = DELAY_FIRST_S
        while True:
            try:
                return self._server.send(method, path, headers=headers, content=body).content
            except (OverloadedError, UnavailableError) as refused:
                error: GemelError = refused
                wait_s = max(delay_s, float(refused.retry_after_s))
            except EnvironmentFaultError as unreached:
                # Who has not answered yet is more likely not there at all than gone for a moment.
                if unreached.code != "ServerUnreachable" or method == "GET":
                    raise
                error, wait_s = unreached, delay_s
            if time.monotonic() + wait_s > deadline_s:
                raise error
            self._summary.retries += 1
            self._on_wait(error, wait_s)
            if self._stopped.wait(wait_s):
                raise error
            delay_s = min(delay_s * 2, DELAY_MAX_S)

    def _count(self, events: Sequence[Event], answer: _Answer) -> None:
        summary = self._summary
        summary.requests += 1
        for name in COUNTS:
            setattr(summary, name, getattr(summary, name) + getattr(answer, name))
        codes = Counter(summary.codes)
        codes.update(rejected.code for rejected in answer.rejected)
        summary.codes = dict(codes)
        for rejected in answer.rejected[: max(0, EXAMPLES_MAX - len(summary.examples))]:
            event_id = events[rejected.index].id
            row = RejectedRow(event_id, rejected.code, rejected.message, rejected.quarantine)
            summary.examples.append(row)

    @staticmethod
    def _decoded(content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            message = f"What answers is not a gemel: {error}."
            raise EnvironmentFaultError("ServerUnreachable", message, "Check --url and GEMEL_URL.") from error
