from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gemel.cli import app

GOOD = """\
{
  "@context": "dtmi:dtdl:context;3",
  "@id": "dtmi:site:Tank;1",
  "@type": "Interface",
  "contents": [ { "@type": "Property", "name": "level", "schema": "double" } ]
}
"""
BAD = """\
{
  "@context": "dtmi:dtdl:context;3",
  "@id": "dtmi:site:Pump;1",
  "@type": "Interface",
  "extends": "dtmi:site:Tank;1",
  "contents": [
\t{ "@type": "Property", "name": "level", "schema": "double", "colour": "red" }
  ]
}
"""


def validate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", "validate", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tank.json").write_text(GOOD)
    (tmp_path / "pump.json").write_text(BAD)
    return tmp_path


def test_good_models_need_no_server(folder: Path) -> None:
    result = validate(folder / "tank.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 model in 1 file: no errors." in result.stderr


def test_an_error_is_shown_as_a_compiler_does(folder: Path) -> None:
    result = validate(folder)
    assert result.exit_code == 1
    first, place, _, source, carets, hint, *_ = result.stdout.splitlines()
    assert first.startswith(
        "error[dtmi:dtdl:parsingError:propertyUndefinedTerm]: dtmi:site:Pump:_contents:__level;1"
    )
    column = BAD.splitlines()[6].index('"colour"') + 1
    assert place == f" --> {folder / 'pump.json'}:7:{column}"
    assert source == "7 | " + BAD.splitlines()[6].replace("\t", " ")
    assert carets == "  | " + " " * (column - 1) + "^" * len('"colour"')
    assert hint.startswith("  = hint: ")
    assert len(hint) > len("  = hint: ")
    assert "1 error in 2 files." in result.stderr


def test_a_long_line_is_cut_around_the_fault(tmp_path: Path) -> None:
    path = tmp_path / "one-line.json"
    path.write_text(json.dumps([json.loads(GOOD), {**json.loads(GOOD), "@id": "dtmi:site:T;2", "extra": 1}]))
    result = validate(path)
    _, place, _, source, carets, *_ = result.stdout.splitlines()
    assert place.startswith(f" --> {path}:1:")
    assert len(source) < 140
    assert source[carets.index("^") : carets.rindex("^") + 1] == '"extra"'


def test_json_gives_the_same_to_a_script(folder: Path) -> None:
    result = validate(folder, "--json")
    assert result.exit_code == 1
    body: dict[str, Any] = json.loads(result.stdout)
    assert (body["valid"], body["models"]) == (False, 0)
    (error,) = body["errors"]
    assert error["file"] == str(folder / "pump.json")
    assert (error["line"], error["column"], error["width"]) == (7, 62, 8)
    assert error["code"] == "dtmi:dtdl:parsingError:propertyUndefinedTerm"
    assert error["property"] == "colour"
    assert error["message"].endswith(error["hint"])
    good = validate(folder / "tank.json", "--json")
    assert (good.exit_code, json.loads(good.stdout)) == (0, {"valid": True, "models": 1, "errors": []})


def test_what_is_not_json_is_shown_too(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{\n  "@id": \x1b[31m\n}')
    result = validate(path)
    assert result.exit_code == 1
    assert "invalidJson" in result.stdout
    assert f"{path}:2:10" in result.stdout
    assert "\x1b" not in result.stdout


def test_bytes_that_are_no_text_have_a_file_and_no_line(tmp_path: Path) -> None:
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    result = validate(path)
    assert result.exit_code == 1
    assert f"--> {path}\n" in result.stdout


def test_a_file_that_is_not_there_and_an_empty_folder_are_told_of(tmp_path: Path) -> None:
    missing = validate(tmp_path / "none.json")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "none.json cannot be read" in missing.stderr
    assert validate(tmp_path).exit_code == 2
