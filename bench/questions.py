"""What the graph figures ask: of the platform, by hand, and over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from bench.handwritten import ByHand, told
from bench.serving import Serving, TimedRead
from bench.wire import PAGE_ITEMS_MAX
from gemel.base.clock import to_us
from gemel.graph.loading import read_twins
from gemel.history.moment import LIVE, Moment
from gemel.query import Ask, run_query

__all__ = ["PROMOTED", "QUERY", "WHOLE", "Answer", "Question", "Request", "questions"]

Answer = list[dict[str, Any]]
Asked = Callable[[TimedRead, Any], Awaitable[Answer]]

API = "api-version=2023-10-31"
QUERY = f"/query?{API}"
PROMOTED = ("dtmi:digitaltwins:rec_3_3:core:Level;1", "personCapacity")
FILTER = "SELECT * FROM DIGITALTWINS T WHERE T.personCapacity = {}"
HOPS = """SELECT E.$dtId AS equipment, F.$dtId AS fed
FROM DIGITALTWINS MATCH (L)-[:hasPart]->(R)-[:isLocationOf]->(E)-[:feeds]->(F) WHERE L.$dtId = '{}'"""
JOINS = """SELECT TOP(10) R.$dtId AS room, R.personCapacity AS capacity
FROM DIGITALTWINS B JOIN L RELATED B.hasPart JOIN R RELATED L.hasPart
WHERE B.$dtId = '{}' ORDER BY R.personCapacity DESC"""
NEIGHBOURS = """SELECT S.$dtId AS id, S.lastValue AS value
FROM DIGITALTWINS MATCH (B)-[:hasPart]->(L)-[:hasPart]->(R)-[:hasCapability]->(S) WHERE B.$dtId = '{}'"""
WHOLE = "SELECT T.$dtId AS id, T.lastValue AS value FROM DIGITALTWINS T"
BUILDINGS, LEVELS, ROOMS, SENSORS = 49, 10, 20, 6


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent over HTTP: method, path and body."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Question:
    """One figure: what is asked with each of `arguments`, and under how many ms it should be answered.

    `ordered` says that the order of the rows is part of the answer.
    """

    name: str
    goal_ms: float
    arguments: Sequence[Any]
    ask: Asked
    by_hand: Asked
    request: Callable[[Any], Request]
    ordered: bool = False


def questions(serving: Serving, by_hand: ByHand) -> list[Question]:
    """Return the questions about one twin or a part of the graph."""
    at = by_hand.at
    rooms = [f"{level}-room-{n * 3 % ROOMS}" for n, level in enumerate(_levels(300))]
    sensors = [f"{room}-sensor-{n % SENSORS}" for n, room in enumerate(rooms)]
    buildings = [f"building-{n * 7 % BUILDINGS}" for n in range(100)]
    capacities = [n * 37 % 1000 for n in range(200)]
    then = Moment(to_us(at))
    query, post = _ask_query, _post_query
    return [
        Question("point_read", 5, sensors, _read(serving, LIVE), by_hand.point, _get(None)),
        Question("promoted_filter", 10, capacities, query(serving, FILTER), by_hand.filtered, post(FILTER)),
        Question("three_hops", 30, _levels(200), query(serving, HOPS), by_hand.hops, post(HOPS)),
        Question(
            "two_joins_ordered", 100, buildings, query(serving, JOINS), by_hand.joins, post(JOINS), True
        ),
        Question("as_of_point_read", 10, sensors, _read(serving, then), by_hand.point_then, _get(at)),
        Question(
            "as_of_1000_neighbours",
            100,
            buildings[:50],
            query(serving, NEIGHBOURS, then),
            by_hand.neighbours_then,
            post(NEIGHBOURS, at),
        ),
    ]


def _ask_query(serving: Serving, text: str, moment: Moment = LIVE) -> Asked:
    """Return what asks a query, with its argument in the text; the answer is one page."""

    async def ask(tx: TimedRead, argument: Any) -> Answer:
        page = await run_query(tx, serving.context, Ask(text.format(argument), None, PAGE_ITEMS_MAX, moment))
        return [told(item) if "$metadata" in item else item for item in page.items]

    return ask


def _post_query(text: str, at: datetime | None = None) -> Callable[[Any], Request]:
    """Return what makes a query's request."""

    def request(argument: Any) -> Request:
        body = {"query": text.format(argument)} | ({} if at is None else {"asOf": at.isoformat()})
        return Request("POST", QUERY, msgspec.json.encode(body))

    return request


def _levels(count: int) -> list[str]:
    return [f"building-{n * 7 % BUILDINGS}-level-{n % LEVELS}" for n in range(count)]


def _read(serving: Serving, moment: Moment) -> Asked:
    async def ask(tx: TimedRead, twin_id: str) -> Answer:
        found = await read_twins(tx, serving.context, {twin_id}, moment)
        return [told(twin.document().body) for twin in found.values()]

    return ask


def _get(at: datetime | None) -> Callable[[Any], Request]:
    moment = "" if at is None else f"&asOf={at:%Y-%m-%dT%H:%M:%SZ}"
    return lambda twin_id: Request("GET", f"/digitaltwins/{twin_id}?{API}{moment}")
