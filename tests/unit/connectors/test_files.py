from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gemel.base.errors import InvalidError
from gemel.connectors.files import FileSource, Position, open_source
from gemel.mapping.tables import FileFormat, Mapping, TwinName, TwinRule, ValueColumn
from unit.connectors.making import mapping_of, rule_of, saved

CSV = FileFormat("csv")
TEXT = """at,device,p,n
2026-01-01T00:00:00Z,a,1.5,1
2026-01-01T00:00:01Z,b,,2
2026-01-01T00:00:02Z,a,2.5,
2026-01-01T00:00:03Z,a,,
2026-01-01T00:00:04Z,,3.5,3
2026-01-01T00:00:05Z,a,high,4
soon,a,1,2
,b,1,2
half a row
2026-01-01T00:00:06,a,1,2
"""


def devices() -> Mapping:
    values = (ValueColumn("pressure", "p"), ValueColumn("count", "n", "integer"))
    by_row = TwinRule(TwinName("dev-{device}"), "dtmi:x:Device;1", values, {"site": "Lab"})
    return mapping_of(CSV, rule_of(ValueColumn("total", "n"), twin="plant"), by_row)


def sent(source: FileSource, events_max: int = 1000) -> list[dict[str, Any]]:
    batches = iter(lambda: source.next_batch(events_max), None)
    events = itertools.chain.from_iterable(batch.events for batch in batches)
    return [msgspec.json.decode(msgspec.json.encode(event)) for event in events]


def test_rows_become_events(tmp_path: Path) -> None:
    with open_source(saved(tmp_path, "t.csv", TEXT), devices()) as source:
        file_id = source.file_id
        batch = source.next_batch(1000)
        assert batch is not None
        assert [part.model for part in batch.parts] == [None, "dtmi:x:Device;1"]
        assert (batch.rows, batch.empty) == (10, 3)
        assert source.next_batch(1000) is None
        source.rewind()
        events = sent(source)
    plant = [e for e in events if e.get("subject") == "plant"]
    others = {e["id"].removeprefix(f"src:{file_id}:"): e for e in events if e not in plant}
    assert [e["id"] for e in plant] == [
        f"src:{file_id}:{row}:plant" for row in (1, 2, 5, 6, 7, 8, 10)
    ] + [f"src:{file_id}:9:row"]  # fmt: skip
    assert plant[-1]["data"] == "1 cells where there are 4 columns: half a row"
    assert "time" not in plant[-1]
    assert others["1:dev-a/1"] == {
        "id": f"src:{file_id}:1:dev-a/1",
        "source": "src",
        "type": "gemel.samples",
        "specversion": "1.0",
        "time": "2026-01-01T00:00:00Z",
        "subject": "dev-a",
        "data": {"pressure": 1.5, "count": 1, "site": "Lab"},
    }
    assert others["2:dev-b/1"]["data"] == {"count": 2, "site": "Lab"}
    assert others["3:dev-a/1"]["data"] == {"pressure": 2.5, "site": "Lab"}
    assert "4:dev-a/1" not in others
    assert "subject" not in others["5:/1"]
    assert others["6:dev-a/1"]["data"]["pressure"] == "high"
    assert [others[k]["time"] for k in ("7:dev-a/1", "8:dev-b/1", "10:dev-a/1")] == [
        "soon", "", "2026-01-01T00:00:06Z",
    ]  # fmt: skip


@pytest.mark.parametrize("events_max", [1, 2, 3, 7, 1000])
def test_reading_goes_on_from_every_position_with_the_same_events(tmp_path: Path, events_max: int) -> None:
    path = saved(tmp_path, "t.csv", TEXT)
    with open_source(path, devices()) as source:
        whole = {e["id"]: e for e in sent(source)}
        source.rewind()
        before: list[dict[str, Any]] = []
        while batch := source.next_batch(events_max):
            before += [msgspec.json.decode(msgspec.json.encode(e)) for e in batch.events]
            assert batch.position == source.position == Position.parse(str(batch.position))
            with open_source(path, devices()) as again:
                again.seek(batch.position)
                after = sent(again, events_max)
            assert len(before) + len(after) == len(whole)
            assert {e["id"]: e for e in before + after} == whole
        assert source.bytes_done == source.bytes_total


def test_the_same_content_is_the_same_source_whatever_its_name(tmp_path: Path) -> None:
    one = open_source(saved(tmp_path, "one.csv", TEXT), devices())
    two = open_source(saved(tmp_path, "two.csv", TEXT), devices())
    longer = open_source(saved(tmp_path, "three.csv", TEXT + "2026-01-01T00:00:07Z,a,1,2\n"), devices())
    mapped = open_source(saved(tmp_path, "one.csv", TEXT), mapping_of(CSV, rule_of(ValueColumn("x", "n"))))
    assert one.name == two.name
    assert len({one.name, longer.name, mapped.name}) == 3
    assert one.file_id == mapped.file_id
    two.seek(one.position)
    with pytest.raises(InvalidError, match="FileChanged"):
        longer.seek(one.position)
    for source in (one, two, longer, mapped):
        source.close()


def test_a_file_written_to_while_read_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.csv", TEXT)
    with open_source(path, devices()) as source:
        assert source.next_batch(2) is not None
        with path.open("a") as file:
            file.write("2026-01-01T00:00:07Z,a,1,2\n")
        with pytest.raises(InvalidError, match="FileChanged") as caught:
            source.next_batch(2)
    assert str(path) in caught.value.message


def test_columns_that_never_have_a_value_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.ndjson", '{"at":"2026-01-01T00:00:00Z","p":1}\n{"at":"2026-01-01T00:00:01Z"}\n')
    rule = rule_of(ValueColumn("x", "p"), ValueColumn("y", "q"), ValueColumn("z", "r", optional=True))
    with open_source(path, mapping_of(FileFormat("ndjson"), rule)) as source:
        assert len(sent(source)) == 1
        assert source.unseen_columns == ("q",)


def test_the_revision_goes_with_every_event(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.csv", TEXT)
    with open_source(path, devices()) as source, open_source(path, replace(devices(), revision=3)) as later:
        assert source.name != later.name
        assert {event.get("revision") for event in sent(source)} == {None}
        assert {event.get("revision") for event in sent(later)} == {3}


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="FileUnreadable"):
        open_source(tmp_path, devices())


@pytest.mark.parametrize("text", ["", "x:1:2", "0" * 24 + ":1", "0" * 24 + ":-1:2", "0" * 24 + ":1:2:3"])
def test_a_strange_position_is_none(text: str) -> None:
    assert Position.parse(text) is None


def test_an_open_file_is_closed_when_its_header_does_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path, "t.csv", "a,b\n")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidError, match="MappingInvalid"):
        open_source(path, devices())
    assert set(os.listdir("/proc/self/fd")) == before
