"""kill -9 in the middle of an import and of a deletion: it goes on by itself, and ends as one that nobody killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from bench.platform import Platform, running
from gemel.app.storage import open_storage
from gemel.base.settings import load_settings
from support.feed import kinds_of
from support.graph import MODELS, PUMP, ROOM
from support.history import SAMPLES
from support.jobs import import_file

SEEDS = range(3)
TWINS, LINKS = 9_000, 18_000
KILLS_MAX = 4
OVER = {"succeeded", "failed", "cancelled"}
GRAPH = {
    "twins": """
        SELECT t.twin_id, t.model_id, p.path, l.num, l.kind, l.doc::text FROM twin AS t
        LEFT JOIN latest AS l ON l.tenant = t.tenant AND l.series >> 20 = t.twin_no
        LEFT JOIN path AS p ON p.tenant = l.tenant AND p.path_no = l.series & 1048575
        WHERE t.tenant = 1 ORDER BY 1, 3""",
    "relationships": """
        SELECT s.twin_id, r.relationship_id, r.name, t.twin_id, r.properties::text FROM relationship AS r
        JOIN twin AS s ON s.tenant = r.tenant AND s.twin_no = r.source_no
        JOIN twin AS t ON t.tenant = r.tenant AND t.twin_no = r.target_no WHERE r.tenant = 1 ORDER BY 1, 2""",
    "spans": """
        SELECT twin_id, count(*) FROM twin_span WHERE tenant = 1 AND recorded_to = 'infinity'
        AND valid_to = 'infinity' GROUP BY 1 ORDER BY 1""",
    "samples": f"SELECT count(*), count(DISTINCT series) FROM {SAMPLES} AS s WHERE tenant = 1",
    "told": """
        SELECT kind, body FROM change WHERE tenant = 1 AND kind <> 'samples' ORDER BY change_no""",
}


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setenv("GEMEL_JOBS_ROOT", str(tmp_path / "root"))
    (tmp_path / "root" / "default").mkdir(parents=True)
    with running() as platform:
        yield platform


def graph_text() -> str:
    """Return an import whose twins repeat now and then, and of whose lines some are wrong."""
    twins: list[Any] = []
    for number in range(TWINS):
        body = {"$dtId": f"t{number % (TWINS - 50)}", "area": float(number), "$metadata": {"$model": ROOM}}
        if number % 3 == 0:
            body = {"$dtId": f"t{number}", "head": 1.5, "label": f"p {number}", "motor": {"$metadata": {}}}
            body["$metadata"] = {"$model": PUMP}
        twins.append("{broken" if number % 1000 == 999 else body)
    links = [
        {
            "$dtId": f"t{number % TWINS // 3 * 3 + 1}",
            "$relationshipId": f"r{number}",
            "$targetId": f"t{number * 7 % TWINS}",
            "$relationshipName": "contains",
        }
        for number in range(LINKS)
    ]
    return import_file(MODELS, twins, links)


def kill(platform: Platform, chance: random.Random) -> None:
    """Kill the server, or server and database, and start again."""
    platform.kill()
    if chance.random() < 0.5:
        os.kill(platform.database_pid(), signal.SIGKILL)
    platform.start()


def follow(platform: Platform, path: str, chance: random.Random, kills: int) -> dict[str, Any]:
    """Kill as often while a job is at work; return the job when it is over."""
    before = -1
    with platform.client() as client:
        while True:
            try:
                job: dict[str, Any] = client.get(path).json()
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if job["status"] in OVER:
                return job
            done = sum(job.get("counts", {}).values())
            if kills and done > before and job["status"] == "running":
                before = done
                time.sleep(chance.uniform(0, 0.3))
                kill(platform, chance)
                kills -= 1
            time.sleep(0.01)


def found(platform: Platform) -> dict[str, Any]:
    dsn = open_storage(load_settings(data_dir=platform.data_dir)).owner_dsn
    with psycopg.connect(dsn) as owner:
        return {name: owner.execute(sql).fetchall() for name, sql in GRAPH.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_import_that_is_killed_ends_as_one_that_is_not(
    platform: Platform, tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    folder = tmp_path / "root" / "default"
    (folder / "graph.ndjson").write_text(graph_text())
    ends, jobs = [], []
    for name, kills in (("whole", 0), ("killed", chance.randint(2, KILLS_MAX))):
        uris = {"inputBlobUri": "file:graph.ndjson", "outputBlobUri": f"file:{name}.log"}
        with platform.client() as client:
            assert client.put(f"/jobs/imports/{name}", json=uris).status_code == 201
        jobs.append(follow(platform, f"/v1/jobs/imports/{name}", chance, kills))
        ends.append(found(platform))
        with platform.client() as client:
            wipe = client.post("/jobs/deletions").json()["id"]
        gone = follow(platform, f"/v1/jobs/deletions/{wipe}", chance, kills // 2)
        assert gone["status"] == "succeeded", gone
        assert gone["counts"]["twins"] == len(ends[-1]["spans"])
        left = found(platform)
        assert left["twins"] == left["relationships"] == left["spans"] == []
    whole, killed = jobs
    for same in ("status", "counts", "problemCount", "problems", "error", "line", "bytes"):
        assert whole[same] == killed[same], same
    logs = [(folder / f"{name}.log").read_text().splitlines() for name in ("whole", "killed")]
    assert [line.partition('"jobType"')[2] for line in logs[0]] == [
        line.partition('"jobType"')[2] for line in logs[1]
    ]
    for name in ("twins", "relationships", "spans"):
        assert ends[0][name] == ends[1][name], name
    assert len(ends[0]["relationships"]) > 1000
    assert twice(ends[0], ends[1])


def twice(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Say whether the second import told and stored as much again as the first (the deletion between aside)."""
    created = [kinds_of(end["told"]).count("twin.created") for end in (first, second)]
    samples = [end["samples"][0][0] for end in (first, second)]
    links = [kinds_of(end["told"]).count("relationship.created") for end in (first, second)]
    return all(later == 2 * earlier for earlier, later in (created, samples, links))
