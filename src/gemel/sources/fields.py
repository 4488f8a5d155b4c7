"""Strict reading of a source's description: each key is asked for by name, and any other is refused."""

from __future__ import annotations

from typing import Any, Final

import yaml

from gemel.base.errors import InvalidError
from gemel.base.words import did_you_mean, nearest
from gemel.mapping.sections import FlatLoader

__all__ = ["Fields", "read_fields"]

REQUIRED: Final[Any] = object()
BYTES_MAX: Final = 64 << 10
SHOWN_MAX: Final = 60


class Fields:
    """One level of a description; `finish` refuses the keys that nobody asked for, and suggests what was meant."""

    def __init__(self, place: str, raw: object) -> None:
        if not isinstance(raw, dict):
            raise _fault(place, f"must be keys with values, not {_shown(raw)}")
        self.place = place
        self._left = dict(raw)
        self._known: list[str] = []

    def fault(self, key: str, problem: str, hint: str | None = None) -> InvalidError:
        """Return the error SourceInvalid about one key."""
        return _fault(self._name(key), problem, hint)

    def take(self, key: str, default: Any = REQUIRED) -> Any:
        """Return a raw value; a key without default must be there."""
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is REQUIRED:
            raise self.fault(key, "is missing", self._suggestion(key))
        return value

    def text(self, key: str, default: Any = REQUIRED) -> Any:
        """Return a text that is not empty, or the default where the key is absent."""
        value = self.take(key, default)
        if value is not default and (not isinstance(value, str) or not value or "\0" in value):
            raise self.fault(key, f"must be text, not {_shown(value)}", "Put it in quotes.")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """Return a number between two, both included."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise self.fault(key, f"is {_shown(value)}", f"Use a number from {least:g} to {most:g}.")
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number between two, both included."""
        value = self.number(key, default, least, most)
        if not isinstance(value, int):
            raise self.fault(key, f"is {_shown(value)}", "Use a whole number.")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, f"must be true or false, not {_shown(value)}")
        return value

    def fields(self, key: str, default: Any = REQUIRED) -> Fields:
        """Return a nested level."""
        return Fields(self._name(key), self.take(key, default))

    def finish(self) -> None:
        """Refuse whatever key was not asked for."""
        for key in self._left:
            known = f"Known: {', '.join(self._known)}."
            meant = did_you_mean(str(key), self._known)
            raise self.fault(str(key), "is not a key known here", f"{meant} {known}" if meant else known)

    def _suggestion(self, key: str) -> str:
        near = nearest(key, map(str, self._left))
        return f"Is {near} meant to be it?" if near else "Add it; see docs/guides/sources.md."

    def _name(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key


def read_fields(text: str) -> Fields:
    """Read YAML as its top level. Raises InvalidError (SourceInvalid), with the line where it is no YAML."""
    if len(text) > BYTES_MAX:
        raise _fault("", f"has more than {BYTES_MAX} characters", "Is this the description, or the data?")
    try:
        raw = FlatLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _fault(where, f"{error.problem or 'is not YAML'}", "Mend the YAML there.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # What a parser says may repeat what it read.
        raise _fault("", "is not YAML", "Mend it.") from error
    return Fields("", raw)


def _fault(key: str, problem: str, hint: str | None = None) -> InvalidError:
    where = f"The source's {key}" if key else "The description of the source"
    return InvalidError("SourceInvalid", f"{where}: {problem}.", hint or "See docs/guides/sources.md.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."
