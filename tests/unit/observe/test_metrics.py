from __future__ import annotations

import numpy as np

from gemel.observe.exposition import RouteLag, SourceState
from gemel.observe.intake import OTHER, SOURCES_MAX, Intake, Taken
from gemel.observe.laps import Laps
from gemel.observe.metrics import Metrics
from gemel.observe.trace import Trace

S = 1_000_000
TRACE = Trace("a" * 32, "b" * 16)


def taken(source: str, count: int, received_us: int = 0, fresh: tuple[int, ...] = ()) -> Taken:
    outcomes = {"accepted": count, "late": 0, "quarantined": 1}
    return Taken(
        source, count + 1, outcomes, {"TwinUnknown": 1}, received_us, np.array(fresh, np.int64), Laps(), TRACE
    )


def test_requests_are_counted_by_template() -> None:
    metrics = Metrics(Intake())
    metrics.count_request("GET", "/digitaltwins/{twin_id}", 200, 0.002)
    metrics.count_request("GET", "/digitaltwins/{twin_id}", 404, 0.2)
    page = metrics.page().decode()
    assert 'gemel_requests_total{method="GET",route="/digitaltwins/{twin_id}",status="404"} 1.0' in page
    assert (
        'gemel_request_seconds_bucket{le="0.0025",method="GET",route="/digitaltwins/{twin_id}"} 1.0' in page
    )


def test_what_came_in_is_shown_by_source_and_how_fresh_it_is_by_tenant() -> None:
    intake = Intake(lambda: 100.0)
    metrics = Metrics(intake)
    metrics.outside.tenants = {1: "plant"}
    laps = Laps()
    laps.end("commit")
    intake.record(1, 10 * S, [taken("line-1", 3, 10 * S - 30_000, (9 * S, 9 * S, 8 * S))], laps)
    page = metrics.page().decode()
    assert 'gemel_events_total{source="line-1",tenant="plant"} 4.0' in page
    assert 'gemel_samples_total{outcome="accepted",source="line-1",tenant="plant"} 3.0' in page
    assert 'gemel_quarantined_events_total{code="TwinUnknown",source="line-1",tenant="plant"} 1.0' in page
    assert 'outcome="late"' not in page
    assert 'gemel_fresh_from_source_seconds_bucket{le="1",source="line-1",tenant="plant"} 2.0' in page
    assert 'gemel_fresh_from_source_seconds_bucket{le="0.5",source="line-1",tenant="plant"} 0.0' in page
    assert 'gemel_fresh_from_source_seconds_bucket{le="+Inf",source="line-1",tenant="plant"} 3.0' in page
    assert 'gemel_fresh_from_source_seconds_sum{source="line-1",tenant="plant"} 4.0' in page
    assert 'gemel_fresh_from_receipt_seconds_bucket{le="0.05",source="line-1",tenant="plant"} 4.0' in page
    assert 'gemel_fresh_from_receipt_seconds_bucket{le="0.02",source="line-1",tenant="plant"} 0.0' in page
    median = next(line for line in page.splitlines() if 'quantile="0.5",since="source"' in line)
    assert 0.79 <= float(median.split()[-1]) <= 1.0
    assert 'gemel_stage_seconds_count{stage="commit"} 1.0' in page


def test_a_tenant_is_shown_itself_alone_and_the_operator_all() -> None:
    intake = Intake()
    metrics = Metrics(intake)
    metrics.outside.tenants = {1: "plant", 2: "rival"}
    metrics.outside.sources = (SourceState(2, "press", "mqtt", "running"),)
    metrics.outside.routes = (RouteLag(2, "orders", "delivering", 3, 1.5),)
    metrics.outside.queues["patches"] = lambda: 7
    for tenant in (1, 2):
        intake.record(tenant, S, [taken(f"line-{tenant}", 1, fresh=(0,))], Laps())
    whole, own = metrics.page().decode(), metrics.page("plant").decode()
    assert 'gemel_source_state{kind="mqtt",source="press",state="running",tenant="rival"} 1.0' in whole
    assert 'gemel_route_behind_changes{route="orders",tenant="rival"} 3.0' in whole
    assert "line-1" in own
    for other in ("rival", "line-2", "press", "orders"):
        assert other in whole
        assert other not in own
    assert 'gemel_queue_depth{queue="patches"} 7.0' in own


def test_a_tenant_without_a_name_yet_is_not_shown() -> None:
    intake = Intake()
    metrics = Metrics(intake)
    intake.record(3, S, [taken("line-1", 1)], Laps())
    assert "line-1" not in metrics.page().decode()


def test_names_that_senders_choose_are_bounded() -> None:
    intake = Intake()
    metrics = Metrics(intake)
    metrics.outside.tenants = {1: "plant"}
    for number in range(3 * SOURCES_MAX):
        intake.record(1, S, [taken(f"line-{number}", 1)], Laps())
    assert len(intake.sources) == SOURCES_MAX + 1
    shown = f'gemel_events_total{{source="{OTHER}",tenant="plant"}} {4.0 * SOURCES_MAX}'
    assert shown in metrics.page().decode()


def test_many_tenants_are_bounded_too() -> None:
    intake = Intake()
    for tenant in range(2000):
        intake.record(tenant, S, [taken("line", 1)], Laps())
    assert len(intake.sources) < 600
    assert sum(each.events for each in intake.sources.values()) == 4000


def test_two_platforms_in_one_process_do_not_mix() -> None:
    one, two = Intake(), Intake()
    metrics = Metrics(two)
    metrics.outside.tenants = {1: "plant"}
    one.record(1, S, [taken("line-1", 1)], Laps())
    assert "line-1" not in metrics.page().decode()
