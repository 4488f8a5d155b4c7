"""Admission: how many bytes of request bodies are held at once, decided before they are read.

A body is reserved by its Content-Length; one that names no length is reserved as its parts come in. What is
over the limit is refused at once with 429, so that memory stays bounded whatever is offered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from litestar.types import HTTPScope, Receive
from litestar.types.asgi_types import HTTPReceiveMessage, WebSocketReceiveMessage

from gemel.base.errors import InvalidError, OverloadedError, TooLargeError

__all__ = ["Admission", "Body"]

BODY_WAIT_S = 30.0
RETRY_AFTER_S = 1


class Admission:
    """The bytes of bodies that are in flight: at most `in_flight_max` in all, and `body_max` of one request.

    `watch` is told the new sum after each change.
    """

    def __init__(
        self, in_flight_max: int, body_max: int, watch: Callable[[int], object] = lambda _: None
    ) -> None:
        self.body_max = body_max
        # One body of the greatest size must be admissible when nothing else is there.
        self._in_flight_max = max(in_flight_max, body_max)
        self._in_flight = 0
        self._watch = watch

    @property
    def in_flight(self) -> int:
        """How many bytes are held or promised now."""
        return self._in_flight

    def reserve(self, count: int) -> None:
        """Hold room for some bytes; raise OverloadedError (Overloaded) where there is none."""
        if self._in_flight + count > self._in_flight_max:
            raise OverloadedError(
                "Overloaded",
                f"Bodies of {self._in_flight} bytes are in work; {self._in_flight_max} is the limit.",
                "Wait for Retry-After, then send it again; nothing of it was kept.",
                retry_after_s=RETRY_AFTER_S,
            )
        self._in_flight += count
        self._watch(self._in_flight)

    def release(self, count: int) -> None:
        """Give room back."""
        self._in_flight -= count
        self._watch(self._in_flight)

    def check_size(self, size: int) -> None:
        """Raise TooLargeError (BodyTooLarge) where one body would have this many bytes and may not."""
        if size > self.body_max:
            raise TooLargeError(
                "BodyTooLarge",
                f"The body is larger than {self.body_max} bytes.",
                "Split it; GEMEL_BODY_BYTES_MAX sets the limit.",
            )


class Body:
    """One request's body: room for it is held from entry to exit, and its parts are counted as they come."""

    def __init__(self, admission: Admission, scope: HTTPScope, receive: Receive) -> None:
        self._admission = admission
        self._receive = receive
        self._announced = _content_length(scope)
        self._held = 0
        self._read = 0
        self._done = False

    def __enter__(self) -> Body:
        if self._announced:
            self._admission.check_size(self._announced)
            self._hold(self._announced)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            self._admission.release(self._held)

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        """Receive the next message, counting the body's parts and waiting for each at most BODY_WAIT_S."""
        if self._done:
            return await self._receive()
        try:
            async with asyncio.timeout(BODY_WAIT_S):
                message = await self._receive()
        except TimeoutError as error:
            raise InvalidError(
                "BodyMalformed", f"The body stopped coming for {BODY_WAIT_S:.0f} s.", "Send it whole."
            ) from error
        if message["type"] == "http.disconnect":
            raise InvalidError("BodyMalformed", "The connection ended within the body.")
        if message["type"] == "http.request":
            self._count(len(message["body"]))
            self._done = not message.get("more_body", False)
        return message

    def _count(self, size: int) -> None:
        self._read += size
        self._admission.check_size(self._read)
        if self._read > self._held:
            self._hold(self._read - self._held)

    def _hold(self, size: int) -> None:
        self._admission.reserve(size)
        self._held += size


def _content_length(scope: HTTPScope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                raise InvalidError("InvalidArgument", "Content-Length is not a whole number.")
            return int(value)
    return 0
