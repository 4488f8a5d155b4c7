from __future__ import annotations

from gemel.observe.metrics import Metrics


def test_requests_and_batches_are_counted_without_tenants() -> None:
    metrics = Metrics()
    metrics.count_request("GET", "/digitaltwins/{twin_id}", 200, 0.002)
    metrics.count_request("GET", "/digitaltwins/{twin_id}", 404, 0.2)
    metrics.count_batch({"accepted": 5, "late": 0}, 0.01)
    page = metrics.page().decode()
    assert 'gemel_requests_total{method="GET",route="/digitaltwins/{twin_id}",status="404"} 1.0' in page
    assert 'gemel_samples_total{outcome="accepted"} 5.0' in page
    assert (
        'gemel_request_seconds_bucket{le="0.0025",method="GET",route="/digitaltwins/{twin_id}"} 1.0' in page
    )
    assert "tenant" not in page


def test_two_platforms_in_one_process_do_not_mix() -> None:
    one, two = Metrics(), Metrics()
    one.count_batch({"accepted": 1}, 0.1)
    assert 'outcome="accepted"' not in two.page().decode()
