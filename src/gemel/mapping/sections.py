"""Strict reading of a YAML file: every key is asked for by name, and what nobody asked for is an error."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from gemel.base.errors import InvalidError

__all__ = ["FlatLoader", "Section", "mapping_fault", "parse_section", "read_bytes"]

REQUIRED: Final[Any] = object()
FILE_BYTES_MAX: Final = 1 << 20


def mapping_fault(file: str, key: str, problem: str, hint: str | None = None) -> InvalidError:
    """Return the error MappingInvalid that names the file, the key, what is wrong there and what to do."""
    where = f"{file}: {key}" if key else file
    return InvalidError("MappingInvalid", f"{where}: {problem}", hint or "See docs/guides/files.md.")


class Section:
    """One level of the file: keys are taken one by one, and `finish` refuses those left over."""

    def __init__(self, file: str, key: str, raw: object) -> None:
        if not isinstance(raw, dict):
            raise mapping_fault(file, key, f"must be keys with values, not {_shown(raw)}.")
        self.file = file
        self.key = key
        self.raw: dict[Any, Any] = raw
        self._left = dict(raw)
        self._known: list[str] = []

    def name_of(self, key: str) -> str:
        """Return the full dotted name of a key of this section, as errors show it."""
        return f"{self.key}.{key}" if self.key else key

    def fault(self, key: str, problem: str, hint: str | None = None) -> InvalidError:
        """Return an error about one key of this section."""
        return mapping_fault(self.file, self.name_of(key), problem, hint)

    def take(self, key: str, default: Any = REQUIRED) -> Any:
        """Return the raw value of a key; a key without default must be there."""
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is REQUIRED:
            raise self.fault(key, "is missing.", f"Add `{key}:` there; see docs/guides/files.md.")
        return value

    def text(self, key: str, default: Any = REQUIRED) -> Any:
        """Return a text that is not empty, or the default where the key is absent."""
        value = self.take(key, default)
        if value is not default and (not isinstance(value, str) or not value):
            raise self.fault(key, f"must be text, not {_shown(value)}.", "Put it in quotes.")
        return value

    def choice(self, key: str, options: tuple[str, ...], default: Any = REQUIRED) -> Any:
        """Return one of the texts allowed."""
        value = self.take(key, default)
        if value is not default and value not in options:
            raise self.fault(key, f"is {_shown(value)}.", f"Use one of: {', '.join(options)}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, f"must be true or false, not {_shown(value)}.")
        return value

    def section(self, key: str, default: Any = REQUIRED) -> Section:
        """Return a nested level."""
        return Section(self.file, self.name_of(key), self.take(key, default))

    def sections(self, key: str) -> list[Section]:
        """Return a list of nested levels, one at least."""
        value = self.take(key)
        if not isinstance(value, list) or not value:
            raise self.fault(key, f"must be a list of at least one entry, not {_shown(value)}.")
        return [Section(self.file, f"{self.name_of(key)}[{i}]", entry) for i, entry in enumerate(value)]

    def rest(self) -> dict[str, Any]:
        """Take all that is left, where the keys are the user's own names; each must be text."""
        left, self._left = self._left, {}
        for key in left:
            if not isinstance(key, str) or not key:
                raise self.fault(str(key), "is not a name.", "Put the key in quotes.")
        return left

    def finish(self) -> None:
        """Refuse whatever key was not asked for."""
        for key in self._left:
            raise self.fault(str(key), "is not a key known here.", f"Known: {', '.join(self._known)}.")


class _UniqueLoader(yaml.SafeLoader):
    """The safe loader, with a key given twice as an error where YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                problem = f"the key {key_node.value!r} stands there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class FlatLoader(_UniqueLoader):
    """Without aliases: some lines of them, each twice the one before, would stand for more than memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node; an alias raises ConstructorError at its place."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not taken here", mark)
        return super().compose_node(parent, index)


def read_bytes(path: Path) -> bytes:
    """Return a mapping file as it stands. Raises InvalidError (FileUnreadable) where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"The mapping {path} cannot be read: {error.strerror or error}."
        raise InvalidError("FileUnreadable", message, "Check the path and its rights.") from error


def parse_section(data: bytes, file: str, *, aliases: bool = True) -> Section:
    """Read YAML as its top section; `file` names it in errors, and without `aliases` an alias is one.

    Raises InvalidError (MappingInvalid), with line and column, where it is not YAML or a key stands twice.
    """
    if len(data) > FILE_BYTES_MAX:
        raise mapping_fault(file, "", f"is over {FILE_BYTES_MAX} bytes.", "Is this the mapping, or the data?")
    try:
        loader = _UniqueLoader(data) if aliases else FlatLoader(data)
        raw = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise mapping_fault(file, where, f"{error.problem or error}.", "Mend the YAML there.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise mapping_fault(file, "", f"is not YAML: {error}.", "Mend it.") from error
    return Section(file, "", raw)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
