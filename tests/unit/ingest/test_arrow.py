"""An Arrow stream is as good as the JSON events of its rows, to the last bit, and is no way to ask for memory."""

from __future__ import annotations

import datetime as dt
import math
import struct
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemel.base.errors import EnvironmentFaultError, GemelError
from gemel.graph.directory import BoundSlot, BoundType, DirectoryView, TwinRef
from gemel.ingest import arrow_framing
from gemel.ingest.arrow import ARROW, decode_arrow
from gemel.ingest.bodies import decode_any, weigh_any
from gemel.ingest.events import LINES, Event, decode_body
from gemel.ingest.resolve import Resolved, TimeRules, resolve
from gemel.ingest.resolve_table import resolve_batch
from gemel.models import compile_twin_type, parse
from gemel.store.database import Epochs
from support.arrow import Row, json_lines, stream_of, table_of

KINDS = (
    "double",
    "float",
    "byte",
    "integer",
    "unsignedInteger",
    "long",
    "boolean",
    "string",
    "dateTime",
    "date",
)
MORE = ("time", "duration", "decimal", "bytes", "uuid", "unsignedLong")
MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;4",
    "@id": "dtmi:test:All;1",
    "@type": "Interface",
    "contents": [
        *({"@type": "Telemetry", "name": f"a_{kind}", "schema": kind} for kind in (*KINDS, *MORE)),
        {"@type": "Telemetry", "name": "list", "schema": {"@type": "Array", "elementSchema": "double"}},
    ],
}
OTHER = {
    **MODEL,
    "@id": "dtmi:test:Other;1",
    "contents": [{"@type": "Property", "name": "a_double", "schema": "integer"}],
}
DAY_US = 86_400_000_000
RULES = TimeRules(received_us=50 * DAY_US, latest_us=51 * DAY_US, retention_us=2 * DAY_US)


def bound(model: dict[str, Any], first: int) -> BoundType:
    twin_type = compile_twin_type(parse([model]), model["@id"])
    slots = {path: BoundSlot(first + n, slot) for n, (path, slot) in enumerate(twin_type.slots.items())}
    return BoundType(twin_type, slots)


ALL, LESS = bound(MODEL, 1), bound(OTHER, 100)
VIEW = DirectoryView(
    {
        "a": TwinRef(1, ALL, 10 * DAY_US, 0, 2**62),
        "b": TwinRef(2, ALL, 0, 5 * DAY_US, 40 * DAY_US),
        "c": TwinRef(3, LESS, 20 * DAY_US, 0, 2**62),
    },
    Epochs(0, 0),
)

floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1e39, -3.5e38, math.nan, math.inf, 5.0]))
wholes = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 127, 128, -1, 2**31, 2**53 + 1]))
texts = st.sampled_from(["", "on", "2026-01-31", "2026-01-31T12:00:00Z", "PT5M", "1.5", "x\x00", "é", "YQ=="])
by_kind = {float: floats, int: wholes, bool: st.booleans(), str: texts}
paths = st.sampled_from([*(f"a_{kind}" for kind in (*KINDS, *MORE)), "a_double", "nowhere", "list"])
twins = st.sampled_from(["a", "a", "b", "c", "nobody", "", None, "a\x00"])
times = st.one_of(
    st.none(),
    st.integers(0, 60 * DAY_US),
    st.sampled_from([-1, 2 * DAY_US, 30 * DAY_US, 9_300_000_000_000_000]),
)
revisions = st.sampled_from([0, 0, 0, 7, -1, 2**31])
qualities = st.sampled_from(["good", "good", "bad", "odd"])
long_rows = st.lists(
    st.builds(
        Row,
        twins,
        times,
        st.one_of(
            st.builds(dict), st.dictionaries(paths, st.one_of(*by_kind.values()), min_size=1, max_size=1)
        ),
        revisions,
        qualities,
    ),
    max_size=12,
)


@st.composite
def wide_rows(draw: st.DrawFn) -> list[Row]:
    kinds = draw(st.dictionaries(paths, st.sampled_from(list(by_kind)), max_size=5))
    values = st.fixed_dictionaries({}, optional={path: by_kind[kind] for path, kind in kinds.items()})
    return draw(st.lists(st.builds(Row, twins, times, values, revisions, qualities), max_size=12))


def told(resolved: Resolved) -> tuple[Any, ...]:
    batch = resolved.batch
    rows = [batch.row(position) for position in range(len(batch))]
    order = sorted(range(len(rows)), key=lambda n: (int(resolved.owner[n]), rows[n].series))
    return (
        [(int(resolved.owner[n]), rows[n]) for n in order],
        dict(sorted(resolved.faults.items())),
        dict(sorted(resolved.starts.items())),
    )


def ordered(rows: list[Row], table: Any) -> list[Row]:
    """Give each event its values in the order of the columns: the first that does not fit is the one named."""
    names = table.column_names
    return [
        row._replace(values={name: row.values[name] for name in names if name in row.values}) for row in rows
    ]


