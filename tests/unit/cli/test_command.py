from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from gemel.base.errors import Detail, EnvironmentFaultError, GemelError, InvalidError
from gemel.cli.command import command
from gemel.cli.options import LocalOptions

RUNNER = CliRunner()


@dataclass(frozen=True)
class Bounds:
    low: Annotated[int, typer.Option("--low")]
    high: Annotated[int, typer.Option("--high")] = 9


def app_that_raises(error: GemelError | None, seen: list[object]) -> typer.Typer:
    app = typer.Typer()

    @command(app, "go", ("gemel go [x] dtmi:o:Pump;1", "with [brackets]"))
    def go(name: Annotated[str, typer.Argument()], bounds: Bounds, local: LocalOptions) -> None:
        """Go."""
        seen.append((name, bounds, local.as_json))
        if error is not None:
            raise error

    return app


def test_a_dataclass_stands_for_its_options() -> None:
    seen: list[object] = []
    result = RUNNER.invoke(app_that_raises(None, seen), ["n", "--low", "1", "--json"])
    assert (result.exit_code, seen) == (0, [("n", Bounds(1, 9), True)])


def test_a_field_without_a_default_is_a_required_option() -> None:
    result = RUNNER.invoke(app_that_raises(None, []), ["n"])
    assert result.exit_code == 2
    assert "--low" in result.stderr


def test_examples_stand_in_the_help_with_their_brackets_and_colons() -> None:
    text = RUNNER.invoke(app_that_raises(None, []), ["--help"]).stdout
    assert "gemel go [x] dtmi:o:Pump;1" in text
    assert "with [brackets]" in text


def test_an_error_goes_to_standard_error_with_details_code_and_next_step() -> None:
    error = InvalidError(
        "ValidationFailed", "Bad [bold]body[/].", details=(Detail("WrongType", "a is text"),)
    )
    result = RUNNER.invoke(app_that_raises(error, []), ["n", "--low", "1"])
    assert result.exit_code == 1
    assert result.stdout == ""
    for part in ("Bad [bold]body[/].", "[ValidationFailed]", "a is text", "[WrongType]", "next"):
        assert part in result.stderr


def test_with_json_the_error_is_json_on_standard_error() -> None:
    error = EnvironmentFaultError("ServerUnreachable", "Nobody there.", "Start one.")
    result = RUNNER.invoke(app_that_raises(error, []), ["n", "--low", "1", "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stderr) == {
        "error": {
            "code": "ServerUnreachable",
            "message": "Nobody there.",
            "details": [],
            "next": "Start one.",
        }
    }


def test_a_wrong_use_exits_as_typer_does() -> None:
    result = RUNNER.invoke(app_that_raises(InvalidError("UsageInvalid", "No."), []), ["n", "--low", "1"])
    assert result.exit_code == 2
