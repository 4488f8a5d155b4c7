"""Random histories of puts, patches, late samples, corrections, deletions and re-creations, on both axes of time.

Every answer at random moments is compared with a simple model of all that was ever told (support.past_model), and
what a live read answered is compared with the answer of `known at` its time, to the letter.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from gemel.base.clock import now_us
from gemel.base.errors import NotFoundError
from gemel.graph.readable import readable_then
from gemel.graph.relationship_reading import list_incoming, list_relationships, load_relationship
from gemel.graph.twins import get_component, get_twin
from gemel.history.moment import LIVE, Moment
from gemel.history.paths import series_of
from gemel.history.read import Window, read_raw
from gemel.ingest.pipeline import Ingest
from gemel.ingest.requests import IngestOptions
from gemel.observe.intake import Intake
from gemel.query import Ask, run_query
from gemel.store.database import ReadTransaction, WriteTransaction
from support.graph import MODELS, Site, open_site
from support.past_model import END, PastModel
from support.past_walk import IDS, Act, PastWalk, acts
from support.postgres import Dsns
from support.tenants import make_tenant

SEED = 20261123
EXAMPLES = 40
MOMENTS = 16

Answers = dict[str, Any]


class Stage:
    """One process for all histories; each plays on a tenant of its own."""

    def __init__(self, dsns: Dsns, stamps: list[int]) -> None:
        self.runner = asyncio.Runner()
        self.opening = open_site(dsns)
        self.site: Site = self.runner.run(self.opening.__aenter__())
        self.stamps = stamps

    def close(self) -> None:
        self.runner.run(self.opening.__aexit__(None, None, None))
        self.runner.close()

    def fresh(self) -> PastWalk:
        site = replace(self.site, tenant=make_tenant(self.site.dsns))
        self.runner.run(site.add_models(MODELS))
        options = IngestOptions(20_000, 5_000_000, 86_400_000_000)
        ingest = Ingest(site.db, site.directory, site.context, options, now_us, Intake())
        return PastWalk(site, ingest, self.stamps)


@pytest.fixture(scope="module")
def stage(database: Dsns) -> Iterator[Stage]:
    stamps: list[int] = []
    one, many = WriteTransaction.stamp, WriteTransaction.stamps

    def stamp(self: WriteTransaction) -> int:
        stamps.append(one(self))
        return stamps[-1]

    def some(self: WriteTransaction, count: int) -> int:
        first = many(self, count)
        stamps.extend(range(first, first + count))
        return first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WriteTransaction, "stamp", stamp)
        patch.setattr(WriteTransaction, "stamps", some)
        made = Stage(database, stamps)
        try:
            yield made
        finally:
            made.close()


async def ask(tx: ReadTransaction, site: Site, moment: Moment) -> Answers:
    """Return everything that can be read of the twins at a moment."""
    answers: Answers = {}
    for twin_id in IDS:
        try:
            twin = await get_twin(tx, site.context, twin_id, moment)
        except NotFoundError:
            answers[twin_id] = None
            continue
        assert twin.body["$etag"] == twin.etag
        outgoing = (await list_relationships(tx, twin_id, moment=moment)).items
        for each in outgoing:
            one = await load_relationship(tx, twin_id, each["$relationshipId"], moment)
            assert one.document().body == each
        incoming = (await list_incoming(tx, twin_id, moment=moment)).items
        if "motor" in twin.body:
            component = await get_component(tx, site.context, twin_id, "motor", moment)
            assert component.body == twin.body["motor"]
        answers[twin_id] = {"twin": twin.body, "outgoing": outgoing, "incoming": incoming}
    for text in QUERIES:
        page = await run_query(tx, site.context, Ask(text, moment=moment))
        answers[text] = page.items
    return answers


FILTERED = "SELECT * FROM digitaltwins T WHERE T.head >= 1 OR T.label = 'x' OR T.motor.speed > 10"
LINKS = "SELECT * FROM relationships"
JOINED = (
    "SELECT A.$dtId AS a, B.$dtId AS b FROM digitaltwins A JOIN B RELATED A.feeds R "
    "WHERE A.$dtId = 'a' AND NOT B.label = 'x'"
)
QUERIES = (FILTERED, LINKS, JOINED)


def expected(model: PastModel, t: int, k: int) -> Answers:
    """Return what everything that can be read must be."""
    answers = told(model, t, k)
    there = [each for each in answers.values() if each]
    twins = {each["twin"]["$dtId"]: each["twin"] for each in there}
    # Rows come in the order of the twins' numbers.
    order = {twin_id: twin.no for twin_id in twins if (twin := model.twin(twin_id, t, k)) is not None}
    links = sorted(
        (link for each in there for link in each["outgoing"]),
        key=lambda link: (order[link["$sourceId"]], link["$relationshipId"]),
    )
    return answers | {
        FILTERED: [
            twin
            for twin in sorted(twins.values(), key=lambda twin: order[twin["$dtId"]])
            if twin.get("head", 0) >= 1
            or twin.get("label") == "x"
            or twin.get("motor", {}).get("speed", 0) > 10
        ],
        LINKS: links,
        JOINED: [
            {"a": "a", "b": link["$targetId"]}
            for link in links
            if link["$sourceId"] == "a" and twins[link["$targetId"]].get("label", "x") != "x"
        ],
    }


def told(model: PastModel, t: int, k: int) -> Answers:
    return {
        twin_id: document
        and {
            "twin": document,
            "outgoing": model.outgoing(twin_id, t, k),
            "incoming": model.incoming(twin_id, t, k),
        }
        for twin_id in IDS
        for document in [model.document(twin_id, t, k)]
    }


async def ask_history(tx: ReadTransaction, site: Site, twin_id: str, window: Window) -> list[Any]:
    twin = await readable_then(tx, site.context, twin_id, Moment(window.to_us - 1, window.known_at_us))
    series = {series_of(twin.twin_no, path.path_no): name for name, path in twin.paths.items()}
    page = await read_raw(tx, series, window, 1000)
    return sorted((row.time_us, row.path, row.value) for row in page.rows)


def moments(walk: PastWalk, choose: random.Random) -> list[tuple[int, int]]:
    """Return moments around everything that happened: source times, stamps, starts and ends."""
    times = {END, *walk.known, *walk.firsts}
    for twin in walk.model.twins:
        times.update(fact.time for fact in twin.facts)
        times.update(start for _, start in twin.starts)
    near = sorted(time + offset for time in times for offset in (-1, 0, 1) if time + offset <= END)
    known = [END, END, *walk.known, *walk.firsts]
    return [(choose.choice(near), choose.choice(known)) for _ in range(MOMENTS)]


async def play(walk: PastWalk, history: list[Act], choose: random.Random) -> None:
    site = walk.site
    seen: list[tuple[int, Answers]] = []
    for act in history:
        if await walk.do(act):
            async with site.db.read(site.tenant) as tx:
                seen.append((walk.known[-1], await ask(tx, site, LIVE)))
    async with site.db.read(site.tenant) as tx:
        for k, answers in seen:
            assert answers == expected(walk.model, END, k), f"live, after {k}"
            assert answers == await ask(tx, site, Moment(END, k)), f"known at {k} is what was answered then"
        for t, k in moments(walk, choose):
            note(f"as of {t}, known at {k}")
            assert await ask(tx, site, Moment(t, k)) == expected(walk.model, t, k)
            for twin_id in IDS:
                twin = walk.model.twin(twin_id, t, k)
                if twin is not None and t > 0:
                    low = choose.choice([0, t // 2, max(0, t - 10**11)])
                    rows = await ask_history(tx, site, twin_id, Window(low, t + 1, k))
                    assert rows == twin.holders(low, t + 1, k)


def test_every_answer_at_every_moment_is_that_of_the_model(stage: Stage) -> None:
    told: Counter[str] = Counter()

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        # Shrinking takes minutes; add Phase.shrink to find the least history that fails.
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(history=acts, choice=st.integers(0, 2**32))
    def histories(history: list[Act], choice: int) -> None:
        print(f"seed {SEED}, choice {choice}")
        walk = stage.fresh()
        stage.runner.run(play(walk, history, random.Random(choice)))
        told.update(what_matters(walk.model))

    histories()
    assert min(told[name] for name in MATTERS) >= EXAMPLES // 8, f"the histories are poor: {told}"


MATTERS = ("corrected", "re-created", "started earlier", "other model", "other lifecycle", "replaced")


def what_matters(model: PastModel) -> Counter[str]:
    """Count what makes a history worth the comparison."""
    found: Counter[str] = Counter()
    for twin in model.twins:
        keys = Counter(
            (fact.path, fact.time) for fact in {(f.path, f.time, f.rank): f for f in twin.facts}.values()
        )
        found["corrected"] += sum(count > 1 for count in keys.values())
        found["re-created"] += sum(other.twin_id == twin.twin_id for other in model.twins) > 1
        found["started earlier"] += len(twin.starts) > 1
        found["other model"] += len(twin.models) > 1
        found["other lifecycle"] += len(twin.lifecycles) > 1
    found["replaced"] += sum(len(relation.told) > 1 for relation in model.relations.values())
    return found
