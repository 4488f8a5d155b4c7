"""A collector of spans, by OTLP over HTTP."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector"]

WAIT_S = 20.0


class Collector:
    """A collector of the tests: keeps the spans that came, by name."""

    def __init__(self) -> None:
        collected = self
        self.spans: list[Any] = []
        self.resources: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/x-protobuf"
                told = ExportTraceServiceRequest.FromString(body)
                for part in told.resource_spans:
                    collected.resources.append(part.resource)
                    for scope in part.scope_spans:
                        collected.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, trace_id: str) -> list[Any]:
        return [span for span in self.spans if span.trace_id.hex() == trace_id]

    def wait(self, trace_id: str, name: str = "gemel.ingest") -> list[Any]:
        """Return the spans of a trace, once one of a name is there."""
        end_s = time.monotonic() + WAIT_S
        while not any(span.name == name for span in self.of(trace_id)):
            assert time.monotonic() < end_s, "no span came"
            time.sleep(0.02)
        return self.of(trace_id)
