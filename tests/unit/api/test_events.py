from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gemel.api.events import batch_target
from gemel.base.errors import Detail
from gemel.ingest.events import Event

BAD = Detail("EventInvalid", "x")


def of(*sources: str) -> list[Event | Detail]:
    return [Event(str(n), source, "t", "1.0", "p", {}) for n, source in enumerate(sources)]


def test_the_named_source_wins() -> None:
    assert batch_target("plant.csv", of("/a", "/b")) == "plant.csv (2 events)"


def test_else_the_sources_of_the_events_stand_in_their_order() -> None:
    assert batch_target(None, of(*["/demo/station"] * 200)) == "/demo/station (200 events)"
    assert batch_target(None, of("/b", "/a", "/b")) == "/b, /a (3 events)"
    assert batch_target(None, of("/a", "/b", "/c")) == "/a, /b, /c (3 events)"
    assert batch_target(None, of("/a", "/b", "/c", "/d", "/e")) == "/a, /b, /c, … (5 events)"


def test_what_has_no_source_is_counted() -> None:
    assert batch_target(None, []) == "(0 events)"
    assert batch_target("", [BAD]) == "(1 event)"
    assert batch_target(None, [BAD, *of("/a")]) == "/a (2 events)"


@given(st.none() | st.text(), st.lists(st.text(min_size=1, max_size=600)))
def test_the_trail_keeps_the_count_however_long_the_sources(
    source: str | None, sources: Sequence[str]
) -> None:
    target = batch_target(source, of(*sources))
    assert len(target) <= 512
    assert f"({len(sources)} event" in target
