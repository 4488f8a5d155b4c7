"""The HTTP server: uvicorn, which ends our streams before it waits for what is in work."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn

from gemel.api.application import Application

__all__ = ["ApiServer"]

GOODBYE_S: Final = 0.5
"""How long a caller has to answer that a connection by TLS ends; one who idles on it does not."""


class ApiServer(uvicorn.Server):
    """Serves the Application of its configuration; `await server.serve()` runs it until it is told to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, end the streams, and wait for what is in work."""
        app = self.config.app
        if isinstance(app, Application):
            app.end_streams()
        hanging_up = asyncio.create_task(self._hang_up())
        try:
            await super().shutdown(sockets)
        finally:
            hanging_up.cancel()

    async def _hang_up(self) -> None:
        """Break connections that were ended a while ago and have nothing left to send, though nobody answered."""
        ended: set[asyncio.Transport] = set()
        while True:
            await asyncio.sleep(GOODBYE_S)
            transports = [connection.transport for connection in self.server_state.connections]
            for transport in ended.intersection(transports):
                if not transport.get_write_buffer_size():
                    transport.abort()
            ended = {transport for transport in transports if transport.is_closing()}
