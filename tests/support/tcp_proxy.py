"""A small TCP proxy whose connections can be cut, or left half open: alive to both ends, and silent."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Final

__all__ = ["TcpProxy"]

CHUNK: Final = 1 << 16
LOOK_S: Final = 0.05


class TcpProxy:
    """Passes bytes between its own port of loopback and another, until told otherwise; counts `connections`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._silent = threading.Event()
        self._refusing = threading.Event()
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Break every connection there is, as a cable that is pulled; new ones are taken."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                _abort(end)

    def refuse(self) -> None:
        """Break every connection, and each new one at once, until `heal`."""
        self._refusing.set()
        self.cut()

    def hush(self) -> None:
        """Pass nothing on, in either direction, and close nothing: half-open connections, until `heal`."""
        self._silent.set()

    def heal(self) -> None:
        """Pass on again; what was held back meanwhile still comes, in order."""
        self._silent.clear()
        self._refusing.clear()

    def close(self) -> None:
        """Stop."""
        self._closed.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._refusing.is_set():
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        pair = (near, far)
        with self._lock:
            self._pairs.add(pair)
        try:
            while not self._closed.is_set():
                if self._silent.is_set():
                    self._closed.wait(LOOK_S)
                    continue
                ready, _, _ = select.select(pair, (), (), LOOK_S)
                if self._silent.is_set():
                    continue
                for end in ready:
                    data = end.recv(CHUNK)
                    if not data:
                        return
                    (far if end is near else near).sendall(data)
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._pairs.discard(pair)
            for end in pair:
                end.close()


def _abort(end: socket.socket) -> None:
    """End both directions; the thread that carries them sees it and closes."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
