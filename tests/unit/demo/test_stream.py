"""The stream: good CloudEvents at the stated rate, and disorder in its stated shares."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from gemel.base.clock import to_us
from gemel.demo.stream import Disorder, Emission, Kind, StreamOptions, emissions

START_US = 1_750_000_000_000_000
NONE = Disorder(duplicate=0, late=0, reordered=0, corrected=0, malformed=0)


def take(count: int, **options: Any) -> list[Emission]:
    return list(itertools.islice(emissions(StreamOptions(seed=1, start_us=START_US, **options)), count))


def time_us(event: dict[str, Any]) -> int:
    return to_us(datetime.fromisoformat(event["time"]))


def test_the_same_options_give_the_same_events() -> None:
    first, second = take(3000), take(3000)
    # NaN is not equal to itself, so the texts are compared.
    assert repr(first) == repr(second)


def test_an_orderly_stream_is_clean_and_on_time() -> None:
    sent = take(1000, rate_per_s=100.0, disorder=NONE)
    assert {emission.kind for emission in sent} == {Kind.CLEAN}
    assert [emission.due_us for emission in sent] == [START_US + n * 10_000 for n in range(1000)]
    assert all(time_us(emission.event) == emission.due_us for emission in sent)
    assert len({emission.event["id"] for emission in sent}) == 1000
    assert {len(emission.event) for emission in sent} == {7}
    assert sent[0].event["specversion"] == "1.0"


def test_disorder_does_not_change_the_physics() -> None:
    clean = {e.event["id"]: e.event["data"] for e in take(500, disorder=NONE)}
    for emission in take(500):
        if emission.kind in {Kind.CLEAN, Kind.LATE, Kind.REORDERED}:
            assert emission.event["data"] == clean.get(emission.event["id"], emission.event["data"])


def test_events_are_sent_in_the_order_they_are_due_and_never_before_their_time() -> None:
    sent = take(20_000)
    assert [emission.due_us for emission in sent] == sorted(emission.due_us for emission in sent)
    for emission in sent:
        if emission.kind is not Kind.MALFORMED:
            assert time_us(emission.event) <= emission.due_us


def test_shares_are_as_stated() -> None:
    disorder = Disorder(duplicate=0.05, late=0.03, reordered=0.04, corrected=0.02, malformed=0.06)
    sent = take(40_000, disorder=disorder)
    kinds = Counter(emission.kind for emission in sent)
    true_events = kinds[Kind.CLEAN] + kinds[Kind.LATE] + kinds[Kind.REORDERED]
    for kind in Kind:
        if kind is not Kind.CLEAN:
            assert kinds[kind] / true_events == pytest.approx(getattr(disorder, kind.value), rel=0.15), kind


def test_a_duplicate_is_the_same_event_after_the_first() -> None:
    seen: dict[str, dict[str, Any]] = {}
    for emission in take(20_000):
        event = emission.event
        if emission.kind is Kind.DUPLICATE:
            assert event == seen[event["id"]]
        elif emission.kind is not Kind.MALFORMED:
            seen[event["id"]] = event


def test_held_back_events_arrive_after_newer_ones_of_their_twin() -> None:
    newest: dict[str, int] = {}
    behind: list[bool] = []
    for emission in take(20_000):
        subject = emission.event["subject"]
        if emission.kind in {Kind.LATE, Kind.REORDERED}:
            behind.append(time_us(emission.event) < newest[subject])
        elif emission.kind is Kind.CLEAN:
            assert time_us(emission.event) > newest.get(subject, 0)
            newest[subject] = time_us(emission.event)
    # Not all: the twin's next event may be held back too.
    assert len(behind) > 200
    assert sum(behind) / len(behind) > 0.95


def test_a_correction_revises_one_value_of_an_event_that_was_sent() -> None:
    sent = take(20_000)
    events = {(e.event["subject"], e.event["time"]): e.event for e in sent if e.kind is Kind.CLEAN}
    checked = 0
    for emission in sent:
        if emission.kind is Kind.CORRECTED:
            event = emission.event
            [(path, value)] = event["data"].items()
            original = events.get((event["subject"], event["time"]))
            if original is not None:
                assert original["data"][path] != value
                assert event["id"] != original["id"]
                checked += 1
            assert event["revision"] == 1
    assert checked > 50


def test_every_fault_occurs() -> None:
    faults = Counter(fault(e.event) for e in take(20_000) if e.kind is Kind.MALFORMED)
    assert set(faults) == {"twin", "path", "type", "number", "time"}
    assert max(faults.values()) - min(faults.values()) <= 1


def fault(event: dict[str, Any]) -> str:
    if event["subject"] == "pump-9":
        return "twin"
    if not event["time"].endswith("Z"):
        return "time"
    if "colour" in event["data"]:
        return "path"
    if "ERR" in event["data"].values():
        return "type"
    assert any(isinstance(value, float) and math.isnan(value) for value in event["data"].values())
    return "number"
