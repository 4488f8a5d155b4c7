"""Deliveries as spans of the traces that their notifications are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from gemel.observe.spans import SpanExport, open_export
from support.collector import Collector
from support.http_peer import Reply, peer
from support.parts import TenantParts, event
from support.postgres import Dsns
from support.routing import Receiver, add_route, delivering, hurry, until, with_parts

ONE, TWO, UNRECORDED = (
    f"00-{digit * 32}-{digit * 16}-{flag}" for digit, flag in (("a", "01"), ("b", "01"), ("c", "00"))
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch, database: Dsns) -> Iterator[None]:
    hurry(monkeypatch)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield
    with psycopg.connect(database.owner) as owner:
        owner.execute("DELETE FROM event_route")


@contextmanager
def exporting() -> Iterator[tuple[Collector, SpanExport]]:
    collector = Collector()
    export = open_export(collector.url, "test")
    try:
        yield collector, export
    finally:
        export.close()
        collector.close()


def text_of(span: Any, name: str) -> str:
    return str({each.key: each.value.string_value for each in span.attributes}[name])


def test_each_try_is_a_span_of_each_recorded_trace(database: Dsns) -> None:
    async def body(parts: TenantParts) -> None:
        answers = iter([Reply(503)])
        receiver = Receiver(lambda events: next(answers, Reply(204)))
        async with AsyncExitStack() as stack:
            collector, export = stack.enter_context(exporting())
            url = (await stack.enter_async_context(peer(receiver))).url
            events = [
                event(number, "t0", f"2026-01-05T00:00:{number:02}Z", temperature=float(number))
                | ({} if trace is None else {"traceparent": trace})
                for number, trace in enumerate([ONE, TWO, TWO, UNRECORDED, None])
            ]
            async with delivering(database, parts, export=export):
                await add_route(parts, "all", url)
                await parts.send(events)
                await until(lambda: len(receiver.taken) >= 1)
                await until(lambda: {span.status.code for span in collector.of("b" * 32)} == {0, 2})
            spans = collector.of("b" * 32)
            failed = [span for span in spans if span.status.code]
            assert all("503" in span.status.message for span in failed)
            assert collector.of("a" * 32)
            for span in spans:
                assert (text_of(span, "gemel.route"), text_of(span, "gemel.sink")) == ("all", "webhook")
                assert span.parent_span_id
            assert not collector.of("c" * 32)

    with_parts(database, body)
