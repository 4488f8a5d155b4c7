"""What is held in memory is bounded by values, not only by bytes, and given back with what held it."""

from __future__ import annotations

import asyncio
import json

import pytest

from gemel.base.clock import now_us
from gemel.base.errors import TooLargeError
from gemel.ingest.events import BATCH, LINES, SINGLE, Decoded, decode_body
from gemel.ingest.requests import IngestRequest
from support.parts import AUDIT, TenantParts, event, open_parts
from support.postgres import Dsns

NOW = "2026-11-01T00:00:00Z"
DECODE = decode_body


def with_values(count: int) -> bytes:
    return (
        json.dumps(event(1, time=NOW, temperature=2.5)).encode().replace(b"2.5", b"[0" + b",0" * count + b"]")
    )


async def taken(parts: TenantParts, body: bytes, media_type: str) -> int:
    def request_of(decoded: Decoded) -> IngestRequest:
        return IngestRequest(decoded, now_us(), AUDIT)

    return (
        await parts.ingest.receive(parts.tenant, body, lambda held: DECODE(held, media_type), request_of)
    ).accepted


def test_what_is_in_work_is_bounded_and_given_back(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.ingest.pipeline.ROOM_BYTES", 100_000)
    most = 0

    async def main() -> None:
        nonlocal most
        async with open_parts(database) as parts:

            def watched(body: bytes, media_type: str) -> Decoded:
                nonlocal most
                most = max(most, parts.ingest.room.held)
                return decode_body(body, media_type)

            monkeypatch.setitem(globals(), "DECODE", watched)
            bodies = [with_values(3_000), with_values(6_000), with_values(200_000)] * 4
            done = await asyncio.gather(*(taken(parts, body, SINGLE) for body in bodies))
            assert done == [0] * len(bodies)  # a list is no temperature
            with pytest.raises(Exception, match="brackets"):
                await taken(parts, b"[" + with_values(3_000), BATCH)
            assert parts.ingest.room.held == 0

    asyncio.run(main())
    assert 60_000 <= most <= 100_000


def test_one_body_of_countless_values_is_refused(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            with pytest.raises(TooLargeError):
                await taken(parts, with_values(2_000_000), SINGLE)
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
