"""`gemel mapping` as a user runs it: a draft from a sample, tried, kept, and messages pushed through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.command_line import Site, serving

MODEL = {
    "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
    "@id": "dtmi:plant:Pump;1",
    "@type": "Interface",
    "contents": [
        {
            "@type": ["Telemetry", "Temperature"],
            "name": "motorTemperature",
            "schema": "double",
            "unit": "degreeCelsius",
        },
        {"@type": "Property", "name": "running", "schema": "boolean"},
    ],
}
GOOD = {"deviceId": "pump-1", "ts": 1769860800123, "mot_temp_degF": 212, "running": "ON", "fw": "1.2"}
BAD = {**GOOD, "ts": 1769860801000, "mot_temp_degF": "n/a"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def test_from_a_sample_to_values(site: Site, tmp_path: Path) -> None:
    models, sample, draft = tmp_path / "pump.json", tmp_path / "sample.ndjson", tmp_path / "pump.yaml"
    models.write_text(json.dumps(MODEL))
    sample.write_text(json.dumps(GOOD) + "\n")
    assert site.run("models", "add", str(models)).code == 0
    assert site.run("twins", "create", "pump-1", "--model", "dtmi:plant:Pump;1").code == 0

    model = ("--model", "dtmi:plant:Pump;1")
    told = site.run("mapping", "suggest", str(sample), *model, "--output", str(draft))
    assert told.code == 0, told
    assert "degF becomes degC" in told.out
    offline = site.run("mapping", "suggest", str(sample), *model, "--models", str(models))
    assert offline.out == draft.read_text()

    shown = site.run("mapping", "test", str(draft), str(sample), "--models", str(models))
    assert shown.code == 0, shown
    for part in (
        "mot_temp_degF",
        "motorTemperature",
        "100",
        "not mapped",
        "1 messages, 1 events, 0 problems",
    ):
        assert part in shown.out + shown.err
    sample.write_text(f"{json.dumps(GOOD)}\n{json.dumps(BAD)}\n")
    tried = site.run("mapping", "test", str(draft), str(sample), "--json")
    assert tried.code == 4
    first, second = tried.json()["messages"]
    assert first["events"][0]["data"] == {"motorTemperature": 100.0, "running": True}
    (problem,) = second["problems"]
    assert problem == "twins[0].values.motorTemperature: 'n/a' is no number"
    assert {
        "path": "mot_temp_degF",
        "given": "n/a",
        "target": "motorTemperature",
        "problem": problem,
    } in second["lines"]

    kept = site.run("mapping", "add", "plant", str(draft), "--json").json()
    assert (kept["version"], site.run("mapping", "list", "--json").json()) == (1, [kept])
    assert site.run("mapping", "show", "plant", "--version", "1").out == draft.read_text()
    key = (site.data / "default.key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    answer = httpx.post(f"{site.url}/v1/push/plant", content=sample.read_bytes(), headers=headers).json()
    assert (answer["accepted"], answer["quarantined"]) == (2, 1)
    (waiting,) = site.run("quarantine", "list", "--json").json()
    assert (waiting["code"], waiting["source"]) == ("MappingFailed", "sample")
    assert site.run("mapping", "remove", "plant").code == 0
    assert site.run("mapping", "show", "plant", "--json").error()["code"] == "MappingNotFound"


def test_what_is_wrong_is_told_with_its_place(site: Site, tmp_path: Path) -> None:
    mapping, sample, models = tmp_path / "m.yaml", tmp_path / "s.json", tmp_path / "pump.json"
    mapping.write_text("version: 2\nsource: s\ntwins:\n  - twin: t\n    values: {x: {path: 'a['}}\n")
    sample.write_text("{}")
    error = site.run("mapping", "test", str(mapping), str(sample), "--json").error()
    assert error["code"] == "MappingInvalid"
    assert "twins[0].values.x.path" in error["message"]
    mapping.write_text(
        "version: 2\nsource: s\ntwins:\n  - twin: t\n    model: dtmi:plant:Pump;1\n"
        "    values: {motorTemperature: {path: a, unit: degC, to: degF}, colour: b}\n"
    )
    sample.write_text('{"a": 1}')
    models.write_text(json.dumps(MODEL))
    tried = site.run("mapping", "test", str(mapping), str(sample), "--models", str(models), "--json")
    assert tried.code == 4
    said = " ".join(tried.json()["modelProblems"])
    assert "becomes degF, and the model has degC" in said
    assert "'colour'" in said
    missing = site.run("mapping", "test", str(mapping), str(tmp_path / "none.json"), "--json")
    assert missing.error()["code"] == "FileUnreadable"
