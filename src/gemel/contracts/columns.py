"""Samples by column, and what a quick look at a whole column shows; what that leaves open is looked at closely."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.base.clock import to_us
from gemel.contracts.document import Contract
from gemel.mapping.paths import Path
from gemel.mapping.tables import UNIX_FORMATS
from gemel.mapping.times import moment_reader

__all__ = ["Columns", "Facts", "Ints", "Known", "clock_of", "facts_of", "known_of"]

Ints = npt.NDArray[np.int64]
NONE: Final = type(None)
NOTHING: Final[dict[str, Any]] = {}
LATEST_NS: Final = 253_402_300_799 * 10**9
"""The end of the year 9999, beyond which no time is one."""
ISO_LENGTHS: Final = (20, 22, 23, 24, 25, 26, 27)
ISO_MARKS: Final = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":", 19: "."}


class Facts(NamedTuple):
    """What is seen of a column at once: of which types its values are, whether some samples have none.

    `least` and `most` are of a column of numbers, all of them finite, else NaN; `texts` the different ones of a
    column of texts alone, else None.
    """

    types: frozenset[type]
    gaps: bool
    least: float = math.nan
    most: float = math.nan
    texts: frozenset[str] | None = None

    @property
    def finite(self) -> bool:
        """Whether all values are numbers, none of them infinite or NaN."""
        return not math.isnan(self.least)


class Known(NamedTuple):
    """The keys of an object that are named, and of those that hold named ones the same."""

    keys: frozenset[str]
    within: tuple[tuple[str, Known], ...]


class Columns:
    """The samples of a batch, each column read once. A key may be written with dots, too: `{"a.b": 1}` has a.b."""

    def __init__(self, samples: Sequence[dict[str, Any]]) -> None:
        self._samples = samples
        self._plain: dict[tuple[str, ...], list[Any]] = {(): list(samples)}
        self._whole: set[tuple[str, ...]] = set()

    def __len__(self) -> int:
        return len(self._samples)

    def samples(self) -> Sequence[dict[str, Any]]:
        """Return the samples, one by one."""
        return self._samples

    def at(self, path: Path) -> list[Any]:
        """Return what stands at a path in each sample, None where nothing does."""
        if path.keys is None:
            return [path.read(sample) for sample in self.samples()]
        return self._at(path.keys)

    def facts(self, path: Path) -> Facts:
        """Return what is seen of the column at a path."""
        return facts_of(self.at(path))

    def coded(self, path: Path) -> tuple[list[str], Ints] | None:
        """Return the different values at a path and which of them each sample has; None where that is not at hand."""

    def moments(self, path: Path) -> Ints | None:
        """Return the times at a path in µs, where they need not be read first; else None."""

    def knows(self, known: Known) -> bool:
        """Whether no sample has a field that is not named; false where that takes a closer look."""
        return self._knows((), known)

    def _at(self, keys: tuple[str, ...]) -> list[Any]:
        found = self._plain.get(keys)
        if found is None:
            found = self._read(keys)
            if len(keys) > 1 and None in found:
                for cut in range(len(keys) - 1):
                    dotted = _within(self._at(keys[:cut]), ".".join(keys[cut:]))
                    found = [
                        here if there is None else there for there, here in zip(found, dotted, strict=True)
                    ]
            self._plain[keys] = found
        return found

    def _read(self, keys: tuple[str, ...]) -> list[Any]:
        around, key = self._at(keys[:-1]), keys[-1]
        try:
            found = list(map(itemgetter(key), around))
        except (KeyError, TypeError, IndexError):
            return _within(around, key)
        self._whole.add(keys)
        return found

    def _knows(self, at: tuple[str, ...], known: Known) -> bool:
        objects = self._at(at)
        if set(map(type, objects)) != {dict}:
            return False
        # Where every object has so many keys, and all of these, it has no others.
        ways = [(*at, key) for key in known.keys if "." not in key]
        for way in ways:
            self._at(way)
        there = sum(way in self._whole for way in ways)
        if set(map(len, objects)) != {there} and not all(
            map(known.keys.issuperset, set(map(tuple, objects)))
        ):
            return False
        for key, inner in known.within:
            if (*at, key) in self._whole:
                known_within = self._knows((*at, key), inner)
            else:
                values = [each.get(key, NOTHING) for each in objects]
                known_within = set(map(type, values)) <= {dict} and Columns(values)._knows((), inner)
            if not known_within:
                return False
        return True


def facts_of(column: Sequence[Any]) -> Facts:
    """Return what is seen of a column of values as JSON has them."""
    types = frozenset(map(type, column))
    gaps = NONE in types
    if gaps:
        types -= {NONE}
        column = [value for value in column if value is not None]
    if types == {str}:
        return Facts(types, gaps, texts=frozenset(column))
    if types and types <= {int, float}:
        try:
            numbers = np.fromiter(column, np.float64, len(column))
        except OverflowError:
            return Facts(types, gaps)
        least, most = float(numbers.min()), float(numbers.max())
        if math.isfinite(least) and math.isfinite(most):
            return Facts(types, gaps, least, most)
    return Facts(types, gaps)


def known_of(paths: Sequence[tuple[str, ...]]) -> Known:
    """Return what is named, of the keys that lead to each, or that stand for several with dots between them."""
    keys = {".".join(path[:end]) for path in paths for end in (1, len(path))}
    deeper: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        if len(path) > 1:
            deeper.setdefault(path[0], []).append(path[1:])
    return Known(frozenset(keys), tuple((key, known_of(inner)) for key, inner in deeper.items()))


def clock_of(contract: Contract) -> tuple[Callable[[Any], int], Callable[[list[Any]], Ints]]:
    """Return what reads a time as µs since the epoch, and a column of them; they raise ValueError, saying why."""
    moment = moment_reader(contract.format, contract.zone)
    nanoseconds = UNIX_FORMATS.get(contract.format, 0)

    def one(told: Any) -> int:
        if told is None:
            raise ValueError("there is none")
        return to_us(moment(told))

    def column(told: list[Any]) -> Ints:
        types = set(map(type, told))
        if (
            nanoseconds
            and types == {int}
            and min(told) >= 0
            and max(told) < LATEST_NS // max(nanoseconds, 100)
        ):
            whole = np.fromiter(told, np.int64, len(told))
            return whole * (nanoseconds // 1000) if nanoseconds >= 1000 else whole * nanoseconds // 1000
        if contract.format == "iso" and types == {str}:
            found = _utc_times(told)
            if found is not None:
                return found
        return np.fromiter(map(one, told), np.int64, len(told))

    return one, column


def _utc_times(told: list[str]) -> Ints | None:
    """Return times written alike, as 2026-01-31T12:00:00.123Z, in µs; None where one is written otherwise."""
    width = len(told[0])
    text = "".join(told)
    if width not in ISO_LENGTHS or set(map(len, told)) != {width} or not text.isascii():
        return None
    signs = np.frombuffer(text.encode(), np.uint8).reshape(-1, width)
    for place in range(width):
        mark = "Z" if place == width - 1 else ISO_MARKS.get(place)
        column = signs[:, place]
        right = column - 48 <= 9 if mark is None else column == ord(mark)
        if not right.all():
            return None
    try:
        texts = np.ascontiguousarray(signs[:, :-1]).view(f"S{width - 1}").ravel()
        times = texts.astype("datetime64[us]").astype(np.int64)
    except ValueError:
        return None
    return times if times.min() >= 0 else None


def _within(around: Sequence[Any], key: str) -> list[Any]:
    return [each.get(key) if type(each) is dict else None for each in around]
