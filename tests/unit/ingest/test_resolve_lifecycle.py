"""Samples are judged by the lifecycle at their source time, one by one, whatever stands beside them."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gemel.base.clock import EPOCH
from gemel.graph.directory import BoundSlot, BoundType, DirectoryView, TwinRef
from gemel.graph.timeline import FOREVER_US
from gemel.ingest.events import Event
from gemel.ingest.resolve import TimeRules, resolve
from gemel.models import compile_twin_type, parse
from gemel.store.database import Epochs
from support.parts import MODEL

TYPE = compile_twin_type(parse([MODEL]), MODEL["@id"])
BOUND = BoundType(TYPE, {"temperature": BoundSlot(1, TYPE.slots["temperature"])})
RULES = TimeRules(received_us=500, latest_us=1000, retention_us=0)

moments = st.integers(0, 999)
bounds = st.one_of(st.just(FOREVER_US), st.integers(0, 1100))


def event(number: int, twin: str, time_us: int) -> Event:
    return Event(
        specversion="1.0",
        id=str(number),
        source="/test",
        type="t",
        subject=twin,
        time=EPOCH + timedelta(microseconds=time_us),
        data={"temperature": 1.0},
    )


@given(
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 300), bounds), min_size=1),
    st.lists(st.tuples(st.sampled_from("abc"), moments), max_size=20),
    st.randoms(use_true_random=False),
)
def test_each_is_judged_alone(
    twins: dict[str, tuple[int, int]], sent: list[tuple[str, int]], random: object
) -> None:
    order = list(sent)
    random.shuffle(order)  # type: ignore[attr-defined]
    refs = {
        twin: TwinRef(number, BOUND, 0, floor_us, end_us)
        for number, (twin, (floor_us, end_us)) in enumerate(twins.items())
    }
    view = DirectoryView(refs, Epochs(0, 0))
    resolved = resolve([event(number, *each) for number, each in enumerate(order)], view, RULES)
    for number, (twin, time_us) in enumerate(order):
        fault = resolved.faults.get(number)
        code = None if fault is None else fault.code
        if twin not in twins:
            assert code == "TwinUnknown"
        elif time_us < twins[twin][0]:
            assert code == "TimeBeforeTwin"
        else:
            assert code == (None if time_us < twins[twin][1] else "TwinDecommissioned")
    assert set(resolved.owner.tolist()) == set(range(len(order))) - resolved.faults.keys()
