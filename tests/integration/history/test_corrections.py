"""Samples deleted and replaced: at every moment the answer is the model's, and what was deleted does not come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import InvalidError, NotFoundError, TooLargeError
from gemel.graph.directory import Directory
from gemel.graph.readable import readable
from gemel.history.changes import CURRENT, effects_of, read_changes, samples_of
from gemel.history.moment import END_US, LIVE, Moment
from gemel.history.moves import Stretch
from gemel.history.read import Window, read_raw
from gemel.history.state import read_state
from gemel.ingest.correcting import Corrected, CorrectionWanted, Corrector, NewSample
from gemel.past.explain import explain
from gemel.past.timeline import Kind, TimelineWanted, read_timeline
from gemel.store.database import Database
from support.history import SAMPLES
from support.parts import AUDIT, TenantParts, event, fresh_parts, open_parts
from support.postgres import Dsns
from support.tenants import make_tenant

SECOND = 1_000_000
START_US = 1_767_571_200_000_000  # 2026-01-05
PATH = "temperature"


def at(second: int) -> int:
    return START_US + second * SECOND


@dataclass
class Model:
    """One series by the rules alone: values and deletions by key, each with revision, value and recorded time."""

    facts: list[tuple[int, int, float, int]] = field(default_factory=list)
    """Second, revision, value, recorded."""
    deletions: list[tuple[int, int, int]] = field(default_factory=list)
    """Second, revision, recorded."""

    def holders(self, known_us: int) -> dict[int, float]:
        found: dict[int, tuple[int, int, float]] = {}
        for second, revision, value, recorded_us in self.facts:
            if recorded_us <= known_us:
                found[second] = max(found.get(second, (-1, 0, 0.0)), (revision, 0, value))
        for second, revision, recorded_us in self.deletions:
            if recorded_us <= known_us:
                found[second] = max(found.get(second, (-1, 0, 0.0)), (revision, 1, 0.0))
        return {second: value for second, (_, gone, value) in found.items() if not gone}

    def delete(self, low: int, high: int, recorded_us: int) -> int:
        held = [second for second in self.holders(END_US) if low <= second < high]
        for second in held:
            top = max(revision for each, revision, _, _ in self.facts if each == second)
            self.deletions.append((second, top, recorded_us))
        return len(held)

    def revision(self, low: int, high: int) -> int:
        return max([-1, *(revision for second, revision, _, _ in self.facts if low <= second < high)])

    def state(self, as_of: int, known_us: int) -> float | None:
        held = {second: value for second, value in self.holders(known_us).items() if second <= as_of}
        return held[max(held)] if held else None


Work = Callable[[TenantParts, Corrector], Awaitable[None]]


def run(database: Dsns, work: Work) -> None:
    async def main() -> None:
        async with open_parts(database) as parts:
            await work(parts, corrector_of(parts))

    asyncio.run(main())


def corrector_of(parts: TenantParts) -> Corrector:
    directory = Directory(parts.context.library, parts.context.paths)
    return Corrector(parts.db, directory, parts.context, now_us)


@pytest.fixture(scope="module")
def play(database: Dsns) -> Iterator[Callable[[Work], None]]:
    """Run work after work on the same connections, each on a tenant of its own."""
    with asyncio.Runner() as runner:
        db = Database(database.serve)
        runner.run(db.open())

        async def main(work: Work) -> None:
            parts = await fresh_parts(db, make_tenant(database))
            await work(parts, corrector_of(parts))

        yield lambda work: runner.run(main(work))
        runner.run(db.close())


def wanted(low: int, high: int, twin: str = "t0", *paths: str) -> CorrectionWanted:
    return CorrectionWanted(twin, paths or (PATH,), at(low), at(high), "calibration")


async def recorded_us(parts: TenantParts) -> int:
    rows = await parts.db.query(
        parts.tenant, "SELECT (extract(epoch FROM recorded) * 1000000)::bigint FROM tenant_head"
    )
    return int(rows[0][0])


async def send(parts: TenantParts, second: int, value: float, revision: int = 0) -> Any:
    body = {**event(second, "t0", iso_us(at(second)), temperature=value), "revision": revision}
    return await parts.send([body])


async def twin_no(parts: TenantParts) -> int:
    rows = await parts.db.query(parts.tenant, "SELECT twin_no FROM twin WHERE twin_id = 't0'")
    return int(rows[0][0])


async def check(parts: TenantParts, model: Model, moments: list[int]) -> None:
    """Compare state and history at every known time and source time with the model's."""
    number = await twin_no(parts)
    async with parts.db.read(parts.tenant) as tx:
        series = {
            row[0]: PATH
            for row in await tx.rows(
                "SELECT series FROM latest WHERE tenant = current_tenant() AND series BETWEEN %s AND %s",
                (number << 20, (number + 1 << 20) - 1),
            )
        }
        for known_us in [*moments, END_US]:
            page = await read_raw(tx, series, Window(0, END_US, known_us), 1000)
            found = {(row.time_us - START_US) // SECOND: row.value for row in page.rows}
            assert found == model.holders(known_us), known_us
            for as_of in (-1, 0, 1, 3, 5, 9, None):
                moment = Moment(END_US if as_of is None else at(as_of), known_us)
                state = await read_state(tx, parts.context.paths, [number], moment)
                values = [value.value for value in state[number] if not value.removed]
                expected = model.state(99 if as_of is None else as_of, known_us)
                assert values == ([] if expected is None else [expected]), (as_of, known_us)


SEND = st.tuples(st.just("send"), st.integers(0, 6), st.sampled_from([1.0, 2.0, 3.0]), st.integers(0, 2))
DELETE = st.tuples(st.just("delete"), st.integers(0, 6), st.integers(1, 7), st.integers(1, 3))
REPLACE = st.tuples(st.just("replace"), st.integers(0, 6), st.integers(1, 4), st.sampled_from([7.0, 8.0]))


@settings(max_examples=60, deadline=None)
@given(st.lists(SEND | SEND | DELETE | REPLACE, min_size=1, max_size=14))
def test_every_moment_is_as_the_model_says(play: Callable[[Work], None], acts: list[Any]) -> None:
    async def work(parts: TenantParts, corrector: Corrector) -> None:
        model, moments = Model(), [await recorded_us(parts)]
        for name, low, *rest in acts:
            if name == "send":
                value, revision = rest
                result = await send(parts, low, value, revision)
                assert result.quarantined == 0
                model.facts.append((low, revision, value, await recorded_us(parts)))
            elif model.facts or name == "replace":
                high = low + rest[0]
                if name == "delete":
                    assert (
                        await corrector.delete(parts.tenant, wanted(low, high), AUDIT)
                    ).deleted == model.delete(low, high, await recorded_us(parts))
                else:
                    revision = model.revision(low, high) + 1
                    done = await corrector.replace(
                        parts.tenant, wanted(low, high), [NewSample(PATH, at(low), rest[1])], AUDIT
                    )
                    now = await recorded_us(parts)
                    assert (done.deleted, done.added) == (model.delete(low, high, now), 1)
                    model.facts.append((low, revision, rest[1], now))
            moments.append(await recorded_us(parts))
        await check(parts, model, moments)

    play(work)


def test_what_was_deleted_does_not_come_back_unless_its_revision_is_greater(database: Dsns) -> None:
    async def work(parts: TenantParts, corrector: Corrector) -> None:
        for second in range(4):
            await send(parts, second, float(second))
        assert await corrector.delete(parts.tenant, wanted(2, 9), AUDIT) == Corrected(2, 0, None)
        again = [await send(parts, second, float(second)) for second in range(4)]
        assert [result.duplicate for result in again] == [1, 1, 1, 1]
        other = await send(parts, 3, 9.0)
        assert (other.corrected, other.accepted) == (1, 0), "another value of that revision is kept, as lost"
        assert (await send(parts, 3, 9.0)).duplicate == 1
        fresh = await parts.send(
            [
                event(1, "t0", iso_us(at(3)), temperature=3.0),
                {**event(2, "t0", iso_us(at(3)), temperature=5.0), "revision": 1},
                event(3, "t0", iso_us(at(4)), temperature=4.0),
            ]
        )
        assert (fresh.duplicate, fresh.accepted) == (1, 2)
        rows = await parts.db.query(parts.tenant, f"SELECT num FROM {SAMPLES} AS s ORDER BY source_time")
        assert [row[0] for row in rows] == [0.0, 1.0, 5.0, 4.0]

    run(database, work)


def test_a_correction_is_told_explained_and_audited(database: Dsns) -> None:
    async def work(parts: TenantParts, corrector: Corrector) -> None:
        for second in range(3):
            await send(parts, second, float(second))
        before = await parts.db.query(parts.tenant, "SELECT change_no FROM tenant_head")
        await corrector.delete(parts.tenant, wanted(2, 3), AUDIT)
        async with parts.db.read(parts.tenant) as tx:
            told = await read_changes(tx, before[0][0], 10)
            assert [change.kind for change in told] == ["samples", "history.deleted"]
            assert samples_of(told[0]).num.tolist() == [1.0]
            assert effects_of(told[0]).tolist() == [CURRENT]
            payload = told[1].payload()
            assert (payload["twin"], payload["paths"], payload["deleted"]) == ("t0", [PATH], 1)
            assert (payload["reason"], payload["from"]) == ("calibration", iso_us(at(2)))
            stretch = Stretch(0, END_US, newest_first=True)
            kinds: tuple[Kind, ...] = ("property", "correction")
            timeline = await read_timeline(
                tx, parts.context.paths, "t0", TimelineWanted(stretch, kinds, (), 10, None)
            )
            assert [entry.what for entry in timeline.entries] == ["history.deleted", "property", "property"]
            gone = timeline.entries[0]
            assert (gone.reason, gone.after["deleted"]) == ("calibration", 1)
            assert gone.cause is not None
            view = await Directory(parts.context.library, parts.context.paths).resolve(tx, ["t0"])
            twin = readable(view.twins["t0"])
            (why,) = await explain(tx, parts.context.paths, twin, [PATH], LIVE)
            assert (why.value, [rule.rule for rule in why.rules]) == (
                1.0,
                ["requestTime", "stateAgain", "newestTime"],
            )
            assert why.cause is not None
            assert "calibration" in why.cause.target

    run(database, work)


def test_a_long_range_is_deleted_in_parts_each_of_them_whole(database: Dsns) -> None:
    async def work(parts: TenantParts, corrector: Corrector) -> None:
        for second in range(7):
            await parts.send([event(second, "t0", iso_us(at(second)), temperature=1.0, count=second)])
        pages = []
        start = 0
        while True:
            ask = CorrectionWanted("t0", (PATH, "count"), at(start), at(9), "x")
            pages.append(await corrector.delete(parts.tenant, ask, AUDIT, limit=4))
            left = await parts.db.query(parts.tenant, f"SELECT count(*) FROM {SAMPLES} AS s")
            assert left[0][0] == 14 - sum(page.deleted for page in pages)
            if pages[-1].next_us is None:
                break
            start = (pages[-1].next_us - START_US) // SECOND
        assert [page.deleted for page in pages] == [4, 4, 4, 2]

    run(database, work)


def test_what_cannot_be_corrected_is_refused_whole(database: Dsns, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(parts: TenantParts, corrector: Corrector) -> None:
        for second in range(3):
            await send(parts, second, float(second))
        with pytest.raises(NotFoundError):
            await corrector.delete(parts.tenant, wanted(0, 1, "nobody"), AUDIT)
        bad: list[tuple[CorrectionWanted, list[NewSample], str]] = [
            (wanted(3, 3), [], "InvalidArgument"),
            (wanted(0, 3, "t0", "colour"), [], "PathNotInModel"),
            (wanted(0, 3), [NewSample(PATH, at(3), 1.0)], "ValidationFailed"),
            (wanted(0, 3), [NewSample(PATH, at(1), "warm")], "ValidationFailed"),
            (wanted(0, 3), [NewSample(PATH, at(1), 1.0)] * 2, "ValidationFailed"),
        ]
        for ask, samples, code in bad:
            with pytest.raises(InvalidError) as caught:
                await corrector.replace(parts.tenant, ask, samples, AUDIT)
            assert caught.value.code == code
        monkeypatch.setattr("gemel.ingest.correcting.SAMPLES_MAX", 2)
        with pytest.raises(TooLargeError):
            await corrector.replace(parts.tenant, wanted(0, 3), [NewSample(PATH, at(1), 1.0)], AUDIT)
        rows = await parts.db.query(parts.tenant, f"SELECT num FROM {SAMPLES} AS s ORDER BY source_time")
        assert [row[0] for row in rows] == [0.0, 1.0, 2.0]
        assert await parts.db.query(parts.tenant, "SELECT * FROM correction") == []

    run(database, work)
