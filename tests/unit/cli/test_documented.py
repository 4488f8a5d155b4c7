from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gemel.base.settings import SETTINGS
from gemel.cli import app
from gemel.cli.exits import Exit

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")


def commands(found: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, by its full name."""
    children = getattr(found, "commands", None)
    if children is None:
        yield path, found
        return
    for name, child in children.items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "gemel"))
SHARED = {"--url", "--key", "--data", "--json", "--help"}


def section(path: str) -> str:
    """Return the part of the page under a command's heading."""
    match = re.search(rf"^### {re.escape(path)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/cli.md has no heading '### {path}'"
    return match[1]


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


def test_the_commands_of_the_plan_are_there() -> None:
    wanted = """up demo models twins relate ingest history watch query quarantine tenant key audit db backup
        restore doctor""".split()
    assert set(wanted) <= {path.split()[1] for path in COMMANDS}


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_is_in_the_page_with_all_its_options(path: str) -> None:
    text = section(path)
    missing = {name for name in options(COMMANDS[path]) - SHARED if f"`{name}" not in text}
    assert not missing, f"docs/cli.md, {path}: {sorted(missing)} not described"


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_has_an_example_of_itself_in_its_help(path: str) -> None:
    end = COMMANDS[path].epilog or ""
    assert "Examples" in end
    assert path in end


@pytest.mark.parametrize("path", COMMANDS)
def test_a_shell_leaves_an_example_as_it_stands(path: str) -> None:
    """`$body` in double quotes would be taken for a variable."""
    assert not re.search(r"(?<!\\)\$\w", COMMANDS[path].epilog or "")


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_says_what_it_does_and_what_each_option_means(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    assert not [p.name for p in command.params if not p.help]


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_answers_machines_too(path: str) -> None:
    assert "--json" in options(COMMANDS[path])


def test_the_page_names_no_command_that_is_not_there() -> None:
    assert set(re.findall(r"^### (gemel .*)$", PAGE, re.MULTILINE)) == set(COMMANDS)


def test_every_exit_code_is_in_the_page() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
    assert {int(code) for code in rows} == {int(code) for code in Exit}


def test_variables_that_the_page_names_are_settings() -> None:
    assert set(re.findall(r"GEMEL_[A-Z_]+", PAGE)) <= set(SETTINGS)
