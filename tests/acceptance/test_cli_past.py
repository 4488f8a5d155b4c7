"""`gemel timeline`, `gemel explain` and `gemel diff` as a user runs them, over files that came late and corrected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import Site, serving

PUMP = "dtmi:example:Pump;1"
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": PUMP,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "setpoint", "schema": "double", "writable": True},
        {"@type": "Property", "name": "speed", "schema": "double"},
        {"@type": "Telemetry", "name": "flow", "schema": "double"},
        {"@type": "Relationship", "name": "feeds", "target": PUMP},
    ],
}
MAPPING = """
version: 1
source: line-1
revision: {revision}
format: {{type: csv}}
time: {{column: at}}
twins:
  - twin: pump-1
    model: {model}
    values: {{speed: rpm, flow: flow}}
"""
FILES = {
    "shift.csv": (0, ["06:00:00Z,1440,12.5", "06:10:00Z,1450,12.6", "06:20:00Z,1460,12.9"]),
    "late.csv": (0, ["06:05:00Z,1444,12.5"]),
    "revised.csv": (1, ["06:20:00Z,1455,12.9"]),
}
START, END = "2026-01-31T06:15:00Z", "2026-01-31T07:00:00Z"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("shift")
    with serving() as served:
        (folder / "pump.json").write_text(json.dumps([MODEL]))
        assert served.run("models", "add", str(folder / "pump.json")).code == 0
        for name, (revision, rows) in FILES.items():
            ingest(served, folder / name, revision, rows)
        assert served.run("twins", "create", "pump-2", "--model", PUMP, "--set", "setpoint=900").code == 0
        assert served.run("relate", "pump-1", "feeds", "pump-2").code == 0
        assert served.run("twins", "patch", "pump-1", "--set", "setpoint=1500").code == 0
        yield served


def ingest(site: Site, file: Path, revision: int, rows: list[str]) -> None:
    file.write_text("\n".join(["at,rpm,flow", *(f"2026-01-31T{row}" for row in rows)]) + "\n")
    mapping = file.with_suffix(".yaml")
    mapping.write_text(MAPPING.format(revision=revision, model=PUMP))
    done = site.run("ingest", str(file), "--mapping", str(mapping), "--create-twins")
    assert done.code == 0, done.err


def test_a_timeline_names_file_row_and_mapping(site: Site) -> None:
    entries = site.run("timeline", "pump-1", "speed", "--oldest-first", "--json").json()
    assert [(e["before"], e["after"]) for e in entries] == [
        (None, 1440),
        (1440, 1444),
        (1444, 1450),
        (1450, 1455),
    ]
    assert [e.get("late", False) for e in entries] == [False, True, False, False]
    events = [e["cause"]["event"] for e in entries]
    assert [event["file"] for event in events] == ["shift.csv", "late.csv", "shift.csv", "revised.csv"]
    assert [event["mapping"].partition("@")[0] for event in events] == [
        "shift.yaml",
        "late.yaml",
        "shift.yaml",
        "revised.yaml",
    ]
    assert [event["id"].split(":")[2] for event in events] == ["1", "1", "2", "1"]
    (lost,) = entries[-1]["superseded"]
    assert (lost["value"], lost["cause"]["event"]["id"].split(":")[2]) == (1460, "3")


def test_a_timeline_in_the_terminal(site: Site) -> None:
    done = site.run("timeline", "pump-1", COLUMNS="200")
    assert done.code == 0
    for text in (
        "twin.patch",
        "relationship.created",
        "feeds-pump-2",
        "corrected",
        "late",
        "won against",
        "twin.created",
    ):
        assert text in " ".join(done.out.split()), text
    assert "flow" not in done.out
    assert "flow" in site.run("timeline", "pump-1", "--kind", "telemetry").out
    some = site.run("timeline", "pump-1", "--limit", "2")
    assert "There are more; --limit was 2" in some.err


def test_a_deleted_twin_keeps_its_timeline(site: Site) -> None:
    assert site.run("twins", "create", "gone", "--model", PUMP, "--set", "setpoint=1").code == 0
    assert site.run("twins", "delete", "gone").code == 0
    entries = site.run("timeline", "gone", "--oldest-first", "--json").json()
    assert sorted(e["what"] for e in entries) == ["property", "twin.created", "twin.deleted"]
    assert [e["cause"]["action"] for e in entries] == ["twin.put", "twin.put", "twin.delete"]


def test_an_explanation_names_all_that_made_a_value(site: Site) -> None:
    (value,) = site.run("explain", "pump-1", "speed", "--json").json()
    assert (value["value"], value["before"], value["revision"]) == (1455, 1450, 1)
    assert [rule["rule"] for rule in value["rules"]] == ["eventTime", "higherRevision", "newestTime"]
    shown = site.run("explain", "pump-1").out
    for text in (
        "speed = 1455",
        "revised.csv",
        "revised.yaml@",
        "higherRevision",
        "won against 1460",
        "trace ",
    ):
        assert text in shown, text
    assert "recordedTime" in shown


def test_a_difference_of_a_twin_its_neighbours_and_the_graph(site: Site) -> None:
    (item,) = site.run("diff", START, END, "--twin", "pump-1", "--json").json()
    assert item["values"] == [{"path": "speed", "role": "property", "before": 1450, "after": 1455}]
    around = site.run("diff", START, "--twin", "pump-1", "--depth", "1", "--json").json()
    told = [(item["twin"], item.get("relationship"), item["change"]) for item in around]
    assert told == [
        ("pump-1", None, "changed"),
        ("pump-1", "feeds-pump-2", "added"),
        ("pump-2", None, "added"),
    ]
    shown = site.run("diff", START).out
    for text in ("~   pump-1", "+   pump-2", "feeds → pump-2", "setpoint"):
        assert text in shown, text
    assert "Nothing differs" in site.run("diff", END, END).err


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["timeline", "nobody"], "DigitalTwinNotFound", 1),
        (["timeline", "pump-1", "nothing"], "PathNotInModel", 1),
        (["timeline", "pump-1", "--kind", "all"], "UsageInvalid", 2),
        (["timeline", "pump-1", "--from", "yesterday"], "InvalidArgument", 1),
        (["explain", "nobody"], "DigitalTwinNotFound", 1),
        (["explain", "pump-1", "nothing"], "PathNotInModel", 1),
        (["explain", "pump-1", "--as-of", START[:10]], "InvalidArgument", 1),
        (["diff", "yesterday"], "InvalidArgument", 1),
        (["diff", END, START], "InvalidArgument", 1),
        (["diff", START, "--depth", "2"], "UsageInvalid", 2),
        (["diff", START, "--twin", "nobody"], "DigitalTwinNotFound", 1),
    ],
)
def test_what_cannot_be_told_is_refused(site: Site, arguments: list[str], code: str, exit_code: int) -> None:
    done = site.run(*arguments, "--json")
    assert (done.error()["code"], done.code) == (code, exit_code)
