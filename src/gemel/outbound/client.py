"""Requests to others: checked addresses, redirects by hand, and a limit on time and size."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpcore
import httpx

import gemel
from gemel.base.errors import InvalidError, UnavailableError
from gemel.outbound.network import CheckedNetwork, Resolver, resolve
from gemel.outbound.policy import OutboundPolicy
from gemel.outbound.target import Target, parse_target

__all__ = ["Outbound", "OutboundAnswer"]

CONNECT_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 100
IDLE_S = 30.0
REDIRECTS_MAX = 5
CHUNK_BYTES = 1 << 16
REDIRECTS = {301, 302, 303, 307, 308}
KEEP_METHOD = {307, 308}
# To another origin only what describes the body goes along: any other header may hold a secret.
CARRIED = {"accept", "content-type", "content-length", "x-ms-blob-type"}
FAILURES = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)

Content = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class OutboundAnswer:
    """An answer: status, headers by lower-case name, and as much of the body as was asked for.

    `truncated` where the body was longer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    target: Target
    headers: Mapping[str, str]
    content: bytes | Content | None
    timeout_s: float = field(kw_only=True)


class Outbound:
    """Calls others over HTTP; one for each process and event loop.

    Proxies that the environment names are not used. Certificates are checked against the usual authorities, or
    those of SSL_CERT_FILE or SSL_CERT_DIR.
    """

    def __init__(
        self, policy: OutboundPolicy, *, resolver: Resolver = resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self.tls = tls
        self._network = CheckedNetwork(policy, resolver)
        self._connections: httpcore.AsyncConnectionPool | None = None

    async def aclose(self) -> None:
        """Close the connections that are kept for the next request."""
        if self._connections is not None:
            await self._connections.aclose()

    async def check(self, url: str) -> None:
        """Raise what a request to the URL would be refused with before anything is sent.

        Raises InvalidError (OutboundRefused), UnavailableError (OutboundFailed) where the name has no address.
        A later request checks again: an address that was good may have changed.
        """
        target = parse_target(url)
        try:
            await self.check_host(target.host, target.port)
        except OSError as error:
            raise _failed(target, error) from error

    async def check_host(self, host: str, port: int) -> None:
        """Raise InvalidError (OutboundRefused) for a host that may not be called, OSError without an address."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._network.check(host, port)

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        answer_bytes_max: int = 1 << 20,
    ) -> OutboundAnswer:
        """Send a request and return its answer, whatever its status; the time is for all of it.

        Redirects are followed where the method may be kept (GET and HEAD; others by 307 and 308); another
        redirect is the answer. Raises InvalidError (OutboundRefused), UnavailableError (OutboundFailed).
        """
        call = _Call(method.upper(), parse_target(url), headers or {}, content, timeout_s=timeout_s)
        async with self._answered(call) as response:
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > answer_bytes_max:
                    break
        names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return OutboundAnswer(
            response.status, names, bytes(body[:answer_bytes_max]), len(body) > answer_bytes_max
        )

    async def download(
        self, url: str, *, timeout_s: float, bytes_max: int, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes]:
        """Yield the body of a GET in chunks; the time is for all of it, the reader's own included.

        Whoever may stop before the end closes it (`contextlib.aclosing`).
        Raises InvalidError (OutboundRefused; LimitExceeded beyond `bytes_max`), UnavailableError
        (OutboundFailed) for trouble on the way and for an answer that is not 200.
        """
        call = _Call("GET", parse_target(url), headers or {}, None, timeout_s=timeout_s)
        received = 0
        async with self._answered(call) as response:
            if response.status != httpx.codes.OK:
                raise _failed(call.target, f"it answered {response.status}")
            async for chunk in response.aiter_stream():
                received += len(chunk)
                if received > bytes_max:
                    message = f"{call.target.origin} sent more than {bytes_max} bytes."
                    raise InvalidError("LimitExceeded", message)
                yield chunk

    async def upload(
        self,
        url: str,
        content: Content,
        length: int,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """PUT `length` bytes, which `content` yields anew whenever it is called.

        Raises InvalidError (OutboundRefused), UnavailableError (OutboundFailed) for trouble on the way and for
        an answer that is no success.
        """
        named = {"Content-Type": "application/octet-stream", **(headers or {}), "Content-Length": str(length)}
        call = _Call("PUT", parse_target(url), named, content, timeout_s=timeout_s)
        async with self._answered(call) as response:
            if not httpx.codes.is_success(response.status):
                raise _failed(call.target, f"it answered {response.status}")

    @asynccontextmanager
    async def _answered(self, call: _Call) -> AsyncIterator[httpcore.Response]:
        """Send a request, follow its redirects, and give the last answer's head, its body yet to be read."""
        try:
            async with asyncio.timeout(call.timeout_s):
                for _ in range(REDIRECTS_MAX + 1):
                    async with self._sent(call) as response:
                        following = _following(call, response)
                        if following is None:
                            yield response
                            return
                    call = following
                raise _failed(call.target, f"more than {REDIRECTS_MAX} redirects")
        except (*FAILURES, TimeoutError) as error:
            raise _failed(call.target, error) from error

    @asynccontextmanager
    async def _sent(self, call: _Call) -> AsyncIterator[httpcore.Response]:
        target = call.target
        headers = {"Host": target.authority, "Accept-Encoding": "identity", "User-Agent": _agent()}
        content = call.content() if callable(call.content) else call.content
        async with self._pool().stream(
            call.method,
            httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
            headers=[*headers.items(), *call.headers.items()],
            content=content,
            extensions={
                "timeout": {
                    "connect": min(CONNECT_TIMEOUT_S, call.timeout_s),
                    "pool": call.timeout_s,
                    "read": call.timeout_s,
                    "write": call.timeout_s,
                }
            },
        ) as response:
            yield response

    def _pool(self) -> httpcore.AsyncConnectionPool:
        if self._connections is None:
            self._connections = httpcore.AsyncConnectionPool(
                ssl_context=self.tls or httpx.create_ssl_context(),
                max_connections=CONNECTIONS_MAX,
                keepalive_expiry=IDLE_S,
                network_backend=self._network,
            )
        return self._connections


def _following(call: _Call, response: httpcore.Response) -> _Call | None:
    """Return the request that a redirect asks for, or None where the answer is none that is followed."""
    location = next((value for name, value in response.headers if name.lower() == b"location"), None)
    if response.status not in REDIRECTS or location is None:
        return None
    if call.method not in {"GET", "HEAD"} and response.status not in KEEP_METHOD:
        return None
    target = call.target.redirected(location.decode("latin-1"))
    if target.origin == call.target.origin:
        return replace(call, target=target)
    headers = {name: value for name, value in call.headers.items() if name.lower() in CARRIED}
    return replace(call, target=target, headers=headers)


def _agent() -> str:
    return f"gemel/{gemel.__version__}"


def _failed(target: Target, reason: object) -> UnavailableError:
    text = str(reason) or type(reason).__name__
    return UnavailableError(
        "OutboundFailed", f"{target.origin} could not be called: {text}.", "Look at it, then try again."
    )
