"""Imports of files: what is taken, what is told, and what ends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.graph.relationship_reading import list_relationships
from gemel.history.moment import END_US
from gemel.history.moves import Stretch
from gemel.jobs import lines
from gemel.past.timeline import KINDS, TimelineWanted, read_timeline
from support.graph import ASSET, FEEDS, MOTOR, PUMP, ROOM, interface, prop
from support.jobs import Workplace, import_file

Play = Callable[[Callable[[Workplace], Awaitable[None]]], None]
CRANE = interface("dtmi:t:Crane;1", prop("reach", "double"), extends=ASSET)


def twin(twin_id: str, model: str = ASSET, **values: Any) -> dict[str, Any]:
    return {"$dtId": twin_id, "$metadata": {"$model": model}, **values}


def relation(source: str, key: str, target: str, **values: Any) -> dict[str, Any]:
    named = {"$dtId": source, "$relationshipId": key, "$targetId": target, "$relationshipName": "feeds"}
    return named | values


def test_models_twins_and_relationships(play: Play) -> None:
    async def work(place: Workplace) -> None:
        text = import_file(
            [
                CRANE,
                interface(
                    ASSET, prop("label", "string"), FEEDS, displayName="Asset", description={"en": "A thing"}
                ),
            ],
            [twin("a", label="x"), twin("c", "dtmi:t:Crane;1", reach=3.5), twin("m", MOTOR, speed=1.0)],
            [relation("a", "r", "c", diameter=2.0), relation("c", "r", "a")],
        )
        job = await place.run("first", text)
        assert job.status == "succeeded", job
        assert job.error is None
        assert job.progress.counts == {"models": 1, "modelsUnchanged": 1, "twins": 3, "relationships": 2}
        assert job.progress.offset == job.progress.bytes_total == len(text)
        assert (await place.site.get("c")).body["reach"] == 3.5
        async with place.site.db.read(place.site.tenant) as tx:
            [found] = (await list_relationships(tx, "a")).items
        assert (found["$relationshipId"], found["$targetId"], found["diameter"]) == ("r", "c", 2.0)
        details = [line["details"] for line in place.log("first")]
        assert [(each.get("section"), each["status"]) for each in details] == [
            (None, "Started"),
            ("Models", "Started"),
            ("Models", "Succeeded"),
            ("Twins", "Started"),
            ("Twins", "Succeeded"),
            ("Relationships", "Started"),
            ("Relationships", "Succeeded"),
            (None, "Succeeded"),
        ]
        assert {(line["jobId"], line["jobType"], line["logType"]) for line in place.log("first")} == {
            ("first", "Import", "Info")
        }
        trail = await place.site.rows(
            "SELECT actor, action, target, result, trace_id FROM audit ORDER BY audit_no"
        )
        assert ("tester", "import.write", "first (3 twins)", "ok", "trace-first") in trail
        assert trail[-1][1:4] == ("import.end", "first", "ok")

    play(work)


def test_bad_lines_are_told_and_the_others_taken(play: Play) -> None:
    async def work(place: Workplace) -> None:
        other = interface(ASSET, prop("label", "integer"), FEEDS)
        text = import_file(
            [other],
            [
                twin("a", label=5),
                "{not json",
                twin("b", label="x"),
                "[1]",
                twin("bad id"),
                {"$dtId": "n"},
                twin("z", "dtmi:t:None;1"),
                '"' + "x" * lines.LINE_BYTES_MAX + '"',
                twin("c"),
            ],
            [relation("b", "r", "c"), relation("b", "s", "nobody"), {"$dtId": "b"}, relation("b", "t", "b")],
        )
        job = await place.run("mixed", text)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == "ImportIncomplete"
        assert job.progress.counts == {"twins": 2, "relationships": 1}
        told = [line["details"] for line in place.log("mixed") if line["logType"] == "Error"]
        assert [(each["line"], each["id"], each["error"]["code"]) for each in told[:-1]] == [
            (4, ASSET, "ModelIdAlreadyExists"),
            (6, "a", "ValidationFailed"),
            (7, None, "BodyMalformed"),
            (9, None, "InvalidArgument"),
            (10, "bad id", "InvalidArgument"),
            (11, "n", "ValidationFailed"),
            (12, "z", "ValidationFailed"),
            (13, None, "LimitExceeded"),
            (17, "b/s", "TargetTwinNotFound"),
            (18, "b", "InvalidArgument"),
            (19, "b/t", "OperationNotAllowed"),
        ]
        assert told[0]["section"] == "Models"
        assert told[-1]["status"] == "Failed"
        assert len(job.error.details) == 10
        assert job.error.details[1].message.startswith("line 6, a: ")
        assert job.progress.problem_count == 11

    play(work)


def test_twins_and_relationships_are_replaced_and_the_last_of_a_name_holds(play: Play) -> None:
    async def work(place: Workplace) -> None:
        await place.site.put("a", ASSET, label="old")
        await place.site.put("p", PUMP, head=1.0, label="kept?")
        text = import_file(
            twins=[
                twin("a", label="one"),
                twin("b", label="b"),
                twin("a", label="two"),
                twin("p", PUMP, head=2.0, motor={"$metadata": {}}),
            ],
            relationships=[relation("a", "r", "b"), relation("a", "r", "p", note="last")],
        )
        assert (await place.run("again", text)).status == "succeeded"
        assert (await place.site.get("a")).body["label"] == "two"
        pump = (await place.site.get("p")).body
        assert pump["head"] == 2.0
        assert "label" not in pump
        async with place.site.db.read(place.site.tenant) as tx:
            [found] = (await list_relationships(tx, "a")).items
        assert (found["$targetId"], found["note"]) == ("p", "last")

    play(work)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "ImportFileInvalid", "is empty: it must begin with"),
        ('{"Section": "Twins"}\n', "ImportFileInvalid", "line 1, must begin with"),
        ('{"$dtId": "a"}\n', "ImportFileInvalid", "must begin with"),
        ('{"Section": "Header"}\n{"author": "x"}\n', "ImportFileInvalid", "fileVersion"),
        ('{"Section": "Header"}\n{"fileVersion": "2.0.0"}\n', "ImportFileInvalid", "fileVersion"),
        (import_file(twins=[{"Section": "Models"}]), "ImportFileInvalid", "Models behind Twins"),
        (import_file(twins=[{"Section": "Sensors"}]), "ImportFileInvalid", "'Sensors'"),
        (
            import_file([interface("dtmi:t:Bad;1", {"@type": "Property", "name": "x"})]),
            "DTDLParserError",
            "line 4",
        ),
    ],
)
def test_files_that_are_not_import_files(play: Play, text: str, code: str, said: str) -> None:
    async def work(place: Workplace) -> None:
        job = await place.run("wrong", text)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == code
        assert said in job.error.message
        assert place.log("wrong")[-1]["details"]["error"]["code"] == code

    play(work)


def test_what_stands_before_a_wrong_section_is_taken(play: Play) -> None:
    async def work(place: Workplace) -> None:
        text = import_file(twins=[twin("a")], relationships=[]) + '{"Section": "Twins"}\n'
        job = await place.run("late", text)
        assert job.status == "failed"
        assert job.progress.counts == {"twins": 1}

    play(work)


def test_small_batches_and_a_byte_order_mark(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (lines.TWINS, lines.RELATIONSHIPS):
        monkeypatch.setitem(lines.BATCH_LINES, name, 3)

    async def work(place: Workplace) -> None:
        twins = [twin(f"t{number}", ROOM, area=float(number)) for number in range(10)]
        links = [relation(f"t{n}", "r", f"t{n + 1}", **{"$relationshipName": "contains"}) for n in range(9)]
        job = await place.run("small", "\ufeff" + import_file([], twins, links) + "\n  \n")
        assert job.status == "succeeded", job
        assert job.progress.counts == {"twins": 10, "relationships": 9}
        batches = await place.site.rows("SELECT target FROM audit WHERE action = 'import.write'")
        assert len(batches) == 4 + 3
        assert [row[0] for row in batches][:2] == ["small (3 twins)", "small (3 twins)"]

    play(work)


def test_what_an_import_wrote_names_it_as_its_cause(play: Play) -> None:
    async def work(place: Workplace) -> None:
        text = import_file([], [twin("a", label="x"), twin("b")], [relation("a", "r", "b")])
        assert (await place.run("origin", text)).status == "succeeded"
        async with place.site.db.read(place.site.tenant) as tx:
            part = TimelineWanted(Stretch(0, END_US - 1, newest_first=False), KINDS, [], 10, None)
            told = await read_timeline(tx, place.site.context.paths, "a", part)
        causes = [entry.cause for entry in told.entries]
        assert {entry.what for entry in told.entries} == {"twin.created", "property", "relationship.created"}
        assert {cause and (cause.action, cause.target.partition(" ")[0]) for cause in causes} == {
            ("import.write", "origin")
        }

    play(work)
