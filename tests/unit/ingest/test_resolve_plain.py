"""Events that are taken all at once are taken as each would be by itself; any that is different stops that."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from gemel.base.clock import EPOCH
from gemel.base.errors import Detail
from gemel.graph.directory import BoundSlot, BoundType, DirectoryView, TwinRef
from gemel.ingest.events import Event
from gemel.ingest.resolve import Resolved, TimeRules, resolve
from gemel.ingest.resolve_plain import resolve_plain
from gemel.models import compile_twin_type, parse
from gemel.store.database import Epochs

DAY_US = 86_400_000_000
RULES = TimeRules(received_us=50 * DAY_US, latest_us=51 * DAY_US, retention_us=2 * DAY_US)
KINDS = ("double", "float", "integer", "byte", "unsignedInteger", "long", "string", "boolean")


def bound(dtmi: str, kinds: tuple[str, ...], first: int) -> BoundType:
    contents = [{"@type": "Property", "name": f"a_{kind}", "schema": kind} for kind in kinds]
    model = {"@context": "dtmi:dtdl:context;4", "@id": dtmi, "@type": "Interface", "contents": contents}
    twin_type = compile_twin_type(parse([model]), dtmi)
    slots = {path: BoundSlot(first + n, slot) for n, (path, slot) in enumerate(twin_type.slots.items())}
    return BoundType(twin_type, slots)


ALL, LESS = bound("dtmi:t:All;1", KINDS, 1), bound("dtmi:t:Less;1", ("double", "integer"), 100)
VIEW = DirectoryView(
    {
        "a": TwinRef(1, ALL, 10 * DAY_US, 0, 2**62),
        "b": TwinRef(2, ALL, 0, 5 * DAY_US, 40 * DAY_US),
        "c": TwinRef(3, LESS, 20 * DAY_US, 0, 2**62),
    },
    Epochs(0, 0),
)


def at(time_us: int, zone: timezone | None = UTC) -> datetime:
    moment = EPOCH + timedelta(microseconds=time_us)
    return moment.astimezone(zone) if zone is not None else moment.replace(tzinfo=None)


def event(
    subject: str, data: dict[str, Any], time: datetime | None, revision: int = 0, quality: Any = "good"
) -> Event:
    return Event("1", "/t", "t", "1.0", subject, data, time, revision, quality)


plain_times = st.integers(21 * DAY_US, 39 * DAY_US).map(at)
plain_values = st.one_of(st.floats(-3e38, 3e38), st.integers(-(2**63) + 1024, 2**63 - 1024))
plain = st.builds(
    event,
    st.sampled_from("abc"),
    st.one_of(
        st.fixed_dictionaries({"a_double": plain_values, "a_integer": st.integers(-(2**31), 2**31 - 1)}),
        st.dictionaries(st.just("a_double"), plain_values, min_size=1),
    ),
    plain_times,
    st.sampled_from([0, 0, 0, 7]),
    st.sampled_from(["good", "good", "bad", "uncertain"]),
)
odd_values = st.one_of(
    st.floats(), st.integers(-(2**65), 2**65), st.booleans(), st.text(max_size=3), st.none(),
    st.sampled_from([-0.0, 1e39, -3.5e38, math.nan, math.inf, 2**63, 2**63 - 1, -(2**63), 10**400, [], {}, [1.0]]),
)  # fmt: skip
zones = st.sampled_from([UTC, UTC, timezone(timedelta(hours=-3, minutes=7)), None])
odd = st.builds(
    event,
    st.sampled_from(["a", "b", "c", "nobody", ""]),
    st.dictionaries(st.sampled_from([*(f"a_{kind}" for kind in KINDS), "nowhere"]), odd_values, max_size=3),
    st.one_of(
        st.none(),
        st.builds(at, st.integers(0, 60 * DAY_US), zones),
        st.sampled_from(
            [at(0), at(2 * DAY_US), datetime(1901, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
        ),
    ),
    st.sampled_from([0, 2**31 - 1]),
    st.sampled_from(["good", "bad"]),
)


def told(resolved: Resolved) -> tuple[Any, ...]:
    batch = resolved.batch
    columns = (
        batch.series,
        batch.time_us,
        batch.recorded_us,
        batch.num,
        batch.kind,
        batch.revision,
        batch.quality,
    )
    return (
        [(column.dtype, column.tobytes()) for column in (*columns, resolved.owner)],
        batch.docs,
        resolved.faults,
        resolved.starts,
    )


@given(st.lists(plain, min_size=1, max_size=12))
@example(
    [
        event("a", {"a_double": 5, "a_integer": 5}, at(30 * DAY_US + 1)),
        event("a", {"a_double": 0.5}, at(3 * DAY_US)),
    ]
)
def test_what_is_plain_is_taken_at_once(events: list[Event]) -> None:
    made = resolve_plain(events, VIEW, RULES)
    alone = resolve(events, VIEW, RULES)
    if alone.faults:  # a whole number that the twin's slot does not take
        assert made is None
    else:
        assert made is not None
        assert told(made) == told(alone)


@given(st.lists(st.one_of(plain, plain, odd), max_size=6), st.integers(0, 1))
def test_what_is_odd_is_left_alone_or_taken_alike(events: list[Event | Detail], details: int) -> None:
    events = [*events, *[Detail("EventMalformed", "")] * details]
    made = resolve_plain(events, VIEW, RULES)
    alone = resolve(events, VIEW, RULES)
    if alone.faults or alone.batch.docs is not None:
        assert made is None
    if made is not None:
        assert told(made) == told(alone)


@given(st.lists(plain, min_size=1, max_size=6), st.booleans())
def test_events_without_a_time_have_that_of_their_receipt(events: list[Event], apart: bool) -> None:
    untimed = [event(each.subject, {"a_double": 1.5}, None) for each in events]
    receipts = [30 * DAY_US + 5 * number for number in range(len(events))] if apart else ()
    rules = TimeRules(35 * DAY_US, 51 * DAY_US, 0, receipts)
    made = resolve_plain(untimed, VIEW, rules)
    assert made is not None
    assert told(made) == told(resolve(untimed, VIEW, rules))


def test_times_keep_each_microsecond_up_to_where_doubles_do() -> None:
    last_us = 2**32 * 1_000_000
    view = DirectoryView({"a": TwinRef(1, ALL, 0, 0, 2**62)}, Epochs(0, 0))
    rules = TimeRules(last_us, 2 * last_us, 0)
    rng = np.random.default_rng(7)
    times_us = [*rng.integers(0, last_us, 20_000).tolist(), 0, 1, last_us - 1]
    made = resolve_plain([event("a", {"a_double": 1.0}, at(us)) for us in times_us], view, rules)
    assert made is not None
    assert made.batch.time_us.tolist() == times_us
    assert resolve_plain([event("a", {"a_double": 1.0}, at(last_us))], view, rules) is None
