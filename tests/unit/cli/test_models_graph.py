from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gemel.cli import app
from support.models import interface


def graph(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", "graph", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.json"
    path.write_text(
        json.dumps([interface("dtmi:test:a;1"), interface("dtmi:test:b;1", extends="dtmi:test:a;1")])
    )
    return path


def test_mermaid_is_the_default(file: Path) -> None:
    result = graph(file)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "classDiagram"
    assert "  m1 --|> m0" in result.stdout


def test_svg(file: Path) -> None:
    result = graph(file, "--format", "svg")
    assert result.exit_code == 0
    assert result.stdout.startswith("<svg ")
    assert result.stdout.endswith("</svg>\n")


def test_json(file: Path) -> None:
    body = json.loads(graph(file, "--json").stdout)
    assert body["models"] == ["dtmi:test:a;1", "dtmi:test:b;1"]
    assert body["links"] == [
        {"source": "dtmi:test:b;1", "target": "dtmi:test:a;1", "kind": "extends", "names": []}
    ]


def test_files_and_models_cannot_be_mixed(file: Path) -> None:
    assert graph(file, "dtmi:test:a;1").exit_code == 2
