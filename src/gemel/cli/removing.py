"""Take away one thing that has a name, and say so."""

from __future__ import annotations

from gemel.cli import output
from gemel.cli.options import ServerOptions

__all__ = ["remove_named"]


def remove_named(server: ServerOptions, path: str, what: str, name: tuple[str, str]) -> None:
    """Delete what is at a path; `name` is what its name is called in JSON, and the name."""
    with server.client() as client:
        client.send("DELETE", path)
    if server.as_json:
        output.print_json({name[0]: name[1], "removed": True})
    else:
        output.note(f"Removed the {what} {name[1]}.")
