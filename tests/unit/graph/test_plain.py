"""What the plain reader reads of a twin is what the rules of a PUT make of it; the rest it leaves to them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import GemelError
from gemel.graph.plain import PlainReader
from gemel.graph.putting import Put, foresee_values, read_put
from gemel.models import compile_twin_type, parse
from support.graph import MODELS, PUMP

TYPE = compile_twin_type(parse(MODELS), PUMP)
READER = PlainReader(TYPE)

VALUES = {
    "label": st.text() | st.just("\x00") | st.just(5),
    "head": st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
    "count": st.integers(-(2**33), 2**33) | st.floats() | st.booleans(),
    "running": st.booleans() | st.none(),
    "tags": st.just({"a": "b"}),
    "flow": st.just(1.5),
    "motor.speed": st.just(1.5),
    "unknown": st.just(1),
    "$dtId": st.just("p"),
    "$lifecycle": st.sampled_from(["planned", "asleep"]),
}
PLAIN = ("label", "head", "count", "running", "$dtId")
COMPONENT = st.fixed_dictionaries(
    {"$metadata": st.sampled_from([{}, {}, {"speed": {"sourceTime": "2026-01-05T00:00:00Z"}}, []])},
    optional={
        "speed": st.floats(allow_nan=False, allow_infinity=False) | st.just("fast"),
        "none": st.just(1),
    },
)
METADATA = st.fixed_dictionaries(
    {"$model": st.just(PUMP)},
    optional={
        "$validFrom": st.sampled_from(["2026-01-05T00:00:00Z", "2026-01-05T00:00:00", "yesterday"]),
        "head": st.sampled_from([{}, {"sourceTime": "2026-01-05T00:00:00Z"}]),
    },
)


def by_the_rules(body: dict[str, Any]) -> Put | GemelError:
    try:
        return foresee_values(read_put("p", body, TYPE))
    except GemelError as error:
        return error


@given(
    st.fixed_dictionaries({}, optional=VALUES),
    st.fixed_dictionaries({"$metadata": METADATA}, optional={"motor": COMPONENT | st.just("motor")}),
)
def test_as_the_rules_have_it(values: dict[str, Any], rest: dict[str, Any]) -> None:
    body = {**values, **rest}
    read = READER.read("p", body)
    if read is not None:
        assert repr(read) == repr(by_the_rules(body))


@given(
    st.text().filter(lambda text: "\x00" not in text),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**31), 2**31 - 1),
    st.booleans(),
)
def test_what_is_usual_is_read(label: str, head: float, count: int, running: bool) -> None:
    body: dict[str, Any] = {"$metadata": {"$model": PUMP, "$validFrom": "2026-01-05T00:00:00Z"}}
    body |= dict(zip(PLAIN, (label, head, count, running, "p"), strict=True))
    body["motor"] = {"$metadata": {}, "speed": head}
    read = READER.read("p", body)
    assert read is not None
    assert repr(read) == repr(by_the_rules(body))
