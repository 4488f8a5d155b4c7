"""An OPC UA server as a user meets it: looked at, drafted, added, started, read; and gone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.platform import free_port
from support.command_line import Site, serving
from support.source_tree import ROOT

WAIT_S_MAX = 60.0
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Pump;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "temperature", "schema": "double"},
        {"@type": "Telemetry", "name": "speed", "schema": "double"},
    ],
}


@pytest.fixture
def url() -> Iterator[str]:
    port = free_port()
    program = [sys.executable, str(ROOT / "tests" / "support" / "opcua_plant.py"), str(port)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as plant:
        try:
            assert plant.stdout is not None
            assert plant.stdout.readline() == b"ready\n"
            yield f"opc.tcp://127.0.0.1:{port}/plant"
        finally:
            plant.kill()


def test_from_a_look_to_twins(url: str, tmp_path: Path) -> None:
    with serving(GEMEL_OUTBOUND_ALLOW="127.0.0.1") as site:
        sights = site.run("source", "browse", url, "--json").json()
        assert {(sight["path"], sight["type"], sight["pint"]) for sight in sights} == {
            (f"Plant/Pump{number}/{name}", "Double", unit)
            for number in (1, 2)
            for name, unit in (("Speed", "rpm"), ("Temperature", "degC"))
        }
        assert "Pump2" in site.run("source", "browse", url, "**/{Pump2}/*").out
        drafted = site.run("source", "browse", url, "Plant/{*}/**", "--draft", "plant")
        assert drafted.code == 0
        file = tmp_path / "plant.yaml"
        model = "    - twin: '{thing}'\n      model: dtmi:test:Pump;1\n"
        text = drafted.out.replace("    - twin: '{thing}'\n", model) + "create_twins: true\n"
        file.write_text(text, "utf-8")
        _read(site, file)
        # What a source's file says of a server is enough to look at it.
        assert len(site.run("source", "browse", str(file), "--json").json()) == 4


def _read(site: Site, file: Path) -> None:
    key = (site.data / "default.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30, trust_env=False) as client:
        client.post("/models", json=[MODEL]).raise_for_status()
        assert site.run("source", "test", str(file), "--json").json()["problems"] == []
        assert site.run("source", "add", str(file)).code == 0
        assert site.run("source", "start", "plant").code == 0
        deadline_s = time.monotonic() + WAIT_S_MAX
        while True:
            found = client.get("/v1/sources/plant").json()
            if found["counts"]["accepted"] >= 20:
                break
            assert time.monotonic() < deadline_s, found
            time.sleep(0.1)
        assert 20.0 <= client.get("/digitaltwins/Pump1").json()["temperature"] < 30.0
        assert (found["error"], found["counts"]["quarantined"]) == (None, 0)


def test_what_cannot_be_looked_at_is_told() -> None:
    with serving() as site:
        done = site.run("source", "browse", f"opc.tcp://127.0.0.1:{free_port()}", "--json")
        assert (done.code, done.error()["code"]) == (1, "SourceUnavailable")
        assert site.run("source", "browse", "http://x", "--json").error()["code"] == "SourceInvalid"
        assert site.run("source", "browse", "/none", "--json").error()["code"] == "FileUnreadable"
