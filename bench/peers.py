"""The same samples into Gemel and into InfluxDB: one client, one machine, in turns, everything synced to disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.events import SHARDS, bodies, line_bodies, make_twins
from bench.figures import Figure, percentiles_ms, told
from bench.influx import DATABASE, Influx, running_influx
from bench.platform import Platform
from bench.wire import request_bytes, send_all

__all__ = ["measure"]

EVENTS = 800_000
BODY_EVENTS = 5_000
ROUNDS = 4
VALUES = 2  # of an event

Requests = list[list[bytes]]
"""Of each connection, its requests in order."""


class _Peer(NamedTuple):
    name: str
    port: int
    requests: Requests
    good: bytes
    """What `send_all` looks for in each answer."""


def measure(platform: Platform) -> list[Figure]:
    """Feed both, check that each has it all, and return what each took."""
    make_twins(platform)
    with running_influx() as influx:
        gemel = _Peer("gemel", platform.port, _gemel_requests(platform), b'"quarantined":0')
        other = _Peer("influxdb", influx.port, _influx_requests(influx), b" 204 ")
        taken: dict[str, list[tuple[float, list[float]]]] = {gemel.name: [], other.name: []}
        for turn in range(ROUNDS):
            for peer in (gemel, other) if turn % 2 == 0 else (other, gemel):
                share = [_share(requests, turn) for requests in peer.requests]
                taken[peer.name].append(send_all(peer.port, share, peer.good))
        _check(influx)
        return _figures(taken, influx.version)


def _figures(taken: dict[str, list[tuple[float, list[float]]]], version: str) -> list[Figure]:
    rates = {name: EVENTS * VALUES / sum(s for s, _ in turns) for name, turns in taken.items()}
    figures = [
        Figure(
            "peer_gemel_json",
            rates["gemel"],
            "samples/s",
            rates["influxdb"],
            rates["gemel"] / rates["influxdb"],
        ),
        told(f"peer_influxdb_{version}", rates["influxdb"], "samples/s"),
    ]
    for name, turns in taken.items():
        ms = percentiles_ms([each for _, latencies_s in turns for each in latencies_s])
        figures += [told(f"peer_{name}_ack_{order}", value, "ms") for order, value in ms.items()]
    return figures


def _gemel_requests(platform: Platform) -> Requests:
    return [
        [
            request_bytes("POST", "/v1/events", platform.key, body, "application/x-ndjson")
            for body in bodies(shard, EVENTS // SHARDS, BODY_EVENTS)
        ]
        for shard in range(SHARDS)
    ]


def _influx_requests(influx: Influx) -> Requests:
    return [
        [
            request_bytes("POST", influx.write_path, "", body, "text/plain")
            for body in line_bodies(shard, EVENTS // SHARDS, BODY_EVENTS)
        ]
        for shard in range(SHARDS)
    ]


def _share(requests: Sequence[bytes], turn: int) -> Sequence[bytes]:
    width = len(requests) // ROUNDS
    return requests[turn * width : (turn + 1) * width]


def _check(influx: Influx) -> None:
    rows = influx.ask("SELECT count(temperature), count(pressure) FROM sensor")
    if not rows or rows[0][1:] != [EVENTS, EVENTS]:
        raise RuntimeError(f"InfluxDB has not what it took in {DATABASE}: {rows}")
