"""How a command is declared: its examples, its grouped options, and what happens to its errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

import typer

from gemel.base.errors import GemelError
from gemel.cli import output
from gemel.cli.exits import exit_of

__all__ = ["Example", "Panel", "command", "group"]

Example = tuple[str, str]
Function = TypeVar("Function", bound=Callable[..., None])


class Panel(StrEnum):
    """Under which heading the root's help lists a command."""

    RUN = "Run"
    GRAPH = "Graph"
    DATA = "Data"
    OPERATE = "Operate this machine's gemel"


def group(name: str, about: str) -> typer.Typer:
    """Return an empty group of commands; called without one of them, it prints its help."""
    return typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode="rich")


def command(
    app: typer.Typer, name: str, *examples: Example, panel: Panel | None = None
) -> Callable[[Function], Function]:
    """Register a function as the command `name`; the examples stand at the end of its help.

    A parameter whose type is a dataclass stands for the fields of it, each an option: so options that
    belong together are declared once and arrive as one value. A GemelError is printed to standard error
    (as JSON where the command was given --json) and becomes the exit code.
    """

    def register(function: Function) -> Function:
        bundles = _bundles(function)

        def run(**given: Any) -> None:
            arguments = _gather(given, bundles)
            try:
                function(**arguments)
            except GemelError as error:
                output.show_error(error, as_json=bool(given.get("as_json")))
                raise typer.Exit(exit_of(error)) from error

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        run.__signature__ = _signature(function)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        app.command(name, epilog=epilog(examples), rich_help_panel=panel)(run)
        return function

    return register


def epilog(examples: Sequence[Example]) -> str:
    """Return the end of a help page: each example as the line to type and what it does."""
    lines = [f"[cyan]{_plain(line)}[/cyan]   {_plain(what)}" for line, what in examples]
    return "\n\n".join(["[bold]Examples[/bold]", *lines])


def _plain(text: str) -> str:
    # Neither is `[x]` a style nor `:x:` a picture: an example is there to be copied.
    return text.replace("[", r"\[").replace(":", "[none]:[/none]")


def _bundles(function: Callable[..., None]) -> dict[str, type]:
    parameters = inspect.signature(function, eval_str=True).parameters
    return {name: p.annotation for name, p in parameters.items() if _is_bundle(p.annotation)}


def _is_bundle(annotation: Any) -> bool:
    return isinstance(annotation, type) and is_dataclass(annotation)


def _gather(given: dict[str, Any], bundles: dict[str, type]) -> dict[str, Any]:
    arguments = dict(given)
    for name, kind in bundles.items():
        arguments[name] = kind(**{f.name: arguments.pop(f.name) for f in fields(kind)})
    return arguments


def _signature(function: Callable[..., None]) -> inspect.Signature:
    own = inspect.signature(function, eval_str=True).parameters.values()
    parameters: list[inspect.Parameter] = []
    for parameter in own:
        expanded = _fields(parameter.annotation) if _is_bundle(parameter.annotation) else [parameter]
        parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in expanded]
    return inspect.Signature(parameters)


def _fields(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if f.default is MISSING else f.default,
            annotation=hints[f.name],
        )
        for f in fields(kind)
    ]