@given(st.one_of(st.tuples(st.just(False), long_rows), st.tuples(st.just(True), wide_rows())))
@example((False, []))
@example((True, [Row("a", 20 * DAY_US, {})]))
def test_a_stream_is_as_good_as_its_rows(sent: tuple[bool, list[Row]]) -> None:
    wide, rows = sent
    table = table_of(rows, wide=wide)
    rows = ordered(rows, table) if wide else rows
    decoded = decode_arrow(stream_of(table, rows=5))
    events = decode_body(json_lines(rows), LINES) if rows else None
    mine = resolve_batch(decoded.events, VIEW, RULES)
    if events is None:
        assert (len(mine.batch), mine.faults) == (0, {})
        return
    assert decoded.subjects >= events.subjects
    assert told(mine) == told(resolve(events.events, VIEW, RULES))
    for index in range(len(rows)):  # what quarantine would keep is the same event again
        again = resolve(decode_body(decoded.raw(index), LINES).events, VIEW, RULES)
        assert (0 in again.faults) == (index in mine.faults)


def test_all_scalars_of_arrow() -> None:
    moment = dt.datetime(2026, 1, 31, 12, 30, 0, 250, dt.UTC)
    values = {
        "a_double": pa.array([1.5], pa.float16()),
        "a_float": pa.array([2.5], pa.float32()).dictionary_encode(),
        "a_byte": pa.array([-128], pa.int8()),
        "a_integer": pa.array([7], pa.uint16()),
        "a_unsignedInteger": pa.array([2**32 - 1], pa.uint32()),
        "a_long": pa.array([2**62 + 1], pa.int64()),
        "a_unsignedLong": pa.array([2**63 - 1], pa.uint64()),
        "a_boolean": pa.array([True]),
        "a_string": pa.array(["x"], pa.large_string()).dictionary_encode(),
        "a_dateTime": pa.array([moment], pa.timestamp("ns", "Europe/Berlin")),
        "a_date": pa.array([moment.date()], pa.date64()),
        "a_time": pa.array([moment.time()], pa.time64("ns")),
        "a_duration": pa.array([dt.timedelta(seconds=90.5)], pa.duration("ms")),
        "a_decimal": pa.array([Decimal("12.50")], pa.decimal128(10, 2)),
        "a_bytes": pa.array([b"\x00\xff"], pa.binary()),
        "a_uuid": pa.array([bytes(range(16))], pa.uuid()),
        "list": pa.array(["[1.5, 2]"], pa.json_()),
    }
    decoded = decode_arrow(stream_of(timed(values)))
    event = decoded.events[0]
    assert isinstance(event, Event)
    assert event.data == {
        "a_double": 1.5,
        "a_float": 2.5,
        "a_byte": -128,
        "a_integer": 7,
        "a_unsignedInteger": 2**32 - 1,
        "a_long": 2**62 + 1,
        "a_unsignedLong": 2**63 - 1,
        "a_boolean": True,
        "a_string": "x",
        "a_dateTime": "2026-01-31T12:30:00.000250Z",
        "a_date": "2026-01-31",
        "a_time": "12:30:00.000250Z",
        "a_duration": "PT90.500000S",
        "a_decimal": "12.50",
        "a_bytes": "AP8=",
        "a_uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "list": [1.5, 2],
    }
    resolved = resolve_batch(decoded.events, VIEW, RULES)
    assert resolved.faults == {}
    assert told(resolved) == told(resolve([event], VIEW, RULES))


def timed(values: dict[str, Any], twin: str = "a") -> Any:
    count = len(next(iter(values.values())))
    times = pa.array([20 * DAY_US] * count, pa.timestamp("us", "UTC"))
    return pa.table({"twin": [twin] * count, "time": times, **values})


def test_names_come_from_columns_or_from_the_schema() -> None:
    table = timed({"a_double": [1.0, 2.0]})
    plain = decode_arrow(stream_of(table))
    assert [each.id for each in plain.events if isinstance(each, Event)] == [
        each.id for each in decode_arrow(stream_of(table)).events if isinstance(each, Event)
    ]
    columns = {"id": ["x", "y"], "source": ["/s", "/t"], "type": pa.array(["u", "u"]).dictionary_encode()}
    named = decode_arrow(stream_of(timed({"a_double": [1.0, 2.0], **columns})))
    first, second = named.events
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert (first.id, first.source, first.type, second.id, second.source) == ("x", "/s", "u", "y", "/t")
    without = decode_arrow(stream_of(timed({"a_double": [1.0], "id": pa.array([None], pa.string())})))
    assert resolve_batch(without.events, VIEW, RULES).faults[0].code == "EventMalformed"


def test_a_field_may_name_its_path() -> None:
    table = timed({"quality": [1.0]})
    schema = table.schema.set(2, table.schema.field(2).with_metadata({"gemel.path": "a_double"}))
    event = decode_arrow(stream_of(table.cast(schema))).events[0]
    assert isinstance(event, Event)
    assert (event.data, event.quality) == ({"a_double": 1.0}, "good")


