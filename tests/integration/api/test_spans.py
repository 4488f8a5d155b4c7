"""Spans of commits, as a collector receives them by OTLP over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from gemel.base.settings import Settings
from gemel.observe.trace import sample_new_traces
from support.api_site import PUMP
from support.collector import Collector

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER = f"00-{'c' * 32}-{'d' * 16}-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module")
def settings(collector: Collector) -> Iterator[Settings]:
    # The library sends every so often, or when as much has come together.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield Settings(otlp_url=collector.url, otlp_share=0.0)
    sample_new_traces(0.0)


def send(client: httpx.Client, number: int, **headers: str) -> httpx.Response:
    events = [
        {
            "specversion": "1.0",
            "id": str(number),
            "source": "/spans",
            "type": "t",
            "subject": twin,
            "time": f"2026-01-31T12:00:{number:02}Z",
            "data": {"flow": 1.0},
            **more,
        }
        for twin, more in (("s1", {}), ("nobody", {"traceparent": OTHER}))
    ]
    kind = {"Content-Type": "application/cloudevents-batch+json"}
    return client.post("/v1/events", content=json.dumps(events), headers=kind | headers)


def test_a_commit_is_a_span_of_the_sender_s_trace_with_its_stages(
    client: httpx.Client, collector: Collector
) -> None:
    twin = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
    assert client.put("/digitaltwins/s1", json=twin).status_code == 200
    answer = send(client, 1, traceparent=f"00-{TRACE}-{PARENT}-01")
    spans = collector.wait(TRACE)
    (root,) = [span for span in spans if span.name == "gemel.ingest"]
    assert root.parent_span_id.hex() == PARENT
    assert root.span_id.hex() == answer.headers["traceresponse"].split("-")[2]
    told = {each.key: each.value for each in root.attributes}
    assert told["gemel.source"].string_value == "/spans"
    assert told["gemel.events"].int_value == 2
    assert told["gemel.accepted"].int_value == 1
    assert told["gemel.quarantined"].int_value == 1
    assert [link.trace_id.hex() for link in root.links] == ["c" * 32]
    stages = [span for span in spans if span.name != "gemel.ingest"]
    names = {span.name.removeprefix("gemel.") for span in stages}
    assert {"receive", "decode", "validate", "wait", "lock", "order", "write", "commit"} <= names
    for span in stages:
        assert span.parent_span_id == root.span_id
        assert (
            root.start_time_unix_nano
            <= span.start_time_unix_nano
            <= span.end_time_unix_nano
            <= root.end_time_unix_nano
        )
    services = {each.key: each.value.string_value for each in collector.resources[0].attributes}
    assert services["service.name"] == "gemel"


def test_what_nobody_records_is_not_sent(client: httpx.Client, collector: Collector) -> None:
    send(client, 2, traceparent=f"00-{'1' * 32}-{PARENT}-00")
    began_here = send(client, 3).headers["traceresponse"].split("-")[1]
    send(client, 4, traceparent=f"00-{'2' * 32}-{PARENT}-01")
    collector.wait("2" * 32)
    assert not collector.of("1" * 32)
    assert not collector.of(began_here)


def test_traces_that_begin_here_are_recorded_by_their_share(
    client: httpx.Client, collector: Collector
) -> None:
    sample_new_traces(1.0)
    answer = send(client, 5)
    sample_new_traces(0.0)
    _, trace_id, _, flags = answer.headers["traceresponse"].split("-")
    assert flags == "01"
    (root,) = [span for span in collector.wait(trace_id) if span.name == "gemel.ingest"]
    assert not root.parent_span_id
    assert root.links
