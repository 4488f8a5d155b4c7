from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import httpx
import pytest

from gemel.app.operator_metrics import REQUEST_BYTES_MAX, serve_metrics
from gemel.base.errors import EnvironmentFaultError


def serving(act: Callable[[int], None]) -> None:
    async def main() -> None:
        server = await serve_metrics(0, lambda: b"gemel_events_total 3\n")
        host, port = server.sockets[0].getsockname()
        assert host == "127.0.0.1"
        async with server:
            await asyncio.to_thread(act, port)

    asyncio.run(main())


def test_the_page_is_served_and_nothing_else() -> None:
    def act(port: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            page = client.get("/metrics?x=1")
            assert (page.status_code, page.text) == (200, "gemel_events_total 3\n")
            assert page.headers["content-type"].startswith("text/plain")
            assert client.head("/metrics").content == b""
            for method, path in (("GET", "/"), ("GET", "/metrics/../x"), ("POST", "/metrics")):
                assert client.request(method, path).status_code == 404

    serving(act)


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"G" * 2 * REQUEST_BYTES_MAX, b"\x16\x03\x01\r\n\r\n"])
def test_what_is_no_request_harms_nothing(head: bytes) -> None:
    def act(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as own:
            own.sendall(head)
            own.shutdown(socket.SHUT_WR)
            assert b"gemel_events" not in own.recv(100)
        assert httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).status_code == 200

    serving(act)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(EnvironmentFaultError) as caught:
        asyncio.run(serve_metrics(held.getsockname()[1], lambda: b""))
    assert caught.value.code == "PortInUse"
