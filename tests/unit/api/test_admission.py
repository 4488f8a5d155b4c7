from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.api import admission
from gemel.api.admission import Admission, Body
from gemel.base.errors import InvalidError, OverloadedError, TooLargeError


def body_of(gate: Admission, parts: list[bytes], length: int | str | None = None) -> Body:
    messages: list[Any] = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
        for index, part in enumerate(parts)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> Any:
        return messages.pop(0)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope: Any = {"type": "http", "headers": headers}
    return Body(gate, scope, receive)


async def read(body: Body) -> int:
    total, more = 0, True
    while more:
        message: Any = await body.receive()
        total += len(message["body"])
        more = message["more_body"]
    return total


def test_an_announced_body_is_reserved_before_it_is_read() -> None:
    gate = Admission(100, 60)
    with body_of(gate, [b"x" * 60], 60) as one:
        assert gate.in_flight == 60
        with pytest.raises(OverloadedError) as caught, body_of(gate, [], 41):
            pass
        assert caught.value.code == "Overloaded"
        assert caught.value.retry_after_s >= 1
        with body_of(gate, [b"y" * 40], 40):
            assert gate.in_flight == 100
        assert asyncio.run(read(one)) == 60
        assert gate.in_flight == 60
    assert gate.in_flight == 0


def test_a_body_over_the_limit_is_refused_unread() -> None:
    gate = Admission(100, 60)
    with pytest.raises(TooLargeError, match="60 bytes") as caught, body_of(gate, [], 61):
        pass
    assert caught.value.code == "BodyTooLarge"
    assert gate.in_flight == 0


@pytest.mark.parametrize("length", ["-1", "1e3", "", "٣", "9" * 30])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    scope: Any = {"type": "http", "headers": [(b"content-length", length.encode())]}

    async def receive() -> Any:
        raise AssertionError

    with pytest.raises(InvalidError):
        Body(Admission(1, 1), scope, receive)


def test_chunks_are_counted_as_they_come() -> None:
    gate = Admission(100, 60)
    with body_of(gate, [b"x" * 30, b"x" * 30]) as body:
        assert asyncio.run(read(body)) == 60
        assert gate.in_flight == 60
    with pytest.raises(TooLargeError), body_of(gate, [b"x" * 30, b"x" * 31]) as body:
        asyncio.run(read(body))
    gate.reserve(80)
    with pytest.raises(OverloadedError), body_of(gate, [b"x" * 30]) as body:
        asyncio.run(read(body))
    assert gate.in_flight == 80


def test_more_than_was_announced_is_counted_too() -> None:
    gate = Admission(100, 60)
    with body_of(gate, [b"x" * 30], 10) as body:
        assert gate.in_flight == 10
        asyncio.run(read(body))
        assert gate.in_flight == 30
    assert gate.in_flight == 0


def test_one_body_of_the_greatest_size_always_fits_alone() -> None:
    with body_of(Admission(10, 60), [], 60):
        pass


def test_a_lost_connection_ends_the_body_and_is_passed_on_after_it() -> None:
    gate = Admission(100, 60)
    with body_of(gate, [b"x"]) as body:
        asyncio.run(read(body))
        assert asyncio.run(body.receive())["type"] == "http.disconnect"
    body = body_of(gate, [])
    with pytest.raises(InvalidError), body:
        asyncio.run(read(body))


def test_a_body_that_stops_coming_gives_its_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "BODY_WAIT_S", 0.01)
    gate = Admission(100, 60)

    async def receive() -> Any:
        await asyncio.sleep(60)

    scope: Any = {"type": "http", "headers": [(b"content-length", b"60")]}
    with pytest.raises(InvalidError, match="stopped"), Body(gate, scope, receive) as body:
        asyncio.run(read(body))
    assert gate.in_flight == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60))
def test_the_sum_never_passes_the_limit_and_ends_at_nought(steps: list[tuple[int, bool]]) -> None:
    seen: list[int] = []
    gate = Admission(100, 50, seen.append)
    held: list[int] = []
    for size, give_back in steps:
        if give_back and held:
            gate.release(held.pop())
            continue
        try:
            gate.reserve(size)
        except OverloadedError:
            assert sum(held) + size > 100
        else:
            held.append(size)
        assert gate.in_flight == sum(held) <= 100
    for size in held:
        gate.release(size)
    assert gate.in_flight == 0
    assert all(0 <= total <= 100 for total in seen)
