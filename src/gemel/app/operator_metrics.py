"""Metrics of all tenants, for the operator: a small server on the loopback address alone, without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gemel.base.errors import EnvironmentFaultError
from gemel.observe.metrics import CONTENT_TYPE

__all__ = ["serve_metrics"]

HOST = "127.0.0.1"
REQUEST_BYTES_MAX = 8192
PATIENCE_S = 5.0


async def serve_metrics(port: int, page: Callable[[], bytes]) -> asyncio.Server:
    """Serve GET /metrics on the loopback address; raise EnvironmentFaultError (PortInUse)."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(head, page))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    try:
        return await asyncio.start_server(answer, HOST, port, limit=REQUEST_BYTES_MAX)
    except OSError as error:
        message = f"Cannot listen on {HOST}:{port}: {error.strerror}."
        raise EnvironmentFaultError("PortInUse", message, "Choose another GEMEL_METRICS_PORT.") from error


def _answer(head: bytes, page: Callable[[], bytes]) -> bytes:
    method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path != b"/metrics" or method not in (b"GET", b"HEAD"):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = page()
    fields = f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + fields.encode() + (body if method == b"GET" else b"")