UTC = pa.timestamp("us", "UTC")
WRONG = {
    "no twin": (pa.table({"time": pa.array([1], UTC), "x": [1.0]}), "ColumnsInvalid"),
    "no time": (pa.table({"twin": ["a"], "x": [1.0]}), "ColumnsInvalid"),
    "naive": (pa.table({"twin": ["a"], "time": pa.array([1], pa.timestamp("us")), "x": [1.0]}), "TimeNaive"),
    "time as text": (pa.table({"twin": ["a"], "time": ["2026"], "x": [1.0]}), "ColumnsInvalid"),
    "twin as number": (pa.table({"twin": [1], "time": pa.array([1], UTC), "x": [1.0]}), "ColumnsInvalid"),
    "revision as text": (timed({"a_double": [1.0], "revision": ["1"]}), "ColumnsInvalid"),
    "no value": (timed({"path": ["a_double"]}), "ColumnsInvalid"),
    "value of no layout": (timed({"path": ["a_double"], "value": [1.0], "x": [1]}), "ColumnsInvalid"),
    "nested": (timed({"list": [[1.0]]}), "ColumnsInvalid"),
    "empty list type": (timed({"list": pa.array([[]], pa.list_(pa.null()))}), "ColumnsInvalid"),
    "twice": (
        pa.Table.from_arrays([["a"], pa.array([1], UTC), [1.0], [1.0]], ["twin", "time", "x", "x"]),
        "ColumnsInvalid",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_columns_of_no_layout_are_refused(name: str) -> None:
    table, code = WRONG[name]
    with pytest.raises(GemelError) as refused:
        decode_arrow(stream_of(table))
    assert refused.value.code == code


def test_a_stream_that_is_cut_anywhere_is_refused() -> None:
    body = stream_of(table_of([Row("a", 20 * DAY_US, {"a_double": 1.0})] * 3, wide=True), rows=2)
    for end in range(len(body)):
        with pytest.raises(GemelError) as refused:
            decode_any(body[:end], ARROW)
        assert refused.value.code == "BodyMalformed", end
    with pytest.raises(GemelError, match="more follow"):
        decode_any(body + b"\x00", ARROW)
    assert len(decode_any(body, ARROW).events) == 3


@given(st.data())
def test_a_damaged_stream_is_refused_or_read(data: st.DataObject) -> None:
    rows = [Row("a", 20 * DAY_US, {"a_double": 1.0, "a_string": "x"})] * 4
    table = table_of(rows, wide=True)
    body = bytearray(stream_of(table, data.draw(st.sampled_from([None, "lz4", "zstd"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        weigh_any(bytes(body), ARROW)
        decoded = decode_any(bytes(body), ARROW)
        resolve_batch(decoded.events, VIEW, RULES)
    except GemelError as error:
        assert error.code in {"BodyMalformed", "BodyTooLarge", "ColumnsInvalid", "TimeNaive"}  # noqa: PT017


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_buffers_count_by_what_they_hold(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = timed({"a_double": np.zeros(50_000)})
    body = stream_of(table, compression)
    size = arrow_framing.measure(body)
    assert len(body) < 300_000 < 50_000 * 17 < size.unpacked
    assert (size.rows, size.cells) == (50_000, 150_000)
    assert weigh_any(body, ARROW) >= 50_000 * 3 * 10
    assert len(decode_arrow(body).events) == 50_000
    monkeypatch.setattr(arrow_framing, "UNPACKED_MAX", 500_000)
    with pytest.raises(GemelError) as refused:
        decode_arrow(body)
    assert refused.value.code == "BodyTooLarge"


def test_a_claim_of_any_size_is_not_believed() -> None:
    body = bytearray(stream_of(timed({"a_double": np.zeros(1000)}), "zstd"))
    claim = struct.pack("<q", 8000)
    place = bytes(body).index(claim + b"\x28\xb5\x2f\xfd")  # before the frame of the column
    body[place : place + 8] = struct.pack("<q", 2**40)
    with pytest.raises(GemelError) as refused:
        decode_arrow(bytes(body))
    assert refused.value.code == "BodyTooLarge"


def test_bodies_that_ask_for_too_much() -> None:
    long_text = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * 100_000])
    over = {
        "dictionary": timed({"a_string": long_text}),
        "rows": timed({"a_double": np.zeros(100_001)}),
        "nulls": timed({"a_double": pa.nulls(100_001)}),
        "cells": timed({f"p{n}": np.zeros(600) for n in range(1_998)}),
    }
    for name, table in over.items():
        with pytest.raises(GemelError) as refused:
            decode_arrow(stream_of(table))
        assert refused.value.code == "BodyTooLarge", name
    with pytest.raises(GemelError) as many:
        decode_arrow(stream_of(timed({f"p{n}": [1.0] for n in range(2_001)})))
    assert many.value.code == "ColumnsInvalid"
    with pytest.raises(GemelError) as messages:
        decode_arrow(stream_of(timed({"a_double": np.zeros(5_100)}), rows=1))
    assert messages.value.code == "BodyTooLarge"


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    body = stream_of(timed({"a_double": [1.0]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EnvironmentFaultError, match="pyarrow"):
        decode_arrow(body)
