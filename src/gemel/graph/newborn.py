"""New twins, made together at one moment, as columns: what a bulk write and a single PUT write of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gemel.graph.changing import Outcome
from gemel.graph.live import TwinRow
from gemel.graph.relationship_reading import TwinEnd
from gemel.graph.spans import standing_columns
from gemel.graph.timeline import Standing
from gemel.graph.told import told_whole_row
from gemel.history.changes import Parcel, pack, parcels
from gemel.history.paths import PATH_BITS
from gemel.history.samples import SampleBatch
from gemel.history.values import GOOD, Encoded
from gemel.history.write import FirstSamples, pack_first_samples
from gemel.models import TwinType
from gemel.store.columns import BigintArray, TextArray, TimestampArray, bigints, texts, timestamps

__all__ = ["Newborns", "PackedTwins"]


class PackedTwins(NamedTuple):
    """New twins as statements take them, each column in the same order; `standings` as `spans.standing_columns`.

    Where they were made at UNSTAMPED_US, it stands in `starts`, `told`, `samples` and `ends` till the stamp is known.
    """

    numbers: BigintArray
    ids: TextArray
    starts: TimestampArray
    standings: Sequence[TextArray]
    told: Sequence[Parcel]
    samples: FirstSamples | None
    ends: Mapping[str, TwinEnd]


@dataclass(slots=True)
class Newborns:
    """New twins in order: their rows and types, what is told of them, and their first values.

    They are made at `stamp_us`, which may be UNSTAMPED_US. A twin has `counts` values, one after another in `paths`,
    `times_us` and `values`: each path once.
    """

    stamp_us: int
    rows: list[TwinRow] = field(default_factory=list)
    types: dict[str, TwinType] = field(default_factory=dict)
    told: list[bytes] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    values: list[Encoded] = field(default_factory=list)
    components: dict[str, msgspec.Raw] = field(default_factory=dict)
    """Those of each type, as they are told: it is most of what there is to tell of a twin."""

    def add(self, outcome: Outcome, twin_type: TwinType) -> None:
        """Add a twin and its samples."""
        samples = outcome.samples
        twin = outcome.twin
        self._add(twin.row, twin_type, twin.properties, [each.path for each in samples])
        self.times_us += [each.time_us for each in samples]
        self.values += [each.value for each in samples]

    def add_plain(
        self,
        row: TwinRow,
        twin_type: TwinType,
        stored: tuple[Mapping[str, Any], Sequence[Encoded]],
        time_us: int,
    ) -> None:
        """Add a twin and its values, as they are read back and as they are stored, all of one time."""
        values, encoded = stored
        # As `Held`, which takes thrice as long to make.
        held = {path: (value, False, time_us, self.stamp_us) for path, value in values.items()}
        self._add(row, twin_type, held, held)
        self.times_us += [time_us] * len(encoded)
        self.values += encoded

    def _add(
        self,
        row: TwinRow,
        twin_type: TwinType,
        held: Mapping[str, tuple[Any, bool, int, int]],
        paths: Iterable[str],
    ) -> None:
        before = len(self.paths)
        self.rows.append(row)
        components = self.components.get(twin_type.model)
        if components is None:
            self.types[twin_type.model] = twin_type
            components = self.components[twin_type.model] = msgspec.Raw(
                msgspec.msgpack.encode(row.components)
            )
        self.told.append(pack("twin.created", told_whole_row(row, held, components)))
        self.paths += paths
        self.counts.append(len(self.paths) - before)

    def packed(self, numbers: Mapping[str, int], now_us: int) -> PackedTwins:
        """Return the twins, at least one, as they are written; `numbers` are those of their paths.

        A stamp that takes the place of UNSTAMPED_US must be of the week of `now_us`.
        """
        rows = self.rows
        return PackedTwins(
            bigints(np.array([row.twin_no for row in rows], np.int64)),
            texts([row.twin_id for row in rows]),
            timestamps(np.array([row.valid_from_us for row in rows], np.int64)),
            standing_columns(
                [Standing(row.model_id, self.types[row.model_id].components, row.lifecycle) for row in rows]
            ),
            parcels(self.told),
            pack_first_samples(self._samples(numbers), now_us) if self.paths else None,
            {row.twin_id: TwinEnd(row.twin_no, row.model_id, row.valid_from_us) for row in rows},
        )

    def _samples(self, numbers: Mapping[str, int]) -> SampleBatch:
        twin_nos = np.repeat(np.array([row.twin_no for row in self.rows], np.int64), self.counts)
        path_nos = np.array([numbers[path] for path in self.paths], np.int64)
        nums, kinds, docs = zip(*self.values, strict=True)
        count = len(self.paths)
        batch = SampleBatch(
            series=twin_nos << PATH_BITS | path_nos,
            time_us=np.array(self.times_us, np.int64),
            recorded_us=np.full(count, self.stamp_us, np.int64),
            num=np.array(nums, np.float64),  # None becomes NaN
            kind=np.array(kinds, np.int16),
            revision=np.zeros(count, np.int32),
            quality=np.full(count, GOOD, np.int16),
            docs=list(docs) if any(doc is not None for doc in docs) else None,
        )
        # In the order of their keys each goes to the end of an index, which takes no search and leaves no half pages.
        return batch.take(np.argsort(batch.series))
