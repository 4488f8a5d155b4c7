"""A body cut into events: each its own bytes, one bad one costs only itself, and no body holds too many."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError, TooLargeError
from gemel.ingest.events import BATCH, LINES, Event, decode_body
from gemel.ingest.framing import EVENTS_MAX, count_values, split_array, split_lines

GOOD = json.dumps(
    {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "subject": "t0", "data": {"a": 1.0}}
)
BAD = {
    "deep": (GOOD.replace("1.0}", "[" * 3000 + "]" * 3000 + "}").encode(), "EventMalformed"),
    "open text": (b'{"id": "\x00"}', "EventMalformed"),
    "not UTF-8": (GOOD.encode().replace(b'"t"', b'"\xff]"'), "EventMalformed"),
    "nan": (GOOD.replace("1.0}", "NaN}").encode(), "ValueNotFinite"),
    "long number": (GOOD.replace("1.0}", "9" * 5000 + "}").encode(), "ValueOutOfRange"),
    "nothing": (b"", "EventMalformed"),
    "brackets in a text": (rb'"]},\"{["', "EventMalformed"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_element_costs_only_itself(name: str) -> None:
    raw, code = BAD[name]
    decoded = decode_body(b"[" + GOOD.encode() + b" , " + raw + b"," + GOOD.encode() + b"]\n", BATCH)
    assert [isinstance(event, Event) for event in decoded.events] == [True, False, True]
    assert getattr(decoded.events[1], "code", None) == code
    assert decoded.raw(1) == raw
    assert decoded.raw(2) == GOOD.encode()


NO_BATCH = (b"[NaN", b"[NaN]]", b"[NaN] 1", b'{"a": [NaN]}', b'["', b"NaN", b"", b"[NaN}")


@pytest.mark.parametrize("body", NO_BATCH)
def test_brackets_that_do_not_match_are_no_batch(body: bytes) -> None:
    with pytest.raises(InvalidError) as refused:
        split_array(body)
    assert refused.value.code == "BodyMalformed"


@given(st.lists(st.dictionaries(st.text(), st.text() | st.lists(st.integers())), min_size=1))
def test_elements_keep_their_bytes(elements: list[object]) -> None:
    parts = [json.dumps(element, ensure_ascii=False).encode("utf-8", "replace") for element in elements]
    assert split_array(b"[NaN," + b",".join(parts) + b"]") == [b"NaN", *parts]
    assert split_array(b"[" + b",".join(parts) + b"]") == parts


LAYOUTS = {
    "two on a line": f"{GOOD} {GOOD}\n{GOOD}",
    "one on two lines": GOOD.replace("{", "{\n", 1) + "\n" + GOOD,
    "carriage returns": f"{GOOD}\r{GOOD}",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_event_is_a_line(name: str) -> None:
    decoded = decode_body(LAYOUTS[name].encode(), LINES)
    lines = LAYOUTS[name].encode().split(b"\n")
    assert [decoded.raw(index) for index in range(len(decoded.events))] == lines
    assert [isinstance(event, Event) for event in decoded.events] == [line == GOOD.encode() for line in lines]


def test_events_keep_their_bytes_however_they_stand() -> None:
    broken = GOOD.replace(", ", ",\n", 1)
    decoded = decode_body(f"{GOOD} {GOOD}\n{broken}\r\n".encode(), LINES)  # as many lines as events
    assert [decoded.raw(index).decode() for index in range(3)] == [GOOD, GOOD, broken]
    decoded = decode_body(f"{GOOD}\r\n{GOOD}\r\n".encode(), LINES)
    assert [decoded.raw(index).decode() for index in range(2)] == [GOOD, GOOD]


def test_blank_lines_are_passed_over() -> None:
    decoded = decode_body(f"\n\r\n{GOOD}\r\n\n  \n{GOOD}\n\n".encode(), LINES)
    assert [isinstance(event, Event) for event in decoded.events] == [True, True]


@pytest.mark.parametrize(
    ("body", "media_type"), [(b"1\n" * 200_000, LINES), (b"[1" + b",1" * 200_000 + b"]", BATCH)]
)
def test_too_many_events_are_refused(body: bytes, media_type: str) -> None:
    with pytest.raises(TooLargeError) as refused:
        decode_body(body, media_type)
    assert refused.value.code == "BodyTooLarge"
    assert len(split_lines(b"1\n" * EVENTS_MAX)) == EVENTS_MAX


def test_values_are_counted_from_above() -> None:
    assert count_values(b'{"a": [1, [2, {}], "x"]}') >= 7
    assert count_values(GOOD.encode()) < 10
