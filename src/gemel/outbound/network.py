"""Connections for httpcore: names are resolved here, every address is checked, and a checked one is connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore
from httpcore import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from gemel.outbound.policy import OutboundPolicy

__all__ = ["CheckedNetwork", "Resolver", "resolve"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a host, as the system's resolver gives them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedNetwork(AsyncNetworkBackend):
    """Connects to a host only if the policy takes all of its addresses, and without resolving again."""

    def __init__(self, policy: OutboundPolicy, resolver: Resolver) -> None:
        self._policy = policy
        self._resolver = resolver
        self._sockets = AnyIOBackend()

    async def check(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that may be called.

        Raises InvalidError (OutboundRefused), OSError where the name has no address.
        """
        addresses = list(await self._resolver(host, port))
        if not addresses:
            raise OSError(f"{host} has no address")
        self._policy.check(host, port, addresses)
        return addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first address of a host that answers, `timeout` seconds for all of them together."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self.check(host, port)
                return await self._connect(addresses, port, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def _connect(
        self, addresses: Sequence[str], port: int, options: Iterable[SOCKET_OPTION] | None
    ) -> AsyncNetworkStream:
        failed = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(address, port, socket_options=options)
            except httpcore.ConnectError as error:
                failed = error
        raise failed
