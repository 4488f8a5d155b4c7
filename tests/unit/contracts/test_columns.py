"""Columns of dicts, events, tables and rows: each sees what the samples themselves would show."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.clock import to_us
from gemel.contracts.checking import Checker
from gemel.contracts.columns import Columns, clock_of, facts_of
from gemel.contracts.document import parse_contract
from gemel.contracts.events import hold_back
from gemel.contracts.tables import CellColumns, EventColumns, TableColumns
from gemel.contracts.watching import Watch
from gemel.ingest.arrow import decode_arrow
from gemel.ingest.events import LINES, decode_body
from gemel.mapping.paths import compile_path
from support.arrow import Row, json_lines, stream_of, table_of

NOW_US = 1_769_860_800_000_000
CONTRACT = b"""
contract: c
version: "1.0"
thing: subject
time: {path: time}
fields:
  subject: {type: string, required: true}
  data.flow: {type: number, min: 0, max: 50, required: true}
  data.motor.speed: {type: number, min: 0}
  data.label: {type: string, values: [a, b]}
  data.count: {type: integer, max: 9}
others: refuse
every: {min_s: 1, max_s: 60}
late_s: 100
ahead_s: 5
"""
NUMBER = st.one_of(st.floats(-1, 60), st.sampled_from([0.0, 50.0]))
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "flow": NUMBER, "motor.speed": NUMBER, "label": st.sampled_from(["a", "c"]), "count": st.integers(-1, 12),
        "odd": NUMBER,
    },
)  # fmt: skip
TIMES = st.integers(0, 300).map(lambda second: NOW_US + (second - 290) * 1_000_000)
ROWS = st.lists(
    st.tuples(st.sampled_from(["t0", "t1"]), TIMES, VALUES).map(lambda drawn: Row(*drawn)),
    min_size=1,
    max_size=8,
)


def found(checker: Checker) -> dict[tuple[str, str], int]:
    return {(rule.kind, rule.field): finding.count for rule, finding in checker.findings.items()}


@given(ROWS)
def test_events_and_tables_show_what_their_json_shows(rows: list[Row]) -> None:
    contract = parse_contract(CONTRACT, "c")
    lines = json_lines(rows)
    checkers = [Checker(contract, NOW_US) for _ in range(3)]
    checkers[0].take(enumerate(map(json.loads, lines.split(b"\n"))))
    events: list[Any] = list(decode_body(lines, LINES).events)
    checkers[1].take_columns(range(len(rows)), EventColumns(events))
    table: Any = decode_arrow(stream_of(table_of(rows, wide=True))).events
    checkers[2].take_columns(range(len(rows)), TableColumns(table))
    assert found(checkers[1]) == found(checkers[0])
    assert found(checkers[2]) == found(checkers[0])


@given(ROWS)
def test_what_is_held_back_is_the_same_as_json_and_as_arrow(rows: list[Row]) -> None:
    contract = parse_contract(CONTRACT + b"policy: {default: quarantine}", "c")
    bodies = decode_body(json_lines(rows), LINES), decode_arrow(stream_of(table_of(rows, wide=True)))
    codes = []
    for decoded in bodies:
        hold_back(Watch(contract, NOW_US), decoded, NOW_US)
        codes.append([(getattr(each, "code", None), getattr(each, "place", None)) for each in decoded.events])
    assert codes[0] == codes[1]


@given(st.lists(VALUES, min_size=1))
def test_rows_show_what_their_objects_show(rows: list[dict[str, Any]]) -> None:
    text = CONTRACT.decode().split("every:")[0].replace("data.", "").replace("time: {path: time}\n", "")
    contract = parse_contract(text.replace("thing: subject\n", "").encode(), "c")
    cells = {name: [row.get(name) for row in rows] for name in {key for row in rows for key in row}}
    checkers = [Checker(contract, NOW_US) for _ in range(2)]
    checkers[0].take(enumerate(rows))
    checkers[1].take_columns(range(len(rows)), CellColumns(cells, len(rows)))
    assert found(checkers[1]) == found(checkers[0])


@given(
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)), min_size=1)
)
def test_facts_are_those_of_the_values(column: list[Any]) -> None:
    facts, there = facts_of(column), [value for value in column if value is not None]
    assert facts.gaps is (len(there) < len(column))
    assert facts.types == set(map(type, there))
    assert facts.texts == (set(there) if facts.types == {str} else None)
    if facts.finite:
        assert (facts.least, facts.most) == (float(min(there)), float(max(there)))


@given(
    st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), min_size=1),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_times_that_are_written_alike_are_read_together(times: list[datetime], precision: str) -> None:
    contract = parse_contract(b"contract: c\nversion: '1.0'\ntime: {path: t}\nfields: {t: {}}", "c")
    one, column = clock_of(contract)
    texts = [each.isoformat(timespec=precision) + "Z" for each in times]
    assert column(texts).tolist() == [one(text) for text in texts]
    assert [one(text) for text in texts] == [to_us(datetime.fromisoformat(text)) for text in texts]


@pytest.mark.parametrize(
    "text",
    ["2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01 00:00:00Z", "NaT",
     "2026-01-01T00:00:0٠Z"],
)  # fmt: skip
def test_what_is_no_time_is_none_among_others_either(text: str) -> None:
    contract = parse_contract(b"contract: c\nversion: '1.0'\ntime: {path: t}\nfields: {t: {}}", "c")
    one, column = clock_of(contract)
    try:
        expected: list[int] | None = [one(text)] * 2
    except ValueError:
        expected = None
    try:
        read: list[int] | None = column([text, text]).tolist()
    except ValueError:
        read = None
    assert read == expected


def test_a_key_may_be_written_with_dots() -> None:
    columns = Columns([{"a": {"b": 1}}, {"a.b": 2}, {"a": {}}, {}])
    assert columns.at(compile_path("a.b")) == [1, 2, None, None]
