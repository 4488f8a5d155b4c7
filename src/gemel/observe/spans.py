"""Commits as OpenTelemetry spans, sent by OTLP over HTTP: one for each request, and one in it for each stage.

Made after the commit, of what was timed anyway, and handed to a thread of the library: nothing waits for it. So are
deliveries of what commits told.
Source: OpenTelemetry's semantic conventions of messaging, where a consumer's span links what it took together.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from gemel.base.errors import EnvironmentFaultError
from gemel.observe.trace import TRACEPARENT, Trace

__all__ = ["SpanExport", "Spanned", "open_export"]

LINKS_MAX: Final = 32
IDS: Final = random.Random()  # noqa: S311 - ids of spans hide nothing


class Spanned(Protocol):
    """One request of a commit, as its span tells it."""

    @property
    def trace(self) -> Trace:
        """What its commit went on with."""

    @property
    def links(self) -> Sequence[str]:
        """The `traceparent` of events that named others."""

    @property
    def told(self) -> Mapping[str, str | int]:
        """What the span says of it."""


class SpanExport:
    """Makes spans of commits and sends them in batches; what finds no room in the queue is dropped."""

    def __init__(self, processor: Any, resource: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan

        self._api = trace
        self._span = ReadableSpan
        self._processor = processor
        self._resource = resource

    def commit(self, request: Spanned, stages: Sequence[tuple[str, float, float]]) -> None:
        """Send the span of a request, unless nobody records its trace; `stages` in seconds of time.perf_counter."""
        trace = request.trace
        if not trace.is_sampled or not stages:
            return
        ahead_s = time.time() - time.perf_counter()
        own = self._context(trace.trace_id, trace.span_id)
        parent = None if trace.parent_id is None else self._context(trace.trace_id, trace.parent_id)
        whole = (stages[0][1] + ahead_s, max(end_s for _, _, end_s in stages) + ahead_s)
        self._end(
            ("gemel.ingest", own, parent),
            whole,
            kind=self._api.SpanKind.CONSUMER,
            attributes=dict(request.told),
            links=[self._api.Link(context) for context in self._linked(request.links)],
        )
        for name, begun_s, end_s in stages:
            context = self._context(trace.trace_id, f"{IDS.getrandbits(64) or 1:016x}")
            self._end((f"gemel.{name}", context, own), (begun_s + ahead_s, end_s + ahead_s))

    def delivery(
        self,
        traces: Sequence[str | None],
        times_s: tuple[float, float],
        told: Mapping[str, str | int],
        error: str | None = None,
    ) -> None:
        """Send a span for each recorded trace that a batch of notifications is of, within that of its commit.

        `traces` are the `traceparent` of the notifications, `times_s` begin and end in seconds of time.perf_counter,
        `told` what the spans say, and `error` why the batch was not acknowledged.
        """
        ahead_s = time.time() - time.perf_counter()
        begin_s, end_s = (each + ahead_s for each in times_s)
        status = self._api.Status() if error is None else self._api.Status(self._api.StatusCode.ERROR, error)
        for traceparent, count in list(Counter(each for each in traces if each).items())[:LINKS_MAX]:
            match = TRACEPARENT.fullmatch(traceparent)
            if match is None or not int(match[4], 16) & 1:
                continue
            own = self._context(match[2], f"{IDS.getrandbits(64) or 1:016x}")
            self._end(
                ("gemel.deliver", own, self._context(match[2], match[3])),
                (begin_s, end_s),
                kind=self._api.SpanKind.PRODUCER,
                attributes={**told, "gemel.notifications": count},
                status=status,
            )

    def close(self) -> None:
        """Send what is left, and end."""
        self._processor.shutdown()

    def _end(self, named: tuple[str, Any, Any], times_s: tuple[float, float], **options: Any) -> None:
        begin_ns, end_ns = (int(each * 1e9) for each in times_s)
        self._processor.on_end(
            self._span(*named, self._resource, start_time=begin_ns, end_time=end_ns, **options)
        )

    def _context(self, trace_id: str, span_id: str) -> Any:
        flags = self._api.TraceFlags(self._api.TraceFlags.SAMPLED)
        return self._api.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)

    def _linked(self, links: Sequence[str]) -> Iterator[Any]:
        for traceparent in list(dict.fromkeys(links))[:LINKS_MAX]:
            match = TRACEPARENT.fullmatch(traceparent)
            if match is not None:
                yield self._context(match[2], match[3])


def open_export(url: str, version: str) -> SpanExport:
    """Return an export to a collector, as in http://127.0.0.1:4318/v1/traces.

    Its headers, if any, are those of OTEL_EXPORTER_OTLP_HEADERS.
    Raises EnvironmentFaultError (ExtraMissing) without the libraries.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise EnvironmentFaultError(
            "ExtraMissing",
            "GEMEL_OTLP_URL needs OpenTelemetry's exporter, which is not installed.",
            "`pip install 'gemel[otel]'`.",
        ) from error
    resource = Resource.create({"service.name": "gemel", "service.version": version})
    return SpanExport(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)), resource)
