"""Model files on this machine: which there are, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemel.base.errors import InvalidError

if TYPE_CHECKING:
    from gemel.models import ModelError, ModelSet

__all__ = ["ModelFile", "json_files", "parse_files", "read_files"]


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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidError("FileUnreadable", f"{path} cannot be read: {error.strerror}.") from error
