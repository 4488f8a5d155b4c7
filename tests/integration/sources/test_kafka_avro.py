"""Avro with a schema registry: schemas that evolve, what cannot be read, and a registry that is away."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import fastavro

from bench.broker import Broker
from support.http_peer import Received, Reply, peer
from support.kafka import new_topic
from support.sources import Workshop

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
MAPPING = """
version: 2
source: line
time: {path: at, format: unix_ms}
twins:
  - twin: t0
    values: {temperature: v, label: note}
"""
TIME = {"type": "long", "logicalType": "timestamp-millis"}
FIRST = {
    "type": "record",
    "name": "Reading",
    "fields": [{"name": "at", "type": TIME}, {"name": "v", "type": "double"}],
}
SECOND = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "v", "type": ["null", "double"]},
        {"name": "note", "type": {"type": "enum", "name": "Note", "symbols": ["LOW", "HIGH"]}},
        {"name": "at", "type": TIME},
        {"name": "raw", "type": "bytes", "default": "\u0000"},
    ],
}
READER = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "at", "type": TIME},
        {"name": "v", "type": ["null", "double"]},
        {"name": "note", "type": "string", "default": "none"},
    ],
}
START_MS = 1_600_000_000_000


@dataclass
class Schemas:
    """A small registry: schemas by number, and by subject and version; `away` answers 503."""

    by_id: dict[int, dict[str, Any]] = field(default_factory=dict)
    by_subject: dict[str, dict[str, Any]] = field(default_factory=dict)
    away: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: Received) -> Reply:
        self.asked.append(request.target)
        if self.away:
            return Reply(503)
        if request.target.startswith("/schemas/ids/"):
            found = self.by_id.get(int(request.target.rpartition("/")[2]))
        else:
            found = self.by_subject.get(request.target)
        return (
            Reply(404, body=b'{"error_code": 40403}')
            if found is None
            else Reply(200, body=json.dumps(found).encode())
        )


def datum(number: int, schema: dict[str, Any], **values: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), values)
    return b"\0" + number.to_bytes(4, "big") + body.getvalue()


def of_schema(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema": json.dumps(schema), **more}


def definition(broker: Broker, topic: str, url: str, more: str = "") -> str:
    return (
        f"name: s\nkind: kafka\nconnection: {{servers: '{broker.servers}', topics: [{topic}], "
        f"avro: {{registry: '{url}'{more}}}}}\nmapping: m.yaml\nbackoff: {{first_s: 0.05, max_s: 0.2}}"
    )


def test_records_of_several_schemas_are_read_and_each_schema_is_asked_for_once(
    play: Play, broker: Broker
) -> None:
    async def scene(shop: Workshop) -> None:
        schemas = Schemas({1: of_schema(FIRST), 2: of_schema(SECOND)})
        topic = new_topic(broker)
        old = [datum(1, FIRST, at=START_MS + n, v=float(n)) for n in range(5)]
        new = [datum(2, SECOND, at=START_MS + n, v=float(n), note="HIGH", raw=b"\xff") for n in range(5, 10)]
        broker.send(topic, [each for pair in zip(old, new, strict=True) for each in pair])
        async with peer(schemas) as there:
            await shop.describe(definition(broker, topic, there.url), MAPPING)
            async with shop.process():
                row = await shop.until(lambda row: row.counts["events"] == 10)
        assert row.counts["quarantined"] == 0
        assert await shop.values() == [float(n) for n in range(10)]
        assert sorted(schemas.asked) == ["/schemas/ids/1", "/schemas/ids/2"]
        labels = "SELECT count(*) FROM sample WHERE doc = '\"HIGH\"'"
        assert await shop.query(labels) == [(5,)]

    play(scene)


def test_a_readers_schema_gives_defaults_to_what_older_writers_left_out(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        schemas = Schemas({1: of_schema(FIRST)}, {"/subjects/readings-value/versions/3": of_schema(READER)})
        topic = new_topic(broker)
        broker.send(topic, [datum(1, FIRST, at=START_MS, v=1.5)])
        async with peer(schemas) as there:
            more = ", reader: readings-value, version: 3"
            await shop.describe(definition(broker, topic, there.url, more), MAPPING)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] == 1)
        assert await shop.values() == [1.5]
        assert await shop.query("SELECT count(*) FROM sample WHERE doc = '\"none\"'") == [(1,)]

    play(scene)


def test_schemas_may_refer_to_others(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        part = {"type": "record", "name": "Part", "fields": [{"name": "v", "type": "double"}]}
        whole = {
            "type": "record",
            "name": "Whole",
            "fields": [{"name": "at", "type": "long"}, {"name": "part", "type": "Part"}],
        }
        inlined = {**whole, "fields": [whole["fields"][0], {"name": "part", "type": part}]}
        refers = [{"name": "Part", "subject": "part", "version": 1}]
        schemas = Schemas(
            {7: of_schema(whole, references=refers)}, {"/subjects/part/versions/1": of_schema(part)}
        )
        topic = new_topic(broker)
        broker.send(topic, [datum(7, inlined, at=START_MS, part={"v": 2.5})])
        async with peer(schemas) as there:
            mapping = MAPPING.replace("temperature: v, label: note", "temperature: part.v")
            await shop.describe(definition(broker, topic, there.url), mapping)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] == 1)
        assert await shop.values() == [2.5]

    play(scene)


def test_what_cannot_be_read_waits_in_quarantine_and_the_others_land(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        schemas = Schemas(
            {
                1: of_schema(FIRST),
                5: of_schema(FIRST, schemaType="PROTOBUF"),
                6: {"schema": '{"type": "record"}'},
            }
        )
        topic = new_topic(broker)
        good = datum(1, FIRST, at=START_MS, v=1.0)
        bad = [
            b'{"v": 1}',
            b"\0\0",
            datum(4, FIRST, at=START_MS, v=2.0),
            datum(5, FIRST, at=START_MS, v=2.0),
            datum(6, FIRST, at=START_MS, v=2.0),
            good[:-3],
            good + b"x",
            datum(1, FIRST, at=START_MS, v=float("nan")),
        ]
        broker.send(topic, [*bad, good])
        async with peer(schemas) as there:
            await shop.describe(definition(broker, topic, there.url), MAPPING)
            async with shop.process():
                row = await shop.until(lambda row: row.counts["events"] == 9)
        assert (row.counts["quarantined"], row.counts["accepted"]) == (8, 1)
        waiting = dict(await shop.query("SELECT position, message FROM quarantine"))
        assert sorted(waiting) == [f"{topic}/0/{n}" for n in range(8)]
        assert "schema 4: the registry does not have it" in waiting[f"{topic}/0/2"]
        assert "PROTOBUF" in waiting[f"{topic}/0/3"]
        # An address in memory would be another one each time.
        assert " at 0x" not in waiting[f"{topic}/0/5"]
        assert "bytes follow" in waiting[f"{topic}/0/6"]
        assert "nan" in waiting[f"{topic}/0/7"]

    play(scene)


def test_a_registry_that_is_away_is_waited_for(play: Play, broker: Broker) -> None:
    async def scene(shop: Workshop) -> None:
        schemas = Schemas({1: of_schema(FIRST)}, away=True)
        topic = new_topic(broker)
        broker.send(topic, [datum(1, FIRST, at=START_MS, v=1.0)])
        async with peer(schemas) as there:
            await shop.describe(definition(broker, topic, there.url), MAPPING)
            async with shop.process():
                row = await shop.until(lambda row: row.state == "waiting")
                assert "registry" in str(row.error)
                schemas.away = False
                await shop.until(lambda row: row.counts["accepted"] == 1)
        assert await shop.values() == [1.0]

    play(scene)
