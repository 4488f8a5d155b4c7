"""The HTTP server: uvicorn, which ends our streams before it waits for what is in work."""

from __future__ import annotations

import socket

import uvicorn

from gemel.api.application import Application

__all__ = ["ApiServer"]


class ApiServer(uvicorn.Server):
    """Serves the Application of its configuration; `await server.serve()` runs it until it is told to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, end the streams, and wait for what is in work."""
        app = self.config.app
        if isinstance(app, Application):
            app.end_streams()
        await super().shutdown(sockets)
