"""Jobs that are interrupted, cancelled, fetched, fought for, and deletions."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from gemel.base.clock import now_us
from gemel.jobs import deleting, lines, spool
from gemel.jobs.records import delete_job, request_cancel
from support.feed import KINDS, kinds_of
from support.graph import ASSET, MODELS, PUMP, ROOM, refused
from support.history import SAMPLES
from support.http_peer import Received, Reply, peer
from support.jobs import OPTIONS, Workplace, import_file

Play = Callable[[Callable[[Workplace], Awaitable[None]]], None]


def graph(twins: int) -> str:
    made = [{"$dtId": f"t{n}", "$metadata": {"$model": ROOM}, "area": float(n)} for n in range(twins)]
    links = [
        {"$dtId": f"t{n}", "$relationshipId": "r", "$targetId": f"t{n + 1}", "$relationshipName": "contains"}
        for n in range(twins - 1)
    ]
    return import_file([], made, links)


async def counted(place: Workplace) -> tuple[int, ...]:
    sql = "SELECT (SELECT count(*) FROM model), (SELECT count(*) FROM twin), (SELECT count(*) FROM relationship)"
    return tuple((await place.site.rows(sql))[0])


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (lines.TWINS, lines.RELATIONSHIPS):
        monkeypatch.setitem(lines.BATCH_LINES, name, 10)
    monkeypatch.setattr(deleting, "BATCH", 10)


@pytest.mark.usefixtures("_small")
def test_stopped_again_and_again_it_ends_as_in_one_go(play: Play) -> None:
    async def work(place: Workplace) -> None:
        await place.start("parts", graph(100))
        stops = 0
        while (job := await place.get("parts")).status in {"notstarted", "running"}:
            async with place.working():
                await place.past("parts", job.progress)
            stops += 1
        assert stops > 1
        assert job.status == "succeeded"
        assert job.progress.counts == {"twins": 100, "relationships": 99}
        assert (await counted(place))[1:] == (100, 99)
        statuses = [line["details"]["status"] for line in place.log("parts")]
        assert statuses == ["Started"] * 2 + ["Succeeded", "Started"] * 2 + ["Succeeded"] * 2
        spans = await place.site.rows("SELECT count(*), count(DISTINCT twin_no) FROM twin_span")
        assert spans == [(100, 100)]

    play(work)


@pytest.mark.usefixtures("_small")
def test_of_several_servers_one_works_on_a_job(play: Play) -> None:
    async def work(place: Workplace) -> None:
        place.runners = 4
        await place.start("fought", graph(60))
        async with place.working():
            job = await place.over("fought")
        assert job.status == "succeeded"
        assert job.progress.counts == {"twins": 60, "relationships": 59}
        batches = await place.site.rows("SELECT count(*) FROM audit WHERE action = 'import.write'")
        assert batches == [(12,)]

    play(work)


def test_who_lost_its_lease_writes_nothing_more(play: Play) -> None:
    async def work(place: Workplace) -> None:
        await place.start("lost", graph(20))
        # Held by one that died: nobody has it before its lease is over.
        held = (
            "UPDATE job SET status = 'running', worker = 'dead', lease_until = clock_timestamp() + interval '1 s' "
            "WHERE status = 'notstarted'"
        )
        await place.site.db.query(place.site.tenant, held, read_only=False)
        begun = now_us()
        async with place.working():
            job = await place.over("lost")
        assert now_us() - begun > 900_000
        assert job.status == "succeeded"
        await place.start("alone", graph(20))
        await place.site.db.query(place.site.tenant, held.replace("1 s", "1 h"), read_only=False)
        async with place.working(replace(OPTIONS, alone=True)):
            assert (await place.over("alone")).status == "succeeded"

    play(work)


@pytest.mark.usefixtures("_small")
def test_cancelled(play: Play) -> None:
    async def work(place: Workplace) -> None:
        await place.start("early", graph(5))
        async with place.site.db.write(place.site.tenant) as tx:
            assert (await request_cancel(tx, "early")).status == "cancelling"
        async with place.working():
            assert (await place.over("early")).status == "cancelled"
            assert place.log("early")[-1]["details"]["status"] == "Cancelled"
            await place.start("midway", graph(2000))
            while not (await place.get("midway")).progress.counts:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            async with place.site.db.write(place.site.tenant) as tx:
                await request_cancel(tx, "midway")
            job = await place.over("midway")
        assert job.status == "cancelled"
        assert job.error is None
        assert 0 < job.progress.counts["twins"] == (await counted(place))[1] < 2000
        async with place.site.db.write(place.site.tenant) as tx:
            assert (await refused(request_cancel(tx, "midway"))).code == "ValidationFailed"
            assert (await refused(request_cancel(tx, "none"))).code == "ImportJobNotFound"
            await delete_job(tx, "midway")
        assert (await refused(place.get("midway"))).code == "ImportJobNotFound"

    play(work)


def test_one_job_at_a_time_and_each_id_once(play: Play) -> None:
    async def work(place: Workplace) -> None:
        await place.start("a", graph(1))
        assert (await refused(place.start("b", ""))).code == "JobLimitReached"
        assert (await refused(place.create("d", None))).code == "JobLimitReached"
        async with place.site.db.write(place.site.tenant) as tx:
            assert (await refused(delete_job(tx, "a"))).code == "ValidationFailed"
        async with place.working():
            await place.over("a")
        error = await refused(place.start("a", ""))
        assert (error.code, error.message) == ("ValidationFailed", "There is a job with the ID a.")
        for wrong in ("", "x" * 129, "a\nb", "nul\0"):
            assert (await refused(place.create(wrong, None))).code == "ValidationFailed"

    play(work)


def test_input_fetched_and_log_sent(play: Play) -> None:
    async def work(place: Workplace) -> None:
        text = graph(30).encode()

        def handler(request: Received) -> Reply:
            if request.method == "PUT":
                return Reply(201)
            return (
                Reply(302, {"Location": "/real?sig=1"}) if request.target == "/in" else Reply(200, body=text)
            )

        async with peer(handler) as server, place.working():
            await place.create("web", (f"{server.url}/in", f"{server.url}/out?sig=2"))
            job = await place.over("web")
            assert job.status == "succeeded", job
            sent = server.received[-1]
            assert (sent.method, sent.target) == ("PUT", "/out?sig=2")
            assert sent.headers["x-ms-blob-type"] == "BlockBlob"
            said = [json.loads(line) for line in sent.body.decode().splitlines()]
            assert said[-1]["details"]["counts"] == {"twins": 30, "relationships": 29}
        kept = list((place.folder.parents[1] / "spool").glob("*.ndjson"))
        assert kept == []

    play(work)


@pytest.mark.parametrize(
    ("uris", "code"),
    [
        (("http://10.1.2.3/in", "file:x.log"), "OutboundRefused"),
        (("http://127.0.0.1:9/none", "file:x.log"), "OutboundFailed"),
        (("file:none.ndjson", "file:x.log"), "FileUnreadable"),
        (("file:good.ndjson", "http://127.0.0.1:9/out"), "OutboundFailed"),
        (("file:good.ndjson", "file:folder/none/x.log"), "FileUnreadable"),
    ],
)
def test_inputs_and_outputs_that_are_not_there(
    play: Play, uris: tuple[str, str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemel.jobs.inputs.AGAIN_S", 0.01)
    monkeypatch.setattr("gemel.jobs.conclusion.AGAIN_S", 0.01)

    async def work(place: Workplace) -> None:
        (place.folder / "good.ndjson").write_text(graph(3))
        await place.create("gone", uris)
        async with place.working():
            job = await place.over("gone")
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == code

    play(work)


def test_input_that_changed_between_two_goes(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lines.BATCH_LINES, lines.TWINS, 10)

    async def work(place: Workplace) -> None:
        await place.start("swapped", graph(3000))
        async with place.working():
            while not (await place.get("swapped")).progress.counts:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        (place.folder / "swapped.ndjson").write_text(graph(2999))
        async with place.working():
            job = await place.over("swapped")
        assert job.error is not None
        assert (job.status, job.error.code) == ("failed", "FileChanged")

    play(work)


def test_a_spool_has_a_limit(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SPOOL_BYTES_MAX", 1000)

    async def work(place: Workplace) -> None:
        async with peer(lambda request: Reply(200, body=b"x" * 5000)) as server, place.working():
            await place.create("big", (server.url, "file:x.log"))
            job = await place.over("big")
        assert job.error is not None
        assert job.error.code == "LimitExceeded"

    play(work)


def test_a_defect_ends_the_job_and_not_the_worker(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> bool:
        raise ZeroDivisionError

    async def work(place: Workplace) -> None:
        with monkeypatch.context() as patched:
            patched.setattr("gemel.jobs.runner.run_import", broken)
            job = await place.run("broken", graph(1))
        assert job.error is not None
        assert (job.status, job.error.code) == ("failed", "InternalError")
        assert (await place.run("fine", graph(1))).status == "succeeded"

    play(work)


@pytest.mark.usefixtures("_small")
def test_a_deletion_leaves_nothing_but_history(play: Play) -> None:
    async def work(place: Workplace) -> None:
        other = place.site.neighbour()
        await other.add_models(
            [{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:o:O;1", "@type": "Interface"}]
        )
        await place.run("fill", graph(35))
        await place.site.put("a", ASSET, label="x")
        await place.site.put("p", PUMP, head=1.0)
        await place.site.relate("a", "r", "p")
        await place.create("wipe", None)
        async with place.working():
            job = await place.over("wipe", "deletion")
        assert job.status == "succeeded", job
        assert job.progress.counts == {"relationships": 35, "twins": 37, "models": 5}
        assert await counted(place) == (0, 0, 0)
        assert await other.rows("SELECT count(*) FROM model") == [(1,)]
        ended = await place.site.rows(
            "SELECT count(*) FROM twin_span WHERE valid_to < 'infinity' AND recorded_to = 'infinity'"
        )
        assert ended == [(37,)]
        assert await place.site.rows(f"SELECT count(*) > 36 FROM {SAMPLES} AS s") == [(True,)]
        assert await place.site.rows("SELECT count(*) FROM latest") == [(0,)]
        told = Counter(kind for kind in kinds_of(await place.site.rows(KINDS)) if kind.endswith(".deleted"))
        assert told == {"relationship.deleted": 35, "twin.deleted": 37, "model.deleted": 5}
        trail = await place.site.rows(
            "SELECT target FROM audit WHERE action = 'deletion.write' ORDER BY audit_no"
        )
        assert trail[0] == ("wipe (10 relationships)",)
        # A twin made anew does not inherit, and a model comes back.
        await place.site.add_models(MODELS)
        assert "label" not in (await place.site.put("a", ASSET)).body

    play(work)


def test_a_deletion_out_of_time_has_failed(play: Play) -> None:
    async def work(place: Workplace) -> None:
        await place.run("fill", graph(5))
        await place.create("slow", None, deadline_us=now_us() - 1)
        async with place.working():
            job = await place.over("slow", "deletion")
        assert job.error is not None
        assert (job.status, job.error.code) == ("failed", "TimeoutError")
        await place.create("next", None)
        async with place.working():
            assert (await place.over("next", "deletion")).status == "succeeded"

    play(work)
