"""Model files on this machine: which there are, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemel.base.errors import InvalidError
from gemel.cli.options import ServerOptions

if TYPE_CHECKING:
    from gemel.models import ModelError, ModelSet

__all__ = [
    "ModelFile",
    "is_dtmi",
    "json_files",
    "models_of_files",
    "models_of_server",
    "parse_files",
    "read_files",
]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file and its text."""

    path: Path
    text: bytes


def json_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files meant: those named, and every .json file below a folder."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not found:
        raise InvalidError("UsageInvalid", f"There is no model in {', '.join(map(str, paths))}.")
    return found


def read_files(paths: Sequence[Path]) -> list[ModelFile]:
    """Read the files meant; InvalidError `FileUnreadable` names the one that cannot be read."""
    return [ModelFile(path, _read(path)) for path in json_files(paths)]


def parse_files(files: Sequence[ModelFile]) -> tuple[ModelSet, tuple[ModelError, ...]]:
    """Parse the files as one set of models; when they are wrong, an empty set and what is wrong."""
    from gemel.models import ModelParsingError, ModelSet, parse

    try:
        return parse([file.text for file in files]), ()
    except ModelParsingError as error:
        return ModelSet(), error.errors


def models_of_files(paths: Sequence[Path]) -> ModelSet:
    """Parse the files meant as one set of models; ModelParsingError where they are wrong."""
    from gemel.models import parse

    return parse([file.text for file in read_files(paths)])


def models_of_server(server: ServerOptions, *dtmis: str) -> ModelSet:
    """Fetch the tenant's models: some with all that they depend on, or all."""
    from gemel.models import parse

    wanted = {"dependenciesFor": list(dtmis)} if dtmis else {}
    with server.client() as client:
        found = client.pages("/models", includeModelDefinition="true", **wanted)
        return parse([each["model"] for each in found])


def is_dtmi(text: str) -> bool:
    """Whether an argument names a model rather than a file."""
    return text.startswith("dtmi:")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidError("FileUnreadable", f"{path} cannot be read: {error.strerror}.") from error
