from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.clock import EPOCH, to_us
from gemel.mapping.tables import UNIX_FORMATS, TimeColumn
from gemel.mapping.times import time_reader


def read(cell: object, format_text: str = "iso", zone: str | None = None) -> str:
    (text,) = time_reader(TimeColumn("at", format_text, zone))([cell])
    return text


@pytest.mark.parametrize(
    ("cell", "format_text", "zone", "text"),
    [
        ("2020-02-08 13:30:47", "%Y-%m-%d %H:%M:%S", "UTC", "2020-02-08T13:30:47Z"),
        ("2020-2-8 1:3:4", "%Y-%m-%d %H:%M:%S", "UTC", "2020-02-08T01:03:04Z"),
        ("08.02.2020 13:30", "%d.%m.%Y %H:%M", "Europe/Berlin", "2020-02-08T12:30:00Z"),
        ("08/02/2020 13:30:47.123456 +0530", "%d/%m/%Y %H:%M:%S.%f %z", None, "2020-02-08T08:00:47.123456Z"),
        ("2020-02-08T13:30:47+01:00", "iso", "America/New_York", "2020-02-08T12:30:47Z"),
        ("2020-02-08T13:30:47.123456789Z", "iso", None, "2020-02-08T13:30:47.123456Z"),
        ("20200208T133047Z", "iso", None, "2020-02-08T13:30:47Z"),
        ("2020-02-08", "iso", "UTC", "2020-02-08T00:00:00Z"),
        ("1581168647", "unix_s", None, "2020-02-08T13:30:47Z"),
        ("1581168647.1234569", "unix_s", None, "2020-02-08T13:30:47.123456Z"),
        (1581168647, "unix_s", "Europe/Berlin", "2020-02-08T13:30:47Z"),
        (1581168647.123456, "unix_s", None, "2020-02-08T13:30:47.123456Z"),
        ("1.581168647e9", "unix_s", None, "2020-02-08T13:30:47Z"),
        ("1581168647123", "unix_ms", None, "2020-02-08T13:30:47.123000Z"),
        ("1581168647123456", "unix_us", None, "2020-02-08T13:30:47.123456Z"),
        ("1581168647123456999", "unix_ns", None, "2020-02-08T13:30:47.123456Z"),
        ("-1", "unix_ns", None, "1969-12-31T23:59:59.999999Z"),
        (datetime(2020, 2, 8, 13, tzinfo=timezone(timedelta(hours=1))), "iso", None, "2020-02-08T12:00:00Z"),
        (datetime(2020, 2, 8, 13), "unix_s", "UTC", "2020-02-08T13:00:00Z"),
    ],
)
def test_times_become_utc_to_the_microsecond(
    cell: object, format_text: str, zone: str | None, text: str
) -> None:
    assert read(cell, format_text, zone) == text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        # Berlin set its clocks forward on 2020-03-29 at 02:00 and back on 2020-10-25 at 03:00.
        ("2020-03-29 01:59:59", "2020-03-29T00:59:59Z"),
        ("2020-03-29 02:00:00", "2020-03-29T02:00:00"),
        ("2020-03-29 02:59:59", "2020-03-29T02:59:59"),
        ("2020-03-29 03:00:00", "2020-03-29T01:00:00Z"),
        ("2020-10-25 01:59:59", "2020-10-24T23:59:59Z"),
        ("2020-10-25 02:00:00", "2020-10-25T02:00:00"),
        ("2020-10-25 02:59:59", "2020-10-25T02:59:59"),
        ("2020-10-25 03:00:00", "2020-10-25T02:00:00Z"),
    ],
)
def test_a_local_time_that_is_none_or_two_is_not_guessed_at(cell: str, text: str) -> None:
    assert read(cell, "%Y-%m-%d %H:%M:%S", "Europe/Berlin") == text


@pytest.mark.parametrize("format_text", ["iso", "%Y-%m-%d %H:%M:%S", *UNIX_FORMATS])
@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("", ""),
        (" yesterday ", "yesterday"),
        ("1_0", "1_0"),
        ("nan", "nan"),
        ("1e999999999", "1e999999999"),
        ("9" * 40, "9" * 40),
        (True, "True"),
        (["x"], "['x']"),
        ("2020-02-08T25:00:00Z", "2020-02-08T25:00:00Z"),
        ("2020-02-30 00:00:00", "2020-02-30 00:00:00"),
    ],
)
def test_what_does_not_parse_stays_as_it_is(format_text: str, cell: object, text: str) -> None:
    assert read(cell, format_text, "UTC") == text


def test_a_naive_time_without_a_zone_stays_naive() -> None:
    assert read("2020-02-08 13:30:47") == "2020-02-08T13:30:47"


@given(st.text("0123456789-: WT.", min_size=15, max_size=20) | st.datetimes().map(lambda d: str(d)[:19]))
def test_the_fast_way_reads_as_strptime_does(cell: str) -> None:
    format_text = "%Y-%m-%d %H:%M:%S"
    try:
        expected = datetime.strptime(cell.strip(), format_text).isoformat() + "Z"
    except ValueError:
        expected = cell.strip()
    assert read(cell, format_text, "UTC") == expected


@given(st.integers(0, 9_000_000_000_000_000), st.sampled_from(["unix_s", "unix_ms", "unix_us", "unix_ns"]))
def test_unix_times_are_exact(us: int, format_text: str) -> None:
    scale = UNIX_FORMATS[format_text]
    whole, rest = divmod(us * 1000, scale)
    cell = f"{whole}.{rest:0{len(str(scale)) - 1}d}" if rest else str(whole)
    assert to_us(datetime.fromisoformat(read(cell, format_text))) == us


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)))
def test_iso_times_are_exact(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert datetime.fromisoformat(read(aware.isoformat())) - EPOCH == aware - EPOCH
