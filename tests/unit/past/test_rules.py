"""The rules that are told are those by which the platform decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.history.moves import Lost, Move
from gemel.history.values import QUALITIES, Encoded, encode, rank
from gemel.past.causes import Cause, CausingEvent
from gemel.past.rules import rules_of

EVENT = CausingEvent("e", "/s", "t", 0, True, None, None, None, None)
API = Cause("key", "k", "twin.patch", "a", "0" * 32, None)


@dataclass(frozen=True)
class Value:
    encoded: Encoded
    revision: int = 0
    quality: int = 0

    @property
    def rank(self) -> Any:
        return rank(self.revision, self.encoded, self.quality)


def move(
    value: Value, *lost: Value, time_us: int = 10, recorded_us: int = 10, before_us: int | None = None
) -> Move:
    losers = [Lost(None, False, QUALITIES[v.quality], v.revision, 1, 10, v.rank) for v in lost]
    quality = QUALITIES[value.quality]
    return Move(
        "p", "property", 1, time_us, recorded_us, None, False, quality, value.revision, False, None, before_us,
        value.rank, losers,
    )  # fmt: skip


ONE = Value(encode(1.0, "double"))


@pytest.mark.parametrize(
    ("own", "other", "rule"),
    [
        (replace(ONE, revision=2), Value(encode(5.0, "double"), 1), "higherRevision"),
        (Value(encode(2.0, "double")), ONE, "greaterValue"),
        (Value(encode("b", "json")), Value(encode("a", "json")), "greaterValue"),
        (Value(encode("a", "json")), ONE, "rankOfKind"),
        (ONE, Value(Encoded(None, 3, None)), "rankOfKind"),
        (ONE, replace(ONE, quality=1), "betterQuality"),
        (Value(encode(1, "integer")), ONE, "rankOfKind"),
    ],
)
def test_what_decided_between_two_values_for_one_time(own: Value, other: Value, rule: str) -> None:
    assert own.rank > other.rank
    assert [each.rule for each in rules_of(move(own, other), API)] == ["recordedTime", rule, "newestTime"]


def test_the_best_of_those_that_lost_decides() -> None:
    lowest = Value(encode(9.0, "double"))
    rules = rules_of(move(replace(ONE, revision=1), lowest, Value(encode(0.5, "double"), 1)), API)
    assert [each.rule for each in rules[1:]] == ["greaterValue", "newestTime"]
    assert "2 other values" in rules[1].text


VALUES = st.builds(
    Value,
    st.one_of(
        st.integers(0, 2).map(lambda n: encode(n, "integer")),
        st.integers(0, 2).map(lambda n: encode(n, "double")),
        st.sampled_from("ab").map(lambda text: encode(text, "json")),
        st.just(Encoded(None, 3, None)),
    ),
    st.integers(0, 1),
    st.integers(0, 2),
)


@given(st.lists(VALUES, min_size=2, max_size=6, unique_by=lambda value: value.rank))
def test_there_is_a_rule_for_every_contest(values: list[Value]) -> None:
    own, *lost = sorted(values, key=lambda value: value.rank, reverse=True)
    rules = rules_of(move(own, *lost), API)
    assert len(rules) == 3
    assert (rules[1].rule == "higherRevision") == (own.revision > max(value.revision for value in lost))


@pytest.mark.parametrize(
    ("cause", "times", "rule"),
    [
        (Cause("k", None, "events.ingest", "", "", EVENT), {}, "eventTime"),
        (
            Cause("k", None, "events.ingest", "", "", CausingEvent("e", "/s", "t", 0, False, *[None] * 4)),
            {},
            "receiptTime",
        ),
        (API, {}, "recordedTime"),
        (API, {"time_us": 5}, "requestTime"),
        (API, {"time_us": 12, "before_us": 11}, "afterLast"),
        (API, {"time_us": 12, "before_us": 10}, "requestTime"),
        (None, {}, "newestTime"),
    ],
)
def test_how_a_value_came_to_its_time(cause: Cause | None, times: dict[str, Any], rule: str) -> None:
    rules = rules_of(move(ONE, **times), cause)
    assert rules[0].rule == rule
    assert rules[-1].rule == "newestTime"
