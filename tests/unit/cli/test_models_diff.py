from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gemel.cli import app
from support.models import interface, prop


def diff(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", "diff", *map(str, arguments)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(interface("dtmi:test:a;1", prop("x"), prop("y"))))
    new.write_text(json.dumps(interface("dtmi:test:a;2", prop("x"), prop("z"))))
    return old, new


def test_changes_are_a_table_and_breaking_ones_an_exit_code(files: tuple[Path, Path]) -> None:
    result = diff(*files)
    assert result.exit_code == 1
    rows = [line.split() for line in result.stdout.splitlines() if "dtmi:" in line]
    assert [row[:3] for row in rows] == [
        ["BREAKING", "dtmi:test:a;1", "y"],
        ["compatible", "dtmi:test:a;1", "z"],
    ]
    assert "2 changes, 1 breaking." in result.stderr


def test_no_difference(files: tuple[Path, Path]) -> None:
    result = diff(files[0], files[0])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No difference." in result.stderr


def test_json(files: tuple[Path, Path]) -> None:
    result = diff(*files, "--json")
    assert result.exit_code == 1
    body = json.loads(result.stdout)
    assert body["compatible"] is False
    assert [(each["path"], each["compatible"]) for each in body["changes"]] == [("y", False), ("z", True)]


def test_a_file_and_a_model_cannot_be_compared(files: tuple[Path, Path]) -> None:
    assert diff(files[0], "dtmi:test:a;2").exit_code == 2


def test_models_that_are_wrong_are_told_of(files: tuple[Path, Path]) -> None:
    files[1].write_text('{"@id": "dtmi:test:a;2"}')
    result = diff(*files)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "missingContext" in result.stderr
