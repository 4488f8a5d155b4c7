"""How quarantined events are to be mended: by a JSON Patch, a mapping, or another model of their twins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gemel.base.errors import InvalidError

__all__ = ["Mending"]


@dataclass(frozen=True, slots=True)
class Mending:
    """What mends events; something must be given."""

    patch: Annotated[
        Path | None,
        typer.Option("--patch", metavar="FILE", help="A JSON Patch for each of the events."),
    ] = None
    mapping: Annotated[
        str | None,
        typer.Option(
            "--mapping", metavar="MAPPING", help="Map messages anew: a FILE, or a stored NAME[@VERSION]."
        ),
    ] = None
    upgrade_from: Annotated[
        str | None, typer.Option("--upgrade-from", metavar="DTMI", help="The model whose twins move.")
    ] = None
    upgrade_to: Annotated[
        str | None, typer.Option("--upgrade-to", metavar="DTMI", help="The model they move to.")
    ] = None

    def body(self) -> dict[str, Any]:
        """Return it as requests say it; raise InvalidError (UsageInvalid, FileUnreadable)."""
        half = (self.upgrade_from is None) != (self.upgrade_to is None)
        if half or not (self.patch or self.mapping or self.upgrade_from) or (self.patch and self.mapping):
            hint = "Give --patch, --mapping, or --upgrade-from and --upgrade-to; not --patch with --mapping."
            raise InvalidError("UsageInvalid", "Nothing, or too much, says how to mend.", hint)
        how: dict[str, Any] = {} if self.patch is None else {"patch": _read_patch(self.patch)}
        return how | ({} if self.mapping is None else _read_mapping(self.mapping))


def _read_patch(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidError("UsageInvalid", f"{path} is no JSON Patch: {error}") from error


def _read_mapping(given: str) -> dict[str, Any]:
    """Return the text of a file, or the name of a stored mapping, NAME or NAME@VERSION."""
    path = Path(given)
    if path.is_file():
        try:
            return {"mapping": path.name, "mappingText": path.read_text("utf-8")}
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError("FileUnreadable", f"{given} cannot be read: {error}.") from error
    name, _, version = given.partition("@")
    if version and not version.isdecimal():
        hint = "`gemel mapping list` shows the names and versions of stored ones."
        raise InvalidError("UsageInvalid", f"{given} is no file, and {version!r} no version.", hint)
    return {"mapping": name} | ({"mappingVersion": int(version)} if version else {})
