"""`gemel source browse`: what an OPC UA server has, asked from here, and a source drafted of it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.cli import output

if TYPE_CHECKING:
    from gemel.connectors.opcua import Login
    from gemel.connectors.opcua_browse import Sight
    from gemel.sources.permits import Place

__all__ = ["Browsing"]

LOGIN = ("url", "security", "user", "password", "timeout_s")


class Browsing:
    """A server to look at: by its URL, or by the description of a source, of which its secrets are looked up here."""

    def __init__(self, target: str) -> None:
        if importlib.util.find_spec("asyncua") is None:
            message = "OPC UA needs the package asyncua."
            raise EnvironmentFaultError("ExtraMissing", message, "pip install 'gemel[opcua]'")
        self._connection = {"url": target} if "://" in target else _connection(Path(target))

    def tree(self, patterns: Sequence[str], *, as_json: bool) -> None:
        """Print the variables that patterns fit."""
        sights = self._look(patterns)
        if as_json:
            output.print_json([asdict(sight) | {"path": "/".join(sight.path)} for sight in sights])
            return
        rows: list[list[Any]] = []
        before: tuple[str, ...] = ()
        for sight in sights:
            for depth, name in enumerate(sight.path[:-1]):
                if sight.path[: depth + 1] != before[: depth + 1]:
                    rows.append(["  " * depth + name, "", "", "", ""])
            before = sight.path
            unit = sight.pint or sight.unit
            history = "yes" if sight.history else ""
            rows.append(["  " * (len(sight.path) - 1) + sight.path[-1], sight.id, sight.type, unit, history])
        output.print_table(("node", "id", "type", "unit", "history"), rows)

    def draft(self, name: str, patterns: Sequence[str]) -> None:
        """Print the description of a source that reads the variables that patterns fit."""
        from gemel.connectors.opcua_browse import draft_source

        sights = self._look(patterns)
        if not sights:
            raise InvalidError("InvalidArgument", "No readable variable fits the patterns.", "Browse first.")
        output.console().out(draft_source(name, self._connection, sights), end="")

    def save_certificate(self, file: Path) -> None:
        """Write the server's certificate to a file, and print how it can be connected to."""
        from gemel.connectors.opcua_browse import look_at_endpoints

        endpoints = asyncio.run(look_at_endpoints(self._login()[0]))
        found = next((each.certificate for each in endpoints if each.certificate), None)
        output.print_table(("policy", "mode"), [(each.policy, each.mode) for each in endpoints])
        if found is None:
            raise InvalidError(
                "InvalidArgument", "The server has no certificate.", "Connect without security."
            )
        file.write_text(found, "ascii")
        output.note(f"Wrote {file}. See that it is the server's: compare it with what its operator has.")

    def _look(self, patterns: Sequence[str]) -> list[Sight]:
        from gemel.connectors.opcua_browse import look

        login, place = self._login()
        sights, unfit = asyncio.run(look(login, place, patterns))
        for pattern in unfit:
            output.note(f"Nothing fits {pattern}.")
        return sights

    def _login(self) -> tuple[Login, Place]:
        from gemel.connectors.opcua import read_login
        from gemel.sources.fields import Fields
        from gemel.sources.permits import Permits, Place

        # Whoever calls this is on his own machine, and may use what he may read.
        variables = frozenset((None, name) for name in os.environ)
        place = Place("", Permits(((None, Path("/")),), variables))
        return read_login(Fields("connection", self._connection), place), place


def _connection(file: Path) -> dict[str, Any]:
    """Return how a description says that a server is reached."""
    from gemel.sources.fields import read_fields

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError("FileUnreadable", f"{file} cannot be read, and is no opc.tcp:// URL.") from error
    given = read_fields(text).take("connection")
    if not isinstance(given, dict):
        raise InvalidError("SourceInvalid", f"{file}: connection: must be keys with values.")
    return {key: value for key, value in given.items() if key in LOGIN}
