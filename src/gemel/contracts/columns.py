"""Samples by column, and quick looks that show that nothing in one is wrong: what they doubt is looked at closely."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from gemel.base.clock import to_us
from gemel.contracts.document import Contract
from gemel.mapping.paths import Path
from gemel.mapping.tables import UNIX_FORMATS
from gemel.mapping.times import moment_reader

__all__ = ["Columns", "Known", "clock_of", "known_of", "surely_finite", "surely_known"]

NOTHING: Final[dict[str, Any]] = {}
LATEST_NS: Final = 253_402_300_799 * 10**9
"""The end of the year 9999, beyond which no time is one."""


class Columns:
    """The samples of a batch, each column read once."""

    def __init__(self, samples: Sequence[dict[str, Any]]) -> None:
        self.samples = samples
        self._plain: dict[tuple[str, ...], list[Any]] = {(): list(samples)}

    def at(self, path: Path) -> list[Any]:
        """Return what stands at a path in each sample, None where nothing does."""
        if path.keys is None:
            return [path.read(sample) for sample in self.samples]
        return self._at(path.keys)

    def _at(self, keys: tuple[str, ...]) -> list[Any]:
        found = self._plain.get(keys)
        if found is None:
            around, key = self._at(keys[:-1]), keys[-1]
            try:
                found = list(map(itemgetter(key), around))
            except (KeyError, TypeError, IndexError):
                found = [each.get(key) if type(each) is dict else None for each in around]
            self._plain[keys] = found
        return found


class Known(NamedTuple):
    """The keys of an object that are named, and of those that hold named ones the same."""

    keys: frozenset[str]
    within: tuple[tuple[str, Known], ...]


def known_of(paths: Sequence[tuple[str, ...]]) -> Known:
    """Return what is named, of the keys that lead to each."""
    keys = frozenset(path[0] for path in paths)
    deeper: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        if len(path) > 1:
            deeper.setdefault(path[0], []).append(path[1:])
    return Known(keys, tuple((key, known_of(inner)) for key, inner in deeper.items()))


def surely_known(objects: Sequence[dict[str, Any]], known: Known) -> bool:
    """Whether no object has a field that is not named; false where that takes a closer look."""
    if not all(map(known.keys.issuperset, set(map(tuple, objects)))):
        return False
    for key, inner in known.within:
        values = [each.get(key, NOTHING) for each in objects]
        if set(map(type, values)) - {dict} or not surely_known(values, inner):
            return False
    return True


def surely_finite(numbers: Sequence[Any], types: set[type]) -> bool:
    """Whether all of a column are numbers, none of them infinite or NaN; `types` are theirs."""
    if not types <= {int, float}:
        return False
    try:
        return float not in types or math.isfinite(sum(numbers))
    except OverflowError:
        return False


def clock_of(contract: Contract) -> tuple[Callable[[Any], int], Callable[[list[Any]], list[int]]]:
    """Return what reads a time as µs since the epoch, and a column of them; they raise ValueError, saying why."""
    moment = moment_reader(contract.format, contract.zone)
    nanoseconds = UNIX_FORMATS.get(contract.format, 0)

    def one(told: Any) -> int:
        if told is None:
            raise ValueError("there is none")
        return to_us(moment(told))

    def column(told: list[Any]) -> list[int]:
        whole = nanoseconds and set(map(type, told)) == {int}
        if whole and min(told) >= 0 and max(told) < LATEST_NS // nanoseconds:
            return [each * nanoseconds // 1000 for each in told]
        return list(map(one, told))

    return one, column
