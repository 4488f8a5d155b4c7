"""What a failed attempt of a commit found is not what the next starts from; poison costs only itself."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import psycopg
import pytest

from gemel.ingest import steps
from gemel.store.database import WriteTransaction
from support.history import SAMPLES
from support.parts import AUDIT, MODEL, TenantParts, event, open_parts
from support.postgres import Dsns

NOW = "2026-11-01T00:00:00Z"
ORPHANS = (
    f"SELECT count(*) FROM {SAMPLES} AS s WHERE NOT EXISTS (SELECT FROM twin WHERE twin_no = s.series >> 20)"
)


async def together(parts: TenantParts, *sent: tuple[list[dict[str, Any]], dict[str, Any]]) -> list[Any]:
    """Send requests while another is under way, so that they share the next commit."""
    first = asyncio.create_task(parts.send([event(0, time=NOW, temperature=0.5)]))
    tasks = [asyncio.create_task(parts.send(events, **options)) for events, options in sent]
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


class Failing:
    """Runs the steps, and lets the database fail after them for groups that hold a certain event."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, poison: str) -> None:
        self.groups: list[int] = []
        self.poison = poison
        monkeypatch.setattr("gemel.ingest.pipeline.STEPS", (*steps.STEPS, self.fail))

    async def fail(self, _: steps.Parts, tx: WriteTransaction, group: steps.Group) -> None:
        self.groups.append(len(group.items))
        await asyncio.sleep(0.05)  # those who come meanwhile share the next commit
        if any(self.poison in item.request.decoded.body.decode() for item in group.items):
            raise psycopg.errors.ProgramLimitExceeded("poison")


def test_twins_of_a_commit_that_failed_are_forgotten(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            failing = Failing(monkeypatch, "poison")
            create = {"create_model": MODEL["@id"]}
            poisonous = [event(1, "made", NOW, temperature=1.0), event(2, "made", NOW, label="poison")]
            refused, beside = await together(
                parts, (poisonous, create), ([event(3, "made", NOW, temperature=2.0)], {})
            )
            assert 2 in failing.groups, "they did not share a commit"
            assert isinstance(refused, Exception)
            assert [rejected.code for rejected in beside.rejected] == ["TwinUnknown"]
            assert await parts.db.query(parts.tenant, ORPHANS) == [(0,)]

    asyncio.run(main())


WIDE = "".join(map(chr, random.Random(1).sample(range(0x10000, 0x20000), 990)))


@pytest.mark.parametrize("time", [NOW, None])
@pytest.mark.parametrize("twin", ["t0", "nobody"])
def test_names_of_any_length(database: Dsns, twin: str, time: str | None) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            for source, number in ((WIDE, "1"), ("s", WIDE * 10), (WIDE * 3, WIDE)):
                sent = {**event(1, twin, time, temperature=1.0), "source": source, "id": number}
                result = await parts.send([sent])
                again = await parts.send([sent])
                assert result.quarantined == again.quarantined == (twin == "nobody")
                assert again.duplicate == (twin == "t0")
                if twin == "nobody":
                    assert result.rejected[0].quarantine == again.rejected[0].quarantine

    asyncio.run(main())


def test_audit_is_of_what_was_taken(database: Dsns) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await parts.send([event(1, time=NOW, temperature=1.0)])
            rows = await parts.db.query(
                parts.tenant, "SELECT count(*) FROM audit WHERE action = %s", (AUDIT.action,)
            )
            assert rows == [(1,)]

    asyncio.run(main())
