"""Lines are decoded in parts: where these are cut is of no account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import Detail
from gemel.ingest import events
from gemel.ingest.events import LINES, Event, decode_body

LINE = b'{"specversion":"1.0","id":"%d","source":"s","type":"t","subject":"a","data":{"x":%d}}'


@given(
    count=st.integers(1, 12), part=st.integers(1, 400), end=st.sampled_from([b"", b"\n", b"\r\n", b"\n \n"])
)
def test_parts_of_any_size_give_the_same_events(count: int, part: int, end: bytes) -> None:
    body = b"\n".join(LINE % (number, number) for number in range(count)) + end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "PART_BYTES", part)
        decoded = decode_body(body, LINES)
    assert [event.id for event in decoded.events if isinstance(event, Event)] == [
        str(number) for number in range(count)
    ]
    assert [decoded.raw(number) for number in range(count)] == [
        LINE % (number, number) for number in range(count)
    ]


@given(place=st.integers(0, 5), part=st.integers(1, 400))
def test_an_event_over_several_lines_costs_only_itself(place: int, part: int) -> None:
    lines = [LINE % (number, number) for number in range(6)]
    lines[place] = lines[place].replace(b',"data"', b',\n"data"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "PART_BYTES", part)
        decoded = decode_body(b"\n".join(lines), LINES)
    taken = [event.id for event in decoded.events if isinstance(event, Event)]
    assert taken == [str(number) for number in range(6) if number != place]
    assert sum(isinstance(event, Detail) for event in decoded.events) == 2
