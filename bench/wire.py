"""A client that costs as little as possible: whole requests made beforehand, sent over plain sockets."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Sequence

__all__ = ["PAGE_ITEMS_MAX", "Connection", "request_bytes", "send_all"]

PAGE_ITEMS_MAX = 1000
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def request_bytes(
    method: str, path: str, key: str, body: bytes = b"", media_type: str = "application/json"
) -> bytes:
    """Return a whole HTTP/1.1 request, which takes the largest pages there are."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
        f"max-items-per-page: {PAGE_ITEMS_MAX}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One keep-alive connection; a request, its answer, and so on."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return the answer's status and body."""
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        found = LENGTH.search(head + b"\r\n")
        length = int(found.group(1)) if found else 0
        while len(body) < length:
            body += self._receive()
        return int(head[9:12]), body

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def send_all(port: int, shares: Sequence[Sequence[bytes]], good: bytes) -> tuple[float, list[float]]:
    """Send each share on a connection of its own, all at once; return the seconds of all, and of each request.

    An answer is good if its status or body has `good` in it; raises RuntimeError where one has not.
    """
    latencies_s: list[float] = []
    faults: list[bytes] = []

    def send(requests: Sequence[bytes]) -> None:
        connection = Connection(port)
        for request in requests:
            begun = time.perf_counter()
            status, body = connection.send(request)
            latencies_s.append(time.perf_counter() - begun)
            answer = b" %d " % status + body
            if good not in answer:
                faults.append(answer[:300])
        connection.close()

    threads = [threading.Thread(target=send, args=(share,)) for share in shares]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - begun
    if faults:
        raise RuntimeError(f"{len(faults)} requests failed, the first: {faults[0]!r}")
    return elapsed_s, latencies_s
