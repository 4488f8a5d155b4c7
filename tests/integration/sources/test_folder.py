"""A watched folder: files that come, grow, return, break and are taken up again where they were left."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gemel.base.errors import InvalidError
from gemel.sources.records import SourceRow, Texts
from gemel.sources.service import Sources
from support.sources import Workshop

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
MAPPING = """
version: 1
source: meters
format: {type: csv}
time: {column: at, format: unix_s}
twins:
  - twin: t0
    values: {temperature: v}
"""


def rows(first: int, end: int) -> str:
    return "at,v\n" + "".join(f"{1_600_000_000 + n},{n}\n" for n in range(first, end))


def definition(folder: Path, events: int = 5000) -> str:
    return (
        f"name: s\nkind: folder\nconnection: {{folder: {folder}, files: '*.csv', settle_s: 0.1}}\n"
        f"mapping: m.yaml\nlimits: {{events: {events}}}\nbackoff: {{first_s: 0.05, max_s: 0.2}}"
    )


async def described(shop: Workshop, folder: Path, events: int = 5000, mapping: str = MAPPING) -> None:
    shop.allow = str(folder.parent)
    await shop.describe(definition(folder, events), mapping)


def beyond(events: int) -> Callable[[SourceRow], bool]:
    return lambda row: row.counts["events"] > events


def drop(folder: Path, name: str, text: str) -> Path:
    """Put a file into a folder whole, as a rename does."""
    draft = folder / f".{name}"
    draft.write_text(text)
    return draft.rename(folder / name)


def test_files_are_read_once_whatever_they_are_called(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        drop(tmp_path, "a.csv", rows(0, 10))
        drop(tmp_path, "other.txt", rows(90, 99))
        (tmp_path / "link.csv").symlink_to(tmp_path / "other.txt")
        (tmp_path / "dir.csv").mkdir()
        await described(shop, tmp_path)
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 10)
            drop(tmp_path, "b.csv", rows(10, 20))
            drop(tmp_path, "again.csv", rows(0, 10))
            row = await shop.until(lambda row: row.counts["events"] == 20)
            os.utime(tmp_path / "a.csv")
            await asyncio.sleep(0.6)
            row = await shop.row()
        assert (row.counts["events"], row.counts["duplicate"], row.error) == (20, 0, None)
        async with shop.process():
            drop(tmp_path, "c.csv", rows(20, 25))
            row = await shop.until(lambda row: row.counts["events"] == 25)
        assert row.counts["duplicate"] == 0
        assert await shop.values() == [float(n) for n in range(25)]

    play(scene)


def test_a_file_that_is_written_slowly_is_read_when_it_is_whole(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        await described(shop, tmp_path)
        async with shop.process():
            with (tmp_path / "slow.csv").open("w") as file:
                for line in rows(0, 30).splitlines(keepends=True):
                    file.write(line[:5])
                    file.flush()
                    await asyncio.sleep(0.02)
                    file.write(line[5:])
                    file.flush()
            row = await shop.until(lambda row: row.counts["events"] == 30)
            await asyncio.sleep(0.3)
            row = await shop.row()
        assert (row.counts["events"], row.counts["quarantined"], row.counts["batches"]) == (30, 0, 1)
        assert await shop.values() == [float(n) for n in range(30)]

    play(scene)


def test_a_file_that_grew_goes_on_behind_what_was_read(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        file = drop(tmp_path, "log.csv", rows(0, 10) + "1600000010,bad\n1600000011\n")
        await described(shop, tmp_path)
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 12)
            assert row.counts["quarantined"] == 2
        # Grown while nobody looks, and again while somebody does.
        with file.open("a") as log:
            log.write("1600000012,12\n1600000013,worse\n")
        async with shop.process():
            await shop.until(lambda row: row.counts["accepted"] == 11)
            with file.open("a") as log:
                log.write("1600000014,14\n")
            row = await shop.until(lambda row: row.counts["accepted"] == 12)
        assert (row.counts["events"], row.counts["duplicate"], row.counts["quarantined"]) == (15, 0, 3)
        assert await shop.values() == [float(n) for n in (*range(10), 12, 14)]
        sql = "SELECT seen FROM quarantine WHERE tenant = current_tenant()"
        assert await shop.parts.db.query(shop.parts.tenant, sql) == [(1,)] * 3

    play(scene)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (rows(0, 10).removesuffix("\n"), rows(0, 15)),  # the last line had no end
        (rows(0, 10).replace(",9\n", ',"9\n'), rows(0, 10).replace(",9\n", ',"9\n"\n') + "1600000014,14\n"),
        (rows(0, 10), rows(0, 9) + "1600000009,77\n1600000014,14\n"),  # what was read has changed
    ],
)
def test_a_file_that_grew_otherwise_is_read_again_and_nothing_doubled(
    play: Play, tmp_path: Path, first: str, then: str
) -> None:
    async def scene(shop: Workshop) -> None:
        file = drop(tmp_path, "log.csv", first)
        await described(shop, tmp_path)
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 10)
            file.write_text(then)
            row = await shop.until(lambda row: row.counts["events"] > 15)
        assert row.counts["duplicate"] >= 9
        assert len(set(await shop.values())) == len(await shop.values())

    play(scene)


def test_stopped_within_a_file_it_goes_on_behind_its_last_commit(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        drop(tmp_path, "a.csv", rows(0, 400))
        await described(shop, tmp_path, events=5)
        lives = 0
        while (await shop.row()).counts["events"] < 400:
            lives += 1
            assert lives < 60
            async with shop.process(alone=True):
                before = (await shop.row()).counts["events"]
                await shop.until(beyond(before))
        assert lives > 2
        row = await shop.row()
        assert (row.counts["events"], row.counts["duplicate"]) == (400, 0)
        assert await shop.values() == [float(n) for n in range(400)]

    play(scene)


def test_a_file_that_does_not_fit_is_passed_over_and_told_of(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        drop(tmp_path, "a.csv", "at,w\n1,2\n")
        drop(tmp_path, "b.csv", rows(0, 10))
        (tmp_path / "empty.csv").touch()
        await described(shop, tmp_path)
        async with shop.process():
            row = await shop.until(lambda row: row.counts["events"] == 10 and row.error is not None)
            assert (row.state, row.error_code) == ("running", "SourcePartRefused")
            assert "a.csv" in (row.error or "")
            assert "'v'" in (row.error or "")
            drop(tmp_path, "a.csv", rows(10, 12))
            await shop.until(lambda row: row.counts["events"] == 12)
        # With a mapping that fits it, the same file is read.
        drop(tmp_path, "d.csv", "at,w\n1600000900,7\n")
        await described(shop, tmp_path, mapping=MAPPING.replace("temperature: v", "temperature: w"))
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 13)
        assert await shop.values() == [*map(float, range(12)), 7.0]

    play(scene)


def test_without_its_folder_it_waits_for_it(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        folder = tmp_path / "mount"
        folder.mkdir()
        await described(shop, folder)
        folder.rmdir()
        async with shop.process():
            row = await shop.until(lambda row: row.state == "waiting")
            assert row.error_code == "SourceUnavailable"
            folder.mkdir()
            drop(folder, "a.csv", rows(0, 3))
            await shop.until(lambda row: row.counts["events"] == 3 and row.state == "running")

    play(scene)


def test_a_folder_must_be_allowed_for_the_tenant(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        for allow in ("", f"someone={tmp_path.parent}", "/nowhere"):
            shop.allow = allow
            with pytest.raises(InvalidError) as raised:
                await shop.describe(definition(tmp_path), MAPPING)
            assert raised.value.code == "SourceNotAllowed"
        shop.allow = f"{shop.tenant_name}={tmp_path.parent}"
        await shop.describe(definition(tmp_path), MAPPING)
        # What was allowed when it was described and is no longer, is not read.
        shop.allow = ""
        async with shop.process():
            row = await shop.until(lambda row: row.state == "failed")
        assert row.error_code == "SourceNotAllowed"

    play(scene)


@pytest.mark.parametrize(
    ("connection", "mapping", "told"),
    [
        ("{folder: IN, file: x}", MAPPING, "Did you mean files?"),
        ("{files: x}", MAPPING, "folder"),
        ("{folder: IN, files: a/b}", MAPPING, "slash"),
        ("{folder: IN, settle_s: 0}", MAPPING, "settle_s"),
        ("{folder: IN}", None, "mapping"),
        ("{folder: IN}", "version: 2", "m.yaml: version"),
    ],
)
def test_what_is_wrong_with_a_description_is_told(
    play: Play, tmp_path: Path, connection: str, mapping: str | None, told: str
) -> None:
    async def scene(shop: Workshop) -> None:
        shop.allow = str(tmp_path)
        text = f"name: s\nkind: folder\nconnection: {connection.replace('IN', str(tmp_path))}"
        with pytest.raises(InvalidError, match=told.replace("?", r"\?")):
            await shop.describe(text + ("\nmapping: m.yaml" if mapping else ""), mapping)

    play(scene)


def test_a_trial_shows_what_comes_and_keeps_nothing(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        drop(tmp_path, "a.csv", rows(0, 50))
        shop.allow = str(tmp_path)
        sources: Sources = shop.sources(shop.parts)
        tried = await sources.attempt(
            shop.parts.tenant, shop.tenant_name, Texts(definition(tmp_path), MAPPING)
        )
        assert (tried.events, tried.problems) == (20, [])
        assert tried.first[1].data == {"temperature": 1.0}
        assert await shop.values() == []
        sql = "SELECT count(*) FROM source_position WHERE tenant = current_tenant()"
        assert await shop.parts.db.query(shop.parts.tenant, sql) == [(0,)]

    play(scene)


def test_half_a_number_is_not_read_while_its_writer_pauses(play: Play, tmp_path: Path) -> None:
    async def scene(shop: Workshop) -> None:
        await described(shop, tmp_path)
        async with shop.process():
            with (tmp_path / "slow.csv").open("w") as file:
                file.write("at,v\n1600000000,12")
                file.flush()
                await asyncio.sleep(0.3)
                file.write("3\n")
            await shop.until(lambda row: row.counts["events"] == 1)
            (tmp_path / "last.csv").write_text("at,v\n1600000001,4")
            row = await shop.until(lambda row: row.counts["events"] == 2)
        assert (row.counts["corrected"], row.counts["quarantined"]) == (0, 0)
        assert await shop.values() == [123.0, 4.0]

    play(scene)


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_files_of_each_kind_are_read_and_remembered(play: Play, tmp_path: Path, form: str) -> None:
    table = [{"at": 1_600_000_000 + n, "v": float(n)} for n in range(50)]
    if form == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(table), tmp_path / "a.csv")
    elif form == "ndjson":
        drop(tmp_path, "a.csv", "".join(f"{json.dumps(row)}\n" for row in table))
    else:
        drop(tmp_path, "a.csv", rows(0, 50))

    async def scene(shop: Workshop) -> None:
        await described(shop, tmp_path, events=20, mapping=MAPPING.replace("csv", form))
        async with shop.process():
            await shop.until(lambda row: row.counts["events"] == 50)
        async with shop.process():
            await asyncio.sleep(0.5)
            row = await shop.row()
        assert (row.counts["events"], row.counts["duplicate"], row.error) == (50, 0, None)
        assert await shop.values() == [float(n) for n in range(50)]

    play(scene)
