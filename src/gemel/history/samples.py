"""Samples as columns: the form in which they are ordered, written and told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gemel.history.values import Encoded

__all__ = ["Ints", "Sample", "SampleBatch"]

Ints = npt.NDArray[np.int64]


class Sample(NamedTuple):
    """One observed value: series, source time and recorded time in µs, and the value as stored."""

    series: int
    time_us: int
    value: Encoded
    revision: int
    quality: int
    recorded_us: int


@dataclass(slots=True)
class SampleBatch:
    """n samples in order of arrival, as columns of length n.

    `series`, `time_us`, `recorded_us` int64; `num` float64, NaN where there is none; `kind`, `quality`
    int16; `revision` int32; `docs` the JSON texts, or None where no sample of the batch has one.
    """

    series: Ints
    time_us: Ints
    recorded_us: Ints
    num: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int16]
    revision: npt.NDArray[np.int32]
    quality: npt.NDArray[np.int16]
    docs: list[str | None] | None

    def __len__(self) -> int:
        return len(self.series)

    @classmethod
    def of(cls, rows: Sequence[Sample]) -> SampleBatch:
        """Return the batch of some rows."""
        docs = [row.value.doc for row in rows]
        nums = [np.nan if row.value.num is None else row.value.num for row in rows]
        return cls(
            series=np.array([row.series for row in rows], np.int64),
            time_us=np.array([row.time_us for row in rows], np.int64),
            recorded_us=np.array([row.recorded_us for row in rows], np.int64),
            num=np.array(nums, np.float64),
            kind=np.array([row.value.kind for row in rows], np.int16),
            revision=np.array([row.revision for row in rows], np.int32),
            quality=np.array([row.quality for row in rows], np.int16),
            docs=docs if any(doc is not None for doc in docs) else None,
        )

    def take(self, index: Ints | npt.NDArray[np.bool_]) -> SampleBatch:
        """Return the samples at some positions, or where a mask is true."""
        positions = np.flatnonzero(index) if index.dtype == np.bool_ else index
        docs = self.docs
        return SampleBatch(
            series=self.series[positions],
            time_us=self.time_us[positions],
            recorded_us=self.recorded_us[positions],
            num=self.num[positions],
            kind=self.kind[positions],
            revision=self.revision[positions],
            quality=self.quality[positions],
            docs=None if docs is None else [docs[position] for position in positions.tolist()],
        )

    def part(self, start: int, end: int) -> SampleBatch:
        """Return the samples from one position to before another; they share their columns with this batch."""
        names = ("series", "time_us", "recorded_us", "num", "kind", "revision", "quality")
        columns = {name: getattr(self, name)[start:end] for name in names}
        return SampleBatch(**columns, docs=None if self.docs is None else self.docs[start:end])

    @classmethod
    def concatenate(cls, parts: Sequence[SampleBatch]) -> SampleBatch:
        """Return batches one after another."""
        if len(parts) == 1:
            return parts[0]
        docs: list[str | None] | None = None
        if any(part.docs is not None for part in parts):
            docs = [doc for part in parts for doc in (part.docs or [None] * len(part))]
        names = ("series", "time_us", "recorded_us", "num", "kind", "revision", "quality")
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**columns, docs=docs)

    def value(self, position: int) -> Encoded:
        """Return the value at a position in its stored form."""
        num = float(self.num[position])
        doc = None if self.docs is None else self.docs[position]
        return Encoded(None if math.isnan(num) else num, int(self.kind[position]), doc)

    def row(self, position: int) -> Sample:
        """Return the sample at a position."""
        return Sample(
            int(self.series[position]),
            int(self.time_us[position]),
            self.value(position),
            int(self.revision[position]),
            int(self.quality[position]),
            int(self.recorded_us[position]),
        )
