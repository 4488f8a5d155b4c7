"""The gRPC server: every method of gemel.proto, over the services that the HTTP API has."""

from __future__ import annotations

from typing import Any

import grpc

import gemel.rpc.gemel_pb2 as pb
from gemel.api.services import Services
from gemel.base.errors import EnvironmentFaultError
from gemel.observe.logs import get_log
from gemel.rpc.calls import Method, Served
from gemel.rpc.changes import subscribe
from gemel.rpc.ingest import BatchTaker, position
from gemel.rpc.reading import get_twin, history, last_values, query
from gemel.security.principal import Scope
from gemel.security.tls import TlsFiles

__all__ = ["SERVICE", "RpcServer", "methods_of"]

SERVICE = "gemel.v1.Gemel"
CALLS_MAX = 256
SPARE_BYTES = 64 << 10
"""What a batch's message has beside its body."""

log = get_log(__name__)


def methods_of(services: Services) -> list[Method]:
    """Return the methods that are served."""
    taker = BatchTaker(services.settings.in_flight_bytes_max)
    read, ingest = Scope.READ, Scope.INGEST
    return [
        Method("Ingest", ingest, "events.ingest", pb.IngestBatch, pb.IngestAck, taker.run, True, True),
        Method("Position", ingest, None, pb.PositionRequest, pb.PositionReply, position),
        Method("GetTwin", read, None, pb.TwinRequest, pb.Twin, get_twin),
        Method("LastValues", read, None, pb.TwinRequest, pb.Samples, last_values),
        Method("Query", read, None, pb.QueryRequest, pb.QueryPage, query, answers_in_stream=True),
        Method("History", read, None, pb.HistoryRequest, pb.Samples, history, answers_in_stream=True),
        Method("Subscribe", read, None, pb.SubscribeRequest, pb.Change, subscribe, answers_in_stream=True),
    ]


class RpcServer:
    """Serves on one address, by TLS alone where files are given."""

    def __init__(self, services: Services, address: str, tls: TlsFiles | None) -> None:
        self._address = address
        self._tls = tls
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=CALLS_MAX,
            options=(
                ("grpc.max_receive_message_length", services.settings.body_bytes_max + SPARE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ),
        )
        handlers = {method.name: _handler(services, method) for method in methods_of(services)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def start(self) -> int:
        """Listen, and return the port. Raises EnvironmentFaultError (PortInUse)."""
        try:
            port = self._listen()
        except RuntimeError as error:
            raise EnvironmentFaultError(
                "PortInUse", f"Cannot listen for gRPC on {self._address}.", "Choose another with --grpc-port."
            ) from error
        await self._server.start()
        log.info("serving gRPC", address=self._address, port=port, tls=self._tls is not None)
        return port

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, and end those that go on once `grace_s` is over."""
        await self._server.stop(grace_s)

    def _listen(self) -> int:
        if self._tls is None:
            return int(self._server.add_insecure_port(self._address))
        pair = (self._tls.key.read_bytes(), self._tls.certificate.read_bytes())
        return int(self._server.add_secure_port(self._address, grpc.ssl_server_credentials([pair])))


def _handler(services: Services, method: Method) -> Any:
    served = Served(services, method)
    codec = {
        "request_deserializer": method.request.FromString,
        "response_serializer": method.reply.SerializeToString,
    }
    if method.asks_in_stream:
        return grpc.stream_stream_rpc_method_handler(served.many, **codec)
    if method.answers_in_stream:
        return grpc.unary_stream_rpc_method_handler(served.many, **codec)
    return grpc.unary_unary_rpc_method_handler(served.one, **codec)
