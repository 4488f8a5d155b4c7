from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.observe.trace import new_trace, trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def test_the_callers_trace_goes_on_under_a_span_of_our_own() -> None:
    trace = trace_of(f"00-{TRACE}-{PARENT}-01")
    assert trace.trace_id == TRACE
    assert trace.span_id != PARENT
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-01"


def test_a_later_version_may_say_more() -> None:
    assert trace_of(f"01-{TRACE}-{PARENT}-01-what-comes").trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_a_header_that_names_no_trace_starts_one(header: str | None) -> None:
    trace = trace_of(header)
    assert trace.trace_id not in (TRACE, "0" * 32)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", trace.traceparent)


@given(st.text(max_size=80))
def test_no_header_makes_it_fail(header: str) -> None:
    assert len(trace_of(header).trace_id) == 32


def test_ids_come_from_the_given_source() -> None:
    assert new_trace(random.Random(1)) == new_trace(random.Random(1))
