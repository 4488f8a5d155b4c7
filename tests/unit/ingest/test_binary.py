"""Events in binary content mode: what their headers and body say is what the same event says in JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import Detail, InvalidError
from gemel.ingest.binary import attributes_of, decode_binary
from gemel.ingest.events import Event, decode_event

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
GOOD = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "p"}


def headers_of(attributes: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"ce-{name}", quote(str(value), safe="")) for name, value in attributes.items()]


@given(
    st.fixed_dictionaries(
        {"specversion": st.sampled_from(["1.0", "1.0", "0.3"]), "id": TEXTS, "source": TEXTS, "type": TEXTS},
        optional={
            "subject": TEXTS,
            "time": st.sampled_from(["2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "soon"]),
            "revision": st.integers(-2, 2**33),
            "quality": st.sampled_from(["good", "bad", "odd"]),
            "traceparent": TEXTS,
        },
    ),
    st.dictionaries(TEXTS, VALUES, max_size=4) | VALUES,
)
def test_an_event_is_the_same_in_both_modes(attributes: dict[str, Any], data: Any) -> None:
    found = attributes_of(headers_of(attributes), "application/json")
    assert found == attributes | {"datacontenttype": "application/json"}
    body = json.dumps(data).encode()
    whole = json.dumps(attributes | {"data": data}).encode()
    # Compared as text, since NaN is not itself.
    (event,) = decode_binary(body, found).events
    assert str(event) == str(decode_event(whole))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"a \\"quoted\\" text"', 'a "quoted" text'),
        ("100%25%32%35", "100%25"),  # one round alone
        ("a+b%zz", "a+b%zz"),
        ("Ã¤", "ä"),  # UTF-8 as it is, which older senders send
    ],
)
def test_values_of_headers_are_decoded_once(written: str, text: str) -> None:
    found = attributes_of([*headers_of(GOOD), ("ce-more", written)], "application/json")
    assert found is not None
    assert found["more"] == text


@pytest.mark.parametrize("media_type", ["application/json", "", "text/json", "application/vnd.pump+json"])
def test_which_requests_are_in_binary_mode(media_type: str) -> None:
    assert attributes_of(headers_of(GOOD), media_type) is not None
    assert attributes_of([("ce-traceparent", "x"), ("content-type", media_type)], media_type) is None
    for structured in ("application/cloudevents+json", "application/cloudevents-batch+json"):
        assert attributes_of(headers_of(GOOD), structured) is None


@pytest.mark.parametrize(
    ("changed", "media_type", "code", "said"),
    [
        ({"id": None}, "application/json", "MissingArgument", "lacks ce-id."),
        ({"id": "", "type": None}, "application/json", "MissingArgument", "lacks ce-id, ce-type."),
        ({}, "text/plain", "MediaTypeUnsupported", "'text/plain'"),
        ({}, "application/x-ndjson", "MediaTypeUnsupported", "'application/x-ndjson'"),
    ],
)
def test_what_is_no_event_in_binary_mode_is_refused(
    changed: dict[str, Any], media_type: str, code: str, said: str
) -> None:
    given = {name: value for name, value in (GOOD | changed).items() if value is not None}
    with pytest.raises(InvalidError, match=said) as refused:
        attributes_of(headers_of(given), media_type)
    assert refused.value.code == code


@pytest.mark.parametrize("more", [("ce-subject", "%C0%A0"), ("ce-id", "2"), ("ce-subject", "\xff")])
def test_headers_that_are_no_text_or_stand_there_twice_are_refused(more: tuple[str, str]) -> None:
    with pytest.raises(InvalidError, match=more[0]) as refused:
        attributes_of([*headers_of({**GOOD, "subject": "p"})[: 5 if more[0] == "ce-id" else 4], more], "")
    assert refused.value.code == "InvalidArgument"


@pytest.mark.parametrize(
    ("body", "member", "kept"),
    [
        (b'{"a":1},"subject":"other"', "data", '{"a":1},"subject":"other"'),
        (b'{"a":', "data", '{"a":'),
        (b"\xff{}", "data_base64", "/3t9"),
        (b"[" * 100_000, "data", "[" * 100_000),
    ],
)
def test_data_that_is_no_json_is_kept_and_changes_nothing_else(body: bytes, member: str, kept: str) -> None:
    decoded = decode_binary(body, GOOD)
    (fault,) = decoded.events
    assert isinstance(fault, Detail)
    assert (fault.code, fault.place) == ("EventMalformed", "/data")
    assert json.loads(decoded.raw(0)) == GOOD | {member: kept}


def test_what_names_the_data_is_the_body_alone() -> None:
    (event,) = decode_binary(b' {"a":1} ', GOOD | {"data": "{}", "data_base64": "e30="}).events
    assert isinstance(event, Event)
    assert event.data == {"a": 1}
    (fault,) = decode_binary(b" ", GOOD | {"data": "x"}).events
    assert isinstance(fault, Detail)
    assert fault.code == "EventEmpty"
