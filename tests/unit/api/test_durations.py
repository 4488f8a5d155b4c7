from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.api.durations import parse_duration_us, parse_moment_us
from gemel.base.clock import to_us
from gemel.base.errors import InvalidError

offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1), timezones=offsets | st.just(UTC)))
def test_any_time_with_a_zone_is_read_to_the_microsecond(moment: datetime) -> None:
    assert parse_moment_us("from", moment.isoformat()) == to_us(moment)


@pytest.mark.parametrize(
    "text", ["", "noon", "2026-01-31", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z", "0", "1e9"]
)
def test_what_is_no_time_names_its_parameter(text: str) -> None:
    with pytest.raises(InvalidError, match="to=") as caught:
        parse_moment_us("to", text)
    assert caught.value.code == "InvalidArgument"


def test_a_plus_sign_that_became_a_space_is_explained() -> None:
    with pytest.raises(InvalidError) as caught:
        parse_moment_us("to", "2026-01-31T12:00:00 01:00")
    assert caught.value.hint == "Encode its + as %2B."


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1us", 1),
        ("500ms", 500_000),
        ("10s", 10_000_000),
        ("5m", 300_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
        ("2w", 1_209_600_000_000),
    ],
)
def test_durations(text: str, us: int) -> None:
    assert parse_duration_us("every", text) == us


@pytest.mark.parametrize(
    "text", ["", "0s", "-1s", "1", "s", "1.5h", "1 h", "1y", "١s", "999999999999w", "9" * 50 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="every="):
        parse_duration_us("every", text)
