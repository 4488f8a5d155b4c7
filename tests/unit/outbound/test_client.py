"""Calling out, against a real server: what is connected to is what was checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gemel.base.errors import InvalidError, UnavailableError
from gemel.outbound import Outbound, OutboundPolicy
from gemel.outbound.network import resolve
from support.http_peer import Received, Reply, peer

CERTIFICATE = Path(__file__).parents[2] / "support/certificates/hooks.example.test.pem"
LOCAL = OutboundPolicy.parse("127.0.0.0/8")


def run(main: Callable[[], Awaitable[Any]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(limited())


def echo(request: Received) -> Reply:
    return Reply(200, {"X-Method": request.method}, request.body)


def to_loopback(calls: list[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolver(host: str, port: int) -> Sequence[str]:
        calls.append(host)
        return ["127.0.0.1"]

    return resolver


def test_a_request_and_its_answer() -> None:
    async def main() -> None:
        async with peer(echo) as server:
            outbound = Outbound(LOCAL)
            answer = await outbound.request(
                "post", f"{server.url}/a?b=c", content=b"hello", headers={"X-Key": "k"}
            )
            assert (answer.status, answer.body, answer.truncated) == (200, b"hello", False)
            assert answer.headers["x-method"] == "POST"
            [received] = server.received
            assert received.target == "/a?b=c"
            assert received.headers["host"] == f"127.0.0.1:{server.port}"
            assert received.headers["x-key"] == "k"
            assert received.headers["user-agent"].startswith("gemel/")
            await outbound.aclose()

    run(main)


def test_loopback_is_refused_by_number_and_by_name_before_anything_is_sent() -> None:
    async def main() -> None:
        async with peer(echo) as server:
            outbound = Outbound(OutboundPolicy())
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"):
                url = f"http://{host}:{server.port}/"
                with pytest.raises(InvalidError) as caught:
                    await outbound.request("GET", url)
                assert caught.value.code == "OutboundRefused"
                with pytest.raises(InvalidError):
                    await outbound.check(url)
                with pytest.raises(InvalidError):
                    async for _ in outbound.download(url, timeout_s=5, bytes_max=10):
                        pass
            assert server.received == []

    run(main)


def test_what_is_connected_to_is_the_address_that_was_checked() -> None:
    """A name whose second answer would be another address is asked for once."""

    async def main() -> None:
        async with peer(echo) as server:
            answers = [["127.0.0.1"], ["10.255.255.1"]]

            async def rebinding(host: str, port: int) -> Sequence[str]:
                return answers.pop(0)

            outbound = Outbound(LOCAL, resolver=rebinding)
            answer = await outbound.request("GET", f"http://a.example:{server.port}/")
            assert answer.status == 200
            assert server.received[0].headers["host"] == f"a.example:{server.port}"
            assert len(answers) == 1
            # The next connection asks again, and is refused.
            with pytest.raises(InvalidError, match="address 10"):
                await outbound.request("GET", f"http://a.example:{server.port}/")

    run(main)


def test_each_redirect_is_checked_anew() -> None:
    async def main() -> None:
        def handler(request: Received) -> Reply:
            location = {
                "/same": "/ok",
                "/private": "http://10.1.2.3/",
                "/other": "http://localhost:{port}/ok",
            }
            to = location.get(request.target)
            if to is None:
                return Reply(200, body=b"ok")
            return Reply(302, {"Location": to.format(port=server.port)})

        async with peer(handler) as server:
            outbound = Outbound(OutboundPolicy.parse("127.0.0.1"))
            assert (await outbound.request("GET", f"{server.url}/same")).body == b"ok"
            with pytest.raises(InvalidError, match=r"10\.1\.2\.3 is private"):
                await outbound.request("GET", f"{server.url}/private")

    run(main)


def test_secrets_stay_with_the_origin_they_were_for() -> None:
    async def main() -> None:
        async with peer(echo) as second:

            def handler(request: Received) -> Reply:
                return Reply(307, {"Location": f"{second.url}/x" if request.target == "/" else "/"})

            async with peer(handler) as first:
                outbound = Outbound(LOCAL)
                headers = {"Authorization": "Bearer s", "X-Signature": "s", "Content-Type": "text/plain"}
                answer = await outbound.request(
                    "POST", f"{first.url}/start", content=b"body", headers=headers
                )
                assert answer.body == b"body"
                assert [request.target for request in first.received] == ["/start", "/"]
                assert all(request.headers["authorization"] == "Bearer s" for request in first.received)
                [carried] = second.received
                assert carried.headers["content-type"] == "text/plain"
                assert carried.headers["host"] == f"127.0.0.1:{second.port}"
                assert not {"authorization", "x-signature"} & carried.headers.keys()

    run(main)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_is_not_made_a_get(status: int) -> None:
    async def main() -> None:
        async with peer(lambda request: Reply(status, {"Location": "/other"})) as server:
            answer = await Outbound(LOCAL).request("POST", server.url, content=b"x")
            assert answer.status == status
            assert len(server.received) == 1

    run(main)


def test_redirects_end() -> None:
    async def main() -> None:
        async with peer(lambda request: Reply(302, {"Location": "/again"})) as server:
            with pytest.raises(UnavailableError, match="5 redirects"):
                await Outbound(LOCAL).request("GET", server.url)
            assert len(server.received) == 6

    run(main)


def test_from_https_to_http_is_not_followed_and_names_are_held_by_certificates() -> None:
    async def main() -> None:
        names: list[str | None] = []
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(CERTIFICATE)
        serving.sni_callback = lambda _, name, __: names.append(name)
        calls: list[str] = []
        async with peer(lambda request: Reply(302, {"Location": "http://a.example/"}), serving) as server:
            trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
            outbound = Outbound(LOCAL, resolver=to_loopback(calls), tls=trusting)
            with pytest.raises(InvalidError, match="from https to http"):
                await outbound.request("GET", f"https://hooks.example.test:{server.port}/?sig=secret")
            assert names == calls == ["hooks.example.test"]
            assert server.received[0].headers["host"] == f"hooks.example.test:{server.port}"
            unknown_authority = Outbound(LOCAL, resolver=to_loopback([]))
            for caller, host in ((unknown_authority, "hooks.example.test"), (outbound, "other.example.test")):
                with pytest.raises(UnavailableError) as caught:
                    await caller.request("GET", f"https://{host}:{server.port}/?sig=secret")
                assert caught.value.code == "OutboundFailed"
                assert "secret" not in str(caught.value)
            assert len(server.received) == 1

    run(main)


def test_answers_are_cut_at_their_limit() -> None:
    async def main() -> None:
        async with peer(lambda request: Reply(200, body=b"x" * 300_000)) as server:
            answer = await Outbound(LOCAL).request("GET", server.url, answer_bytes_max=1000)
            assert answer.truncated
            assert len(answer.body) == 1000

    run(main)


def test_time_is_limited_whatever_trickles_in() -> None:
    async def main() -> None:
        async with peer(lambda request: Reply(200, body=b"late", delay_s=20)) as server:
            outbound = Outbound(LOCAL)
            with pytest.raises(UnavailableError) as caught:
                await outbound.request("GET", server.url, timeout_s=0.2)
            assert caught.value.code == "OutboundFailed"

    run(main)


def test_nobody_there_and_no_such_name() -> None:
    async def main() -> None:
        async with peer(echo) as server:
            gone = server.url
        outbound = Outbound(LOCAL)
        with pytest.raises(UnavailableError, match="could not be called"):
            await outbound.request("GET", gone)

        async def unknown(host: str, port: int) -> Sequence[str]:
            raise OSError("Name or service not known")

        lost = Outbound(LOCAL, resolver=unknown)
        with pytest.raises(UnavailableError, match="Name or service not known"):
            await lost.check("http://nowhere.example/")
        with pytest.raises(UnavailableError, match="Name or service not known"):
            await lost.request("GET", "http://nowhere.example/")

    run(main)


def test_the_next_address_is_tried() -> None:
    async def main() -> None:
        async with peer(echo) as server:

            async def two(host: str, port: int) -> Sequence[str]:
                return ["127.0.0.2", "127.0.0.1"]  # nothing listens at the first

            answer = await Outbound(LOCAL, resolver=two).request("GET", f"http://a.example:{server.port}/")
            assert answer.status == 200

    run(main)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> None:
        async with peer(echo) as server:
            assert (await Outbound(LOCAL).request("GET", server.url)).status == 200

    run(main)


def test_download_and_its_limit() -> None:
    async def main() -> None:
        def handler(request: Received) -> Reply:
            return Reply(404) if request.target == "/none" else Reply(200, body=bytes(range(256)) * 1000)

        async with peer(handler) as server:
            outbound = Outbound(LOCAL)
            got = b"".join(
                [part async for part in outbound.download(server.url, timeout_s=9, bytes_max=256_000)]
            )
            assert got == bytes(range(256)) * 1000
            with pytest.raises(InvalidError, match="more than 255999 bytes"):
                async for _ in outbound.download(server.url, timeout_s=9, bytes_max=255_999):
                    pass
            with pytest.raises(UnavailableError, match="answered 404"):
                async for _ in outbound.download(f"{server.url}/none", timeout_s=9, bytes_max=9):
                    pass

    run(main)


def test_upload_streams_and_is_sent_anew_to_where_it_is_redirected() -> None:
    async def main() -> None:
        def handler(request: Received) -> Reply:
            return {
                "/first": Reply(307, {"Location": "/second"}),
                "/second": Reply(201),
                "/full": Reply(507),
            }[request.target]

        async def content() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"0123456789"

        async with peer(handler) as server:
            outbound = Outbound(LOCAL)
            await outbound.upload(
                f"{server.url}/first", content, 100, timeout_s=9, headers={"x-ms-blob-type": "BlockBlob"}
            )
            assert [request.body for request in server.received] == [b"0123456789" * 10] * 2
            assert server.received[1].headers["x-ms-blob-type"] == "BlockBlob"
            with pytest.raises(UnavailableError, match="answered 507"):
                await outbound.upload(f"{server.url}/full", content, 100, timeout_s=9)

    run(main)


def test_the_systems_resolver() -> None:
    async def main() -> None:
        assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
        assert await resolve("127.0.0.1", 80) == ["127.0.0.1"]

    run(main)
