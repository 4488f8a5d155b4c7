"""What a cold file gives back is what went in, of the series and times asked for, without reading the rest."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gemel.history.cold_file import each_group, read_cold, series_in, write_cold
from gemel.history.cold_rows import ColdRows
from gemel.history.samples import Sample, SampleBatch
from gemel.history.values import JSON, REMOVED, Encoded

Row = tuple[Sample, bool]


def values() -> SearchStrategy[Encoded]:
    return st.one_of(
        st.floats(allow_nan=False).map(lambda number: Encoded(number, 0, None)),
        st.integers(-(2**53), 2**53).map(lambda number: Encoded(float(number), 1, None)),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5).map(
            lambda text: Encoded(None, JSON, f'"{text}"')
        ),
        st.just(Encoded(None, REMOVED, None)),
    )


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    keys = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), unique=True, max_size=80))
    return [
        (
            Sample(
                series,
                time_us,
                draw(values()),
                draw(st.integers(0, 3)),
                draw(st.integers(0, 2)),
                draw(st.integers(0, 60)),
            ),
            draw(st.booleans()),
        )
        for series, time_us in keys
    ]


def columns(given: list[Row]) -> ColdRows:
    batch = SampleBatch.of([sample for sample, _ in given])
    return ColdRows(
        batch,
        np.array([late for _, late in given], np.bool_),
    )


def listed(found: ColdRows) -> list[Row]:
    return [(found.samples.row(at), bool(found.late[at])) for at in range(len(found))]


@given(rows(), st.sets(st.integers(-1, 6)), st.integers(0, 30), st.integers(0, 30))
def test_reads_give_what_a_search_of_all_rows_gives(
    held: list[Row], series: set[int], low_us: int, high_us: int
) -> None:
    written = write_cold([columns(held)])
    assert written.rows == len(held)
    found = read_cold(pa.BufferReader(written.content), sorted(series), low_us, high_us)
    wanted = [row for row in held if row[0].series in series and low_us <= row[0].time_us <= high_us]
    wanted.sort(key=lambda row: (row[0].series, row[0].time_us))
    assert listed(found.rows) == wanted
    file = pa.BufferReader(written.content)
    assert series_in(file).tolist() == sorted({row[0].series for row in held})
    assert sum(map(len, each_group(file))) == len(held)


@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_the_file(held: list[Row], chance: object) -> None:
    shuffled = held[:]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = write_cold([columns(held)]), write_cold([columns(shuffled)])
    assert one == two
    parts = [[row for row in held if row[0].series == series] for series in range(6)]
    assert write_cold([columns(part) for part in parts if part]) == one
    assert one.digest == hashlib.sha256(one.content).hexdigest()


def many(series: int, samples: int) -> ColdRows:
    chance = np.random.default_rng(7)
    count = series * samples
    time_us = np.tile(np.arange(samples) * 10_000_000, series)
    plain = np.zeros(count, np.int16)
    batch = SampleBatch(
        np.repeat(np.arange(series) << 20, samples),
        time_us,
        time_us + 250_000,
        np.round(chance.normal(50, 3, count), 2),
        plain,
        np.zeros(count, np.int32),
        plain,
        None,
    )
    return ColdRows(batch, np.zeros(count, np.bool_))


def test_one_series_takes_the_row_groups_that_it_is_in() -> None:
    written = write_cold([many(60, 2_000)])
    found = read_cold(pa.BufferReader(written.content), [7 << 20], 0, 2**60)
    assert (len(found.rows), found.groups_read, found.groups) == (2_000, 1, 8)
    assert read_cold(pa.BufferReader(written.content), [(7 << 20) + 1], 0, 2**60).groups_read == 1
    assert read_cold(pa.BufferReader(written.content), [1 << 40], 0, 2**60).groups_read == 0
    print(f"{len(written.content) / written.rows:.1f} bytes a sample")
    assert len(written.content) < 12 * written.rows


def test_a_damaged_file_is_not_taken_for_a_whole_one() -> None:
    written = write_cold([many(2, 3_000)])
    content = bytearray(written.content)
    content[len(content) // 3] ^= 0x40
    with pytest.raises((pa.ArrowException, OSError)):
        read_cold(pa.BufferReader(bytes(content)), [0, 1 << 20], 0, 2**60)
    assert hashlib.sha256(content).hexdigest() != written.digest


def test_what_cannot_be_read_back_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    real = io.BytesIO.getvalue

    class Worse(io.BytesIO):
        def getvalue(self) -> bytes:
            return real(self)[:-20]

    monkeypatch.setattr("gemel.history.cold_file.io.BytesIO", Worse)
    with pytest.raises((pa.ArrowException, OSError)):
        write_cold([many(1, 10)])
