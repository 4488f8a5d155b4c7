"""What is held in memory is bounded by values, not only by bytes, and given back with what held it."""

from __future__ import annotations

import asyncio
import json

import pytest

from gemel.base.clock import now_us
from gemel.base.errors import OverloadedError, TooLargeError
from gemel.ingest.events import BATCH, LINES, SINGLE
from gemel.ingest.requests import IngestRequest
from support.parts import AUDIT, TenantParts, event, open_parts
from support.postgres import Dsns

NOW = "2026-11-01T00:00:00Z"


def with_values(count: int) -> bytes:
    return (
        json.dumps(event(1, time=NOW, temperature=2.5)).encode().replace(b"2.5", b"[0" + b",0" * count + b"]")
    )


async def taken(parts: TenantParts, body: bytes, media_type: str) -> int:
    decoded = await parts.ingest.decode(body, media_type)
    result = await parts.ingest.submit(parts.tenant, IngestRequest(decoded, now_us(), AUDIT))
    return result.accepted


async def given_back(parts: TenantParts) -> None:
    """Wait until nothing is held: the thread that decoded may let go of its answer a moment later."""
    async with asyncio.timeout(5):
        while parts.ingest._values:  # noqa: ASYNC110 - the weakref that gives back offers no event
            await asyncio.sleep(0.01)


def test_values_held_are_bounded_and_given_back(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.ingest.pipeline.VALUES_HELD_MAX", 5_000)

    async def main() -> None:
        async with open_parts(database) as parts:
            held = await parts.ingest.decode(with_values(3_000), SINGLE)
            with pytest.raises(OverloadedError) as refused:
                await parts.ingest.decode(with_values(3_000), SINGLE)
            assert (refused.value.code, refused.value.retry_after_s) == ("Overloaded", 1)
            del held, refused
            for _ in range(3):
                await given_back(parts)
                await taken(parts, with_values(3_000), SINGLE)
                with pytest.raises(Exception, match="brackets"):
                    await parts.ingest.decode(b"[" + with_values(3_000), BATCH)

    asyncio.run(main())


def test_common_events_are_bounded_by_their_bytes_first(database: Dsns) -> None:
    line = json.dumps(event(1, time=NOW, temperature=2.5, pressure=1.5)).encode()
    body = b"\n".join([line] * ((1 << 20) // len(line)))

    async def main() -> None:
        async with open_parts(database) as parts:
            held = [await parts.ingest.decode(body, LINES) for _ in range((24 << 20) // len(body))]
            assert sum(len(decoded.body) for decoded in held) > 23 << 20

    asyncio.run(main())


def test_one_body_of_countless_values_is_refused(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            with pytest.raises(TooLargeError):
                await parts.ingest.decode(with_values(2_000_000), SINGLE)
            line = json.dumps(event(1, time=NOW, temperature=1.0)).encode()
            assert await taken(parts, line, LINES) == 1

    asyncio.run(main())


def test_names_that_no_twin_can_have_are_not_kept(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            result = await parts.send([event(n, f"{n}" * 10_000, NOW, temperature=1.0) for n in range(1, 5)])
            assert {rejected.code for rejected in result.rejected} == {"TwinUnknown"}
            view = parts.ingest._parts.directory.cached(parts.tenant, ["1" * 10_000])
            assert view is None

    asyncio.run(main())
