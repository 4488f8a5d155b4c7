"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gemel.base.codes import CODES
from gemel.base.errors import GemelError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = [
    "cell",
    "console",
    "note",
    "plain",
    "print_array",
    "print_json",
    "print_line",
    "print_table",
    "remedy_of",
    "show_error",
]

PIPE_COLUMNS = 200
CONTROLS = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}

POINTERS = ("Read the message", "The message ")


def console(*, stderr: bool = False) -> Console:
    """Return a console of standard output or standard error; not a terminal, it is wide unless COLUMNS says."""
    from rich.console import Console

    # A DTMI may have `:o:` in it, which is no picture.
    made = Console(stderr=stderr, highlight=False, emoji=False)
    if not (made.is_terminal or os.environ.get("COLUMNS")):
        made.width = max(made.width, PIPE_COLUMNS)
    return made


def print_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_array(values: Iterable[Any]) -> None:
    """Print a JSON array item by item, so that a long one needs no memory."""
    before = "["
    for value in values:
        sys.stdout.write(f"{before}\n  {json.dumps(value, ensure_ascii=False)}")
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


def print_line(value: Any) -> None:
    """Print one JSON document as one line at once, for streams."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print rows as a table; absent values are blank, and columns with numbers, or named count, stand right.

    A value may be a rich Text, which keeps its style.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    table = Table(
        title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for index, name in enumerate(columns):
        numeric = name == "count" or any(_is_number(row[index]) for row in listed)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=name == "time")
    for row in listed:
        table.add_row(*(_tame(value) if isinstance(value, Text) else Text(cell(value)) for value in row))
    console().print(table)


def cell(value: Any) -> str:
    """Return a value as a table shows it: text as it is but for control characters, nothing as blank, else JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    return plain(json.dumps(value, ensure_ascii=False))


def plain(text: str) -> str:
    """Return a text with its control characters written out, so that what devices sent does not steer a terminal."""
    return text.translate(CONTROLS)


def note(text: str) -> None:
    """Say something about the result, on standard error."""
    console(stderr=True).print(plain(text), markup=False, soft_wrap=True)


def show_error(error: GemelError, *, as_json: bool) -> None:
    """Print an error to standard error: what was wrong, its parts, its code, and what to do."""
    if as_json:
        sys.stderr.write(json.dumps({"error": error_body(error)}, ensure_ascii=False) + "\n")
        return
    from rich.text import Text

    err = console(stderr=True)
    err.print(
        Text.assemble(("error ", "bold red"), plain(error.message), (f" [{error.code}]", "dim")),
        soft_wrap=True,
    )
    for detail in error.details:
        err.print(Text.assemble("  - ", plain(detail.message), (f" [{detail.code}]", "dim")), soft_wrap=True)
    if remedy := remedy_of(error):
        err.print(Text.assemble(("next  ", "bold green"), plain(remedy)), soft_wrap=True)


def error_body(error: GemelError) -> Mapping[str, Any]:
    """Return an error as commands print it with --json."""
    return {
        "code": error.code,
        "message": error.message,
        "details": [{"code": detail.code, "message": detail.message} for detail in error.details],
        "next": remedy_of(error),
    }


def remedy_of(error: GemelError) -> str | None:
    """Return what to do about an error: its own hint, or what is said of its code."""
    if error.hint:
        return error.hint
    known = CODES.get(error.code)
    # The message stands above already: what only points to it is no next step.
    return known.remedy if known and not known.remedy.startswith(POINTERS) else None


def _tame(text: Text) -> Text:
    from rich.text import Text

    return text if plain(text.plain) == text.plain else Text(plain(text.plain), text.style)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
