"""Models over their life, on the command line: found, deprecated, left for the next version; and indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Site, serving

ONE, TWO = "dtmi:site:Fan;1", "dtmi:site:Fan;2"


def fan(model: str, schema: str) -> dict[str, Any]:
    return {
        "@context": "dtmi:dtdl:context;3",
        "@id": model,
        "@type": "Interface",
        "displayName": "Exhaust fan",
        "contents": [{"@type": "Property", "name": "speed", "schema": schema}],
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("fans")
    with serving() as served:
        for name, model, schema in (("one", ONE, "double"), ("two", TWO, "integer")):
            (folder / f"{name}.json").write_text(json.dumps(fan(model, schema)))
            assert served.run("models", "add", str(folder / f"{name}.json")).code == 0
        yield served


def test_models_are_found_by_their_words(site: Site) -> None:
    assert ONE in site.run("models", "search", "EXHAUST").out
    found = site.run("models", "search", "fan speed", "--json").json()
    assert [each["id"] for each in found] == [ONE, TWO]
    assert site.run("models", "search", "fan zeppelin", "--json").json() == []


def test_a_model_is_deprecated_and_its_log_tells_all(site: Site) -> None:
    removal = "2027-06-30T00:00:00Z"
    done = site.run("models", "deprecate", ONE, "--successor", TWO, "--removal", removal, "--note", "coarse")
    assert (done.code, f"use {TWO}" in done.err + done.out) == (0, True)
    shown = site.run("models", "log", ONE, "--note", "as built", "--json").json()
    assert [entry["kind"] for entry in shown["log"]] == ["noted", "deprecated", "added"]
    assert shown["deprecation"]["successor"] == TWO
    assert "BREAKING: speed.schema: double → integer" in site.run("models", "log", TWO).out
    assert site.run("models", "undeprecate", ONE, "--json").json() == {"id": ONE, "deprecation": None}


def test_twins_are_moved_once_all_of_them_fit(site: Site) -> None:
    for twin, speed in (("f1", 3.0), ("f2", 2.5)):
        assert site.run("twins", "create", twin, "--model", ONE, "--set", f"speed={speed}").code == 0
    ask = ("models", "upgrade", "--from", ONE, "--to", TWO)
    looked = site.run(*ask, "--dry-run", "--json")
    misfits = [(each["twin"], each["path"], each["value"]) for each in json.loads(looked.out)["misfits"]]
    assert (looked.code, misfits) == (1, [("f2", "speed", 2.5)])
    stays = site.run(*ask)
    assert (stays.code, "Nothing was moved" in stays.out + stays.err) == (1, True)
    partly = site.run(*ask, "--partly", "--json")
    assert (partly.code, partly.json()["moved"]) == (4, 1)
    dropped = site.run(*ask, "--drop", "--json")
    assert (dropped.code, dropped.json()["moved"]) == (0, 1)
    assert site.run("models", "log", TWO, "--json").json()["twins"] == 2


def test_a_path_is_indexed_used_and_left_again(site: Site) -> None:
    done = site.run("index", "add", TWO, "speed", "--json")
    assert (done.code, done.json()["path"]) == (0, "speed")
    assert "speed" in site.run("index", "list").out
    text = "SELECT T.$dtId FROM digitaltwins T WHERE T.speed = 3"
    assert [row["$dtId"] for row in site.run("query", text, "--json").json()] == ["f1"]
    assert site.run("index", "add", TWO, "speed", "--json").error()["code"] == "IndexAlreadyExists"
    assert site.run("index", "remove", "speed").code == 0
    assert site.run("index", "list", "--json").json() == []
