"""`gemel import` and `gemel jobs`, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Site, serving
from support.graph import MODELS, PUMP
from support.jobs import import_file


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("jobs-root")
    (root / "default").mkdir()
    with serving(GEMEL_JOBS_ROOT=str(root)) as site:
        yield site


def pump(number: int, **values: object) -> dict[str, object]:
    return {"$dtId": f"p{number}", "$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}, **values}


def feeds(number: int, target: int) -> dict[str, object]:
    ends: dict[str, object] = {"$dtId": f"p{number}", "$targetId": f"p{target}"}
    return ends | {"$relationshipId": "r", "$relationshipName": "feeds"}


def test_a_file_is_sent_followed_and_listed(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "graph.ndjson"
    file.write_text(
        import_file(MODELS, [pump(n, head=float(n)) for n in range(50)], [feeds(n, n + 1) for n in range(49)])
    )
    done = site.run("import", str(file), "--id", "good", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["counts"] == {"models": 5, "twins": 50, "relationships": 49}
    assert json.loads(site.run("twins", "get", "p7", "--json").out)["head"] == 7.0
    file.write_text(import_file([], [pump(0, head="high"), pump(1, head=1.0)], []))
    done = site.run("import", str(file), "--id", "bad")
    assert done.code == 4, done
    assert "line 5, p0" in done.out
    assert "double" in done.out
    listed = {job["id"]: job["status"] for job in json.loads(site.run("jobs", "list", "--json").out)}
    assert listed == {"good": "succeeded", "bad": "failed"}
    lines = [json.loads(line) for line in site.run("jobs", "log", "bad").out.splitlines()]
    assert [line["details"].get("line") for line in lines if line["logType"] == "Error"] == [5, None]
    assert "ImportIncomplete" in site.run("jobs", "show", "bad").out
    again = site.run("import", str(file), "--id", "bad", "--json")
    assert (again.code, again.error()["code"]) == (1, "ValidationFailed")


def test_what_the_server_reads_and_what_is_not_there(site: Site, tmp_path: Path) -> None:
    none = site.run("import", str(tmp_path / "none"), "--json")
    assert (none.code, none.error()["code"]) == (1, "FileUnreadable")
    unlogged = site.run("import", "file:x", "--json")
    assert (unlogged.code, unlogged.error()["code"]) == (2, "UsageInvalid")
    gone = site.run("import", "file:none.ndjson", "--log", "file:none.log", "--json")
    assert (gone.code, gone.error()["code"]) == (1, "FileUnreadable")
    loop = site.run("import", "http://localhost/x", "--log", "file:x.log", "--json")
    assert (loop.code, loop.error()["code"]) == (1, "ValidationFailed")
    over = site.run("jobs", "cancel", "none", "--json")
    assert (over.code, over.error()["code"]) == (1, "ImportJobNotFound")


def test_everything_is_deleted(site: Site) -> None:
    refused = site.run("jobs", "delete-all")
    assert refused.code == 1
    begun = site.run("jobs", "delete-all", "--yes", "--json").json()
    for _ in range(100):
        job = site.run("jobs", "show", begun["id"], "--deletion", "--json").json()
        if job["status"] not in {"notstarted", "running"}:
            break
    assert job["status"] == "succeeded"
    assert site.run("models", "list", "--json").json() == []
