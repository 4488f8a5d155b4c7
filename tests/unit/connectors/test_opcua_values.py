"""Values of OPC UA as JSON, and status codes as qualities."""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import Primitives, pack_uatype
from hypothesis import given
from hypothesis import strategies as st

from gemel.connectors.opcua_values import (
    Structure,
    StructureField,
    Structures,
    is_overflow,
    json_value,
    quality_of,
)

NONE = Structures({}, {})
POINT, WALK, CHOICE = (ua.NodeId(number, 2) for number in (1, 2, 3))
ENCODED = {ua.NodeId(number + 100, 2): ua.NodeId(number, 2) for number in (1, 2, 3)}
DOUBLE, STRING, INT32 = 11, 12, 6


def field(
    name: str, builtin: int | None, of: ua.NodeId | None = None, *, many: bool = False, optional: bool = False
) -> StructureField:
    return StructureField(name, builtin, of, many, optional)


KNOWN = Structures(
    {
        POINT: Structure((field("x", DOUBLE), field("y", DOUBLE)), union=False),
        WALK: Structure(
            (
                field("name", STRING),
                field("points", None, POINT, many=True),
                field("note", STRING, optional=True),
                field("count", INT32, optional=True),
            ),
            union=False,
        ),
        CHOICE: Structure((field("number", INT32), field("text", STRING)), union=True),
    },
    ENCODED,
)


def wrapped(of: ua.NodeId, body: bytes) -> ua.ExtensionObject:
    return ua.ExtensionObject(TypeId=ua.NodeId(of.Identifier + 100, 2), Body=body)


def text(value: str) -> bytes:
    return bytes(Primitives.String.pack(value))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        ([1.5, [2.5]], [1.5, [2.5]]),
        (b"\x00\xff", "AP8="),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000000Z"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (ua.LocalizedText("heiß", "de"), "heiß"),
        (ua.QualifiedName("Speed", 2), "Speed"),
        (ua.NodeId("Speed", 2), "ns=2;s=Speed"),
        (ua.StatusCode(0x80050000), "BadCommunicationError"),
        (ua.ServerState.Running, 0),
        (ua.Range(1.0, 2.0), {"Low": 1.0, "High": 2.0}),
    ],
)
def test_values_as_json(value: object, wanted: object) -> None:
    assert json_value(value, NONE) == wanted


def test_structures_by_their_definitions() -> None:
    walk = struct.pack("<I", 0b10) + text("w") + struct.pack("<i4d", 2, 1, 2, 3, 4) + struct.pack("<i", 5)
    assert json_value([wrapped(WALK, walk)], KNOWN) == [
        {"name": "w", "points": [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}], "count": 5}
    ]
    assert json_value(wrapped(CHOICE, struct.pack("<I", 2) + text("b")), KNOWN) == {"text": "b"}
    assert json_value(wrapped(CHOICE, struct.pack("<I", 0)), KNOWN) == {}


def test_a_structure_of_which_nothing_is_known_is_kept_as_it_came() -> None:
    assert json_value(wrapped(POINT, b"\x01"), NONE) == {"typeId": "ns=2;i=101", "body": "AQ=="}


@given(st.sampled_from([POINT, WALK, CHOICE]), st.binary(max_size=40))
def test_bytes_that_are_no_structure_are_refused_by_name(of: ua.NodeId, body: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(json_value(wrapped(of, body), KNOWN), dict)


@given(st.one_of(st.floats(allow_nan=False), st.text(), st.integers(-(2**31), 2**31 - 1)))
def test_a_field_is_what_the_library_wrote(value: float | str | int) -> None:
    builtin = {float: DOUBLE, str: STRING, int: INT32}[type(value)]
    known = Structures({POINT: Structure((field("v", builtin),), union=False)}, ENCODED)
    assert json_value(wrapped(POINT, pack_uatype(ua.VariantType(builtin), value)), known) == {"v": value}


@pytest.mark.parametrize(
    ("code", "quality"),
    [(0, "good"), (0x00960000, "good"), (0x40900000, "uncertain"), (0x80050000, "bad"), (0xC0000000, "bad")],
)
def test_the_severity_of_a_status_is_the_quality(code: int, quality: str) -> None:
    assert quality_of(code) == quality


def test_the_bit_of_an_overflow_counts_only_with_its_kind() -> None:
    assert is_overflow(0x0480)
    assert is_overflow(0x40900480)
    assert not is_overflow(0x0080)
    assert not is_overflow(0x0400)
