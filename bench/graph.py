"""The figures of a large graph: at the database driver beside SQL by hand for the same answer, and over HTTP.

At the driver the statements after the opening of a transaction count. The opening is the same on both sides: it sets
the tenant, and reads the tenant's head in the same round trip, from which a query knows what is indexed and where
history begins. What that costs is told: `opening` with the head, and `opening_bare` without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from statistics import median
from typing import Any

import msgspec

from bench.dataset import END, RELATIONSHIPS, TWINS, import_graph, settle, write_history
from bench.figures import Figure, at_least, at_most, percentiles_ms, told
from bench.handwritten import ByHand
from bench.platform import MemoryWatch, Platform
from bench.questions import PROMOTED, QUERY, WHOLE, Answer, Question, questions
from bench.serving import Serving, serving
from bench.wire import PAGE_ITEMS_MAX, Connection, request_bytes
from gemel.base.clock import to_us
from gemel.history.moment import Moment
from gemel.query import Ask, run_query

__all__ = ["measure"]

Tell = Callable[[str], None]

RATIO_MAX = 1.3
WARM = 12  # runs that do not count: until then statements are prepared, and pages read
AT = END - timedelta(weeks=3, hours=5)
PATHS = "SELECT path, path_no FROM path WHERE role = 'property'"
MEMORY_MIB_MAX = 600
WHOLE_RUNS = 5  # of which the first does not count, as above
OPENINGS = 300


def measure(platform: Platform, tell: Tell) -> list[Figure]:
    """Import the graph, write its history, and ask; `tell` is told each step."""
    tell("import")
    return [*_imported(platform), *asyncio.run(_asked(platform, tell))]


def _imported(platform: Platform) -> list[Figure]:
    imported = import_graph(platform)
    twins_s, relationships_s = (imported.section_s.get(name, 0.0) for name in ("Twins", "Relationships"))
    return [
        at_least("import_whole", TWINS / imported.elapsed_s, "twins/s", 10_000),
        told("import_twins", TWINS / max(twins_s, 1e-9), "twins/s"),
        told("import_relationships", RELATIONSHIPS / max(relationships_s, 1e-9), "relationships/s"),
        at_most("import_memory_peak", imported.peak_mib, "MiB", MEMORY_MIB_MAX),
    ]


async def _asked(platform: Platform, tell: Tell) -> list[Figure]:
    figures: list[Figure] = []
    async with serving(platform) as site:
        tell("history")
        figures.append(told("history_written", await write_history(site), "samples/s"))
        await asyncio.to_thread(_promote, platform)
        await asyncio.to_thread(settle, platform)
        async with site.read() as tx:
            by_hand = ByHand(dict(await tx.rows(PATHS)), AT)
        figures += await _openings(site)
        for question in questions(site, by_hand):
            tell(question.name)
            figures += await _at_driver(site, question)
            figures.append(await asyncio.to_thread(_over_http, platform, question))
        tell("as_of_whole_graph")
        figures += await _whole(site, by_hand)
        figures += await asyncio.to_thread(_whole_over_http, platform)
    return figures


def _promote(platform: Platform) -> None:
    model, path = PROMOTED
    with platform.client() as client:
        client.post("/v1/indexes", json={"model": model, "path": path}).raise_for_status()


async def _openings(site: Serving) -> list[Figure]:
    """Open transactions with their head and without, in turn."""
    opening_s, bare_s = await site.openings(OPENINGS)
    timed = (("opening", opening_s), ("opening_bare", bare_s))
    return [told(f"{name}_p50", percentiles_ms(spent_s[WARM:])["p50"], "ms") for name, spent_s in timed]


async def _at_driver(site: Serving, question: Question) -> list[Figure]:
    """Ask and answer by hand in turn, each in a transaction of its own; only their statements count.

    Each goes first every other time: who does has the pages of the answer come into the processor's caches.
    """
    asked_s: list[float] = []
    by_hand_s: list[float] = []
    sides = [(question.ask, asked_s), (question.by_hand, by_hand_s)]
    for argument in question.arguments:
        answers = {}
        for ask, spent_s in sides:
            async with site.read() as tx:
                answers[ask] = await ask(tx, argument)
                spent_s.append(tx.spent_s)
        _check_same(question, argument, answers[question.ask], answers[question.by_hand])
        sides.reverse()
    asked, by_hand = percentiles_ms(asked_s[WARM:]), percentiles_ms(by_hand_s[WARM:])
    return [
        Figure(
            f"{question.name}_p95",
            asked["p95"],
            "ms",
            goal=f"<= {question.goal_ms:g} ms",
            met=asked["p95"] <= question.goal_ms,
        ),
        _compared(question.name, asked["p50"], by_hand["p50"], "ms"),
    ]


def _compared(name: str, value: float, limit: float, unit: str) -> Figure:
    ratio = value / limit
    return Figure(
        f"{name}_p50", value, unit, limit, ratio, f"<= {RATIO_MAX:g} of SQL by hand", ratio <= RATIO_MAX
    )


def _check_same(question: Question, argument: Any, answer: Answer, expected: Answer) -> None:
    one, other = (_canonical(rows, ordered=question.ordered) for rows in (answer, expected))
    if one != other:
        differing = [pair for pair in zip(one, other, strict=False) if pair[0] != pair[1]][:1]
        raise RuntimeError(
            f"{question.name} of {argument}: {len(one)} rows and {len(other)} by hand differ: {differing}"
        )


def _canonical(rows: Answer, *, ordered: bool) -> list[bytes]:
    encoded = [msgspec.json.encode(row, order="sorted") for row in rows]
    return encoded if ordered else sorted(encoded)


def _over_http(platform: Platform, question: Question) -> Figure:
    connection = Connection(platform.port)
    latencies_s = []
    for argument in question.arguments:
        wanted = question.request(argument)
        request = request_bytes(wanted.method, wanted.path, platform.key, wanted.body)
        begun = time.perf_counter()
        status, body = connection.send(request)
        latencies_s.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"{wanted.path} answered {status}: {body[:300]!r}")
    connection.close()
    p95 = percentiles_ms(latencies_s[WARM:])["p95"]
    return at_most(f"{question.name}_http_p95", p95, "ms", question.goal_ms)


async def _whole(site: Serving, by_hand: ByHand) -> list[Figure]:
    """Ask for all twins as they were, page after page, each in a transaction of its own; by hand in one statement."""
    asked_s: list[float] = []
    by_hand_s: list[float] = []
    for _ in range(WHOLE_RUNS):
        answer, spent_s = await _pages(site)
        asked_s.append(spent_s)
        async with site.read() as tx:
            expected = await by_hand.whole_then(tx)
            by_hand_s.append(tx.spent_s)
        if _canonical(answer, ordered=False) != _canonical(expected, ordered=False):
            raise RuntimeError(f"the whole graph: {len(answer)} twins and {len(expected)} by hand differ")
    return [_compared("as_of_whole_graph", median(asked_s[1:]), median(by_hand_s[1:]), "s")]


async def _pages(site: Serving) -> tuple[Answer, float]:
    answer: Answer = []
    spent_s, ask = 0.0, Ask(WHOLE, None, PAGE_ITEMS_MAX, Moment(to_us(AT)))
    while True:
        async with site.read() as tx:
            page = await run_query(tx, site.context, ask)
            spent_s += tx.spent_s
        answer += page.items
        if page.token is None:
            return answer, spent_s
        ask = Ask(None, page.token, PAGE_ITEMS_MAX, Moment(to_us(AT)))


def _whole_over_http(platform: Platform) -> list[Figure]:
    """Ask for all twins as they were, as values and as whole documents."""
    figures = []
    for name, text in (("values", WHOLE), ("documents", "SELECT * FROM DIGITALTWINS T")):
        with MemoryWatch(platform) as memory:
            elapsed_s = _read_pages(platform, text)
        figures.append(at_most(f"as_of_whole_graph_{name}_http", elapsed_s, "s", 10))
        figures.append(
            at_most(f"as_of_whole_graph_{name}_memory_peak", memory.peak_mib, "MiB", MEMORY_MIB_MAX)
        )
    return figures


def _read_pages(platform: Platform, text: str) -> float:
    connection = Connection(platform.port)
    count, token = 0, None
    begun = time.perf_counter()
    while True:
        wanted = {"query": text, "asOf": AT.isoformat()} if token is None else {"continuationToken": token}
        body = msgspec.json.encode(wanted)
        status, answer = connection.send(request_bytes("POST", QUERY, platform.key, body))
        if status != 200:
            raise RuntimeError(f"the whole graph answered {status}: {answer[:300]!r}")
        page = msgspec.json.decode(answer)
        count, token = count + len(page["value"]), page["continuationToken"]
        if token is None:
            break
    connection.close()
    if count != TWINS:
        raise RuntimeError(f"the whole graph has {count} twins")
    return time.perf_counter() - begun
