"""Batches to topics of Kafka: a message for each event, its twin as the key, so that a twin's events keep their order.

Each event is there once all replicas in sync have it (acks=all); an idempotent producer does not double it on its
own retries. What is sent again after a failure of ours has the same id.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import msgspec

from gemel.outbound import Outbound
from gemel.outbound.kafka import client_config, kafka_library, server_and_topic
from gemel.routing import sending
from gemel.routing.batches import Batch, Letter
from gemel.routing.endpoints import Endpoint
from gemel.routing.sending import Resolve, Trouble

__all__ = ["KafkaSender"]

THREADS: Final = 4
PRODUCERS_MAX: Final = 64
HEADERS: Final = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
REFUSALS: Final = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_RECORD")


class KafkaSender:
    """Sends to Kafka, by a producer for each endpoint as long as it stays as it is."""

    def __init__(self, outbound: Outbound, resolve: Resolve) -> None:
        self._outbound = outbound
        self._resolve = resolve
        self._producers: dict[bytes, Any] = {}
        self._turns: defaultdict[bytes, threading.Lock] = defaultdict(threading.Lock)
        self._threads = ThreadPoolExecutor(THREADS, "kafka-sink")

    async def send(self, endpoint: Endpoint, batch: Batch, name: str) -> Trouble | None:
        """Send a batch; None once the broker has acknowledged every event of it."""
        servers, topic = server_and_topic(endpoint.url)
        for server in servers:
            await self._outbound.check(f"http://{server}")
        work = partial(self._send_alone, endpoint, servers, topic, batch)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """Close the producers; what they have not sent is sent again another time."""
        self._producers.clear()
        self._turns.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send_alone(self, endpoint: Endpoint, servers: list[str], topic: str, batch: Batch) -> Trouble | None:
        """Send a batch while no other goes to the same endpoint: a flush serves the acknowledgements of all."""
        with self._turns[_key(endpoint)]:
            return self._send(endpoint, servers, topic, batch)

    def _send(self, endpoint: Endpoint, servers: list[str], topic: str, batch: Batch) -> Trouble | None:
        library = kafka_library()
        told: list[Any] = []
        try:
            producer = self._producer(endpoint, servers)
            for letter in batch.letters:
                producer.produce(
                    topic,
                    letter.event,
                    letter.twin.encode(),
                    headers=_headers(letter),
                    on_delivery=lambda error, _: told.append(error),
                )
            left = producer.flush(sending.TIMEOUT_S)
        except (library.KafkaException, BufferError) as error:
            self._producers.pop(_key(endpoint), None)
            fault = error.args[0] if isinstance(error, library.KafkaException) else None
            return _trouble(library, fault, str(error))
        faults = [error for error in told if error is not None]
        if not left and not faults and len(told) == batch.count:
            return None
        # What is still under way must not arrive behind what is sent next.
        self._producers.pop(_key(endpoint), producer).purge()
        return _trouble(library, faults[0] if faults else None, "the broker did not acknowledge in time")

    def _producer(self, endpoint: Endpoint, servers: list[str]) -> Any:
        producer = self._producers.get(_key(endpoint))
        if producer is None:
            if len(self._producers) >= PRODUCERS_MAX:
                self._producers.pop(next(iter(self._producers)))
            resolve = partial(self._resolve, endpoint.tenant_name)
            config = client_config(servers, endpoint.settings.get("settings", {}), resolve)
            config |= {
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "delivery.timeout.ms": int(sending.TIMEOUT_S * 1000),
            }
            producer = self._producers[_key(endpoint)] = kafka_library().Producer(config)
        return producer


def _headers(letter: Letter) -> list[tuple[str, bytes]]:
    trace = letter.traceparent
    return HEADERS if trace is None else [*HEADERS, ("traceparent", trace.encode())]


def _key(endpoint: Endpoint) -> bytes:
    """Return what two endpoints share that are reached alike."""
    return msgspec.json.encode((endpoint.tenant_name, endpoint.url, endpoint.settings))


def _trouble(library: Any, fault: Any, otherwise: str) -> Trouble:
    if fault is None:
        return Trouble(f"Kafka: {otherwise}.")
    codes = [getattr(library.KafkaError, name, None) for name in REFUSALS]
    return Trouble(f"Kafka: {fault.str()}.", refused=fault.code() in codes)
