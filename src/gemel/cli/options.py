"""Options that many commands share: where the server is, where the data is, and how to answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel.base.settings import Settings, load_settings

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["KnownAt", "LocalOptions", "MomentOptions", "ServerOptions"]

SHARED = "Shared options"

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data directory. Default: GEMEL_DATA, or the platform's.",
        rich_help_panel=SHARED,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.", rich_help_panel=SHARED)]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The server. Default: GEMEL_URL, or the one on this data directory.",
        rich_help_panel=SHARED,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="The API key. Default: GEMEL_KEY, or default.key of the data directory.",
        rich_help_panel=SHARED,
    ),
]


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Of commands that work on this machine's data directory and database."""

    data: Data = None
    as_json: Json = False

    def settings(self) -> Settings:
        """Return the settings of the environment and these options."""
        return load_settings(data_dir=self.data)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Of commands that talk to a server."""

    url: Url = None
    key: Key = None
    data: Data = None
    as_json: Json = False

    def settings(self) -> Settings:
        """Return the settings of the environment and these options."""
        return load_settings(data_dir=self.data, url=self.url, key=self.key)

    def client(self) -> Client:
        """Return a client of the server that these options find; it is a context manager.

        Raises EnvironmentFaultError (ServerUnreachable) where there is none to find.
        """
        from gemel.cli.client import Client, locate

        return Client(locate(self.settings()))


KnownAt = Annotated[
    str | None,
    typer.Option("--known-at", metavar="TIME", help="By what had been recorded then. RFC 3339."),
]


@dataclass(frozen=True, slots=True)
class MomentOptions:
    """Of commands that read what may be of the past."""

    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", metavar="TIME", help="As it was then: what existed, at its last values. RFC 3339."
        ),
    ] = None
    known_at: KnownAt = None

    def params(self) -> dict[str, str]:
        """Return the parameters of a request, or members of a query: none for what is now."""
        given = {"asOf": self.as_of, "knownAt": self.known_at}
        return {name: text for name, text in given.items() if text is not None}
