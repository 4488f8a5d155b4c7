from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gemel.api.history_formats import bucket_rows, raw_rows, to_arrow, to_csv, with_times
from gemel.base.clock import iso_us
from gemel.history.read import Bucket, RawSample

COLUMNS = ("path", "time", "value", "removed", "quality", "revision", "recorded")
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
scalars = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | texts
    | st.booleans()
)
samples = st.builds(
    RawSample,
    path=st.sampled_from(["speed", "motor.temperature"]),
    time_us=st.integers(0, 9_000_000_000_000_000),
    value=scalars | st.lists(scalars, max_size=3),
    removed=st.just(False),
    quality=st.sampled_from(["good", "bad"]),
    revision=st.integers(0, 2**31 - 1),
    recorded_us=st.integers(0, 9_000_000_000_000_000),
)


@given(st.lists(samples, max_size=20))
def test_csv_reads_back_to_the_same_values(found: list[RawSample]) -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(COLUMNS, raw_rows(found)).decode(), newline="")))
    assert len(read) == len(found)
    for one, sample in zip(read, found, strict=True):
        assert one["time"] == iso_us(sample.time_us)
        value: Any = sample.value if isinstance(sample.value, str) else json.loads(one["value"])
        assert value == sample.value
        assert one["value"] == sample.value or not isinstance(sample.value, str)


@given(st.lists(samples, max_size=20))
def test_arrow_reads_back_to_the_same_values(found: list[RawSample]) -> None:
    table = pa.ipc.open_stream(to_arrow(COLUMNS, raw_rows(found))).read_all()
    assert table.column_names == list(COLUMNS)
    values = table["value"].to_pylist()
    if table.schema.field("value").type == pa.string():
        values = [json.loads(value) for value in values]
    assert values == [sample.value for sample in found]
    assert [moment.timestamp() for moment in table["time"].to_pylist()] == [s.time_us / 1e6 for s in found]


def test_integers_beyond_a_doubles_exactness_stay_exact_in_arrow() -> None:
    one = RawSample("n", 1, 2**53 + 1, removed=False, quality="good", revision=0, recorded_us=1)
    table = pa.ipc.open_stream(to_arrow(COLUMNS, raw_rows([one]))).read_all()
    assert table["value"].to_pylist() == [str(2**53 + 1)]


def test_removed_and_empty_values_are_told_apart() -> None:
    gone = RawSample("n", 1, None, removed=True, quality="good", revision=0, recorded_us=1)
    (row,) = with_times(raw_rows([gone]))
    assert (row["value"], row["removed"]) == (None, True)
    assert (
        to_csv(COLUMNS, raw_rows([gone]))
        .decode()
        .splitlines()[1]
        .startswith("n,1970-01-01T00:00:00.000001Z,,true,")
    )


def test_buckets_have_a_column_for_each_aggregate() -> None:
    rows = bucket_rows([Bucket("n", 0, {"mean": 1.5, "count": 2})])
    assert to_csv(("path", "time", "mean", "count"), rows) == (
        b"path,time,mean,count\r\nn,1970-01-01T00:00:00.000000Z,1.5,2\r\n"
    )
