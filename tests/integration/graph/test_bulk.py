"""Many twins at once: the same twins, refusals and traces as PUT after PUT."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import GemelError
from gemel.graph import overlap
from gemel.graph.bulk import TwinPuts, foresee_twins, put_twins, read_twin_puts
from gemel.graph.library import decommission
from gemel.graph.told import twin_document
from gemel.graph.twin_rows import new_numbers
from gemel.graph.twins import delete_twin
from gemel.history import write
from gemel.history.changes import read_changes
from support.feed import KINDS, kinds_of
from support.graph import ASSET, MODELS, MOTOR, PUMP, PUMP2, ROOM, Site
from support.history import SAMPLES

Play = Callable[[Callable[[Site], Awaitable[None]]], None]
UNCOUNTED = {"model.created", "samples"}


async def foresee(site: Site, items: list[tuple[str, Any]]) -> TwinPuts:
    twin_nos = await new_numbers(site.db, site.tenant, len(items))
    async with site.db.read(site.tenant) as read:
        puts = await foresee_twins(read, await read_twin_puts(read, site.context, items), twin_nos)
    await site.context.prepare(puts.times_us)
    return puts


async def put_all(site: Site, items: list[tuple[str, Any]]) -> list[GemelError | None]:
    puts = await foresee(site, items)
    async with site.db.write(site.tenant) as tx:
        return await put_twins(tx, site.context, puts)


async def put_each(site: Site, items: list[tuple[str, Any]]) -> list[GemelError | None]:
    errors: list[GemelError | None] = []
    for twin_id, body in items:
        try:
            await site.put_body(twin_id, body)
            errors.append(None)
        except GemelError as error:
            errors.append(error)
    return errors


def body(chance: random.Random, early_us: int) -> Any:
    """Return a body that is mostly right."""
    model = chance.choice([PUMP, PUMP, PUMP2, ASSET, ROOM, MOTOR, "dtmi:t:None;1"])
    metadata: dict[str, Any] = {"$model": model}
    given: dict[str, Any] = {"$metadata": metadata}
    if model == PUMP and chance.random() < 0.9:
        given["motor"] = {"$metadata": {}, "speed": chance.choice([1.0, 2, "fast"])}
    values: dict[str, list[Any]] = {
        "label": ["x", 5],
        "head": [1.5, 2],
        "count": [3, 3.5],
        "running": [True],
        "tags": [{"a": "b"}],
    }
    for name, of in values.items():
        if model == PUMP and chance.random() < 0.5:
            given[name] = of[0] if chance.random() < 0.9 else of[-1]
            if chance.random() < 0.2:
                metadata[name] = {"sourceTime": iso_us(early_us + chance.randrange(10**6))}
    if chance.random() < 0.2:
        metadata["$validFrom"] = chance.choice([iso_us(early_us), iso_us(early_us + 5), "yesterday"])
    if chance.random() < 0.2:
        given["$lifecycle"] = chance.choice(["planned", "active", "asleep", None])
    return chance.choice([given] * 20 + [[], None, {"$metadata": 1}])


def plain(document: Any) -> Any:
    """Return a twin's document without what depends on when and as which number it was written."""
    if isinstance(document, dict):
        return {
            key: plain(value) for key, value in document.items() if key not in {"$etag", "lastUpdateTime"}
        }
    return document


async def told(site: Site, ids: list[str], early_us: int) -> list[Any]:
    """Return all that is known of twins: documents, spans and samples, late source times as "now"."""
    found: list[Any] = []
    for twin_id in ids:
        try:
            found.append(_moments(plain((await site.get(twin_id)).body), early_us))
        except GemelError as error:
            found.append(error.code)
    spans = await site.rows(
        "SELECT twin_id, model_id, lifecycle, components, valid_to = 'infinity', recorded_to = 'infinity' "
        "FROM twin_span WHERE tenant = current_tenant() ORDER BY 1, recorded_from, valid_from"
    )
    samples = await site.rows(
        f"SELECT t.twin_id, p.path, s.num, s.kind, s.doc FROM {SAMPLES} AS s "
        "JOIN twin AS t ON t.tenant = s.tenant AND t.twin_no = s.series >> 20 "
        "JOIN path AS p ON p.tenant = s.tenant AND p.path_no = s.series & 1048575 "
        "WHERE s.tenant = current_tenant() ORDER BY 1, 2, s.source_time"
    )
    kinds = sorted(kind for kind in kinds_of(await site.rows(KINDS)) if kind not in UNCOUNTED)
    return [*found, spans, samples, kinds]


def _moments(document: Any, early_us: int) -> Any:
    if isinstance(document, dict):
        return {
            key: "now" if "Time" in key and value > iso_us(early_us + 10**7) else _moments(value, early_us)
            for key, value in document.items()
        }
    return document


@pytest.mark.parametrize("seed", range(4))
def test_as_one_after_another(play: Play, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"seed {seed}")
    monkeypatch.setattr(overlap, "SLICE", 7)
    # The state of first samples is sent, or taken from what was copied.
    monkeypatch.setattr(write, "COPIED_MIN", 1 if seed % 2 else 10_000)

    async def work(site: Site) -> None:
        chance = random.Random(seed)
        early_us = now_us() - 3 * 86_400_000_000
        other = site.neighbour()
        await other.add_models(MODELS)
        ids = [*(f"t{number}" for number in range(12)), "with space", "x" * 129]
        fresh = [f"fresh{number}" for number in range(9)]
        for named in [*(chance.sample(ids, 9) for _ in range(4)), fresh]:
            items = [(twin_id, body(chance, early_us)) for twin_id in named]
            at_once, one_by_one = await put_all(site, items), await put_each(other, items)
            assert [_said(error) for error in at_once] == [_said(error) for error in one_by_one]
        assert await told(site, ids + fresh, early_us) == await told(other, ids + fresh, early_us)

    play(work)


def _said(error: GemelError | None) -> tuple[str, str, int] | None:
    return None if error is None else (error.code, error.message, len(error.details))


def test_models_that_change_between_reading_and_writing(play: Play) -> None:
    async def work(site: Site) -> None:
        items = [("a", {"$metadata": {"$model": ASSET}, "label": "x"})]
        async with site.db.read(site.tenant) as read:
            puts = await read_twin_puts(read, site.context, items)
        async with site.db.write(site.tenant) as tx:
            await decommission(tx, site.context.library, PUMP2, decommissioned=True)
            await decommission(tx, site.context.library, PUMP, decommissioned=True)
            await decommission(tx, site.context.library, ASSET, decommissioned=True)
        async with site.db.write(site.tenant) as tx:
            [error] = await put_twins(tx, site.context, puts)
        assert error is not None
        assert error.code == "ModelDecommissioned"

    play(work)


def test_what_was_foreseen_is_written_at_the_moment_of_the_write(play: Play) -> None:
    """All that is told of new twins is as GET gives them, whether their times are named or are that moment."""

    async def work(site: Site) -> None:
        early_us = now_us() - 3 * 86_400_000_000
        motor = {"$metadata": {}, "speed": 2}
        named = {"$model": PUMP, "head": {"sourceTime": iso_us(early_us)}}
        started = {"$model": PUMP, "$validFrom": iso_us(early_us)}
        plain_body = {
            "label": "\x7f\u00fc",
            "head": 1,
            "count": 3,
            "running": True,
            "tags": {"a": "b"},
            "motor": motor,
        }
        items = [
            (twin_id, {**plain_body, "$metadata": metadata})
            for twin_id, metadata in (("now", {"$model": PUMP}), ("then", started), ("mixed", named))
        ]
        await put_all(site, [(f"before-{twin_id}", body) for twin_id, body in items])  # numbers the paths
        puts = await foresee(site, items)
        assert puts.foreseen is not None
        async with site.db.write(site.tenant) as tx:
            later_us = tx.stamp()
            begun = tx.begun_change_no
            assert await put_twins(tx, site.context, puts) == [None] * 3
        async with site.db.read(site.tenant) as read:
            changes = await read_changes(read, begun, 3)
        documents = [twin_document(change.payload()) for change in changes]
        assert documents == [(await site.get(twin_id)).body for twin_id, _ in items]
        by_id = {document["$dtId"]: document["$metadata"] for document in documents}
        assert by_id["now"]["label"]["sourceTime"] == iso_us(later_us + 1)
        assert (
            by_id["mixed"]["head"]["sourceTime"] == by_id["then"]["label"]["sourceTime"] == iso_us(early_us)
        )
        before = [(await site.get(f"before-{twin_id}")).body for twin_id, _ in items]
        assert [_moments(plain(each), early_us) for each in before] == [
            {**_moments(plain(each), early_us), "$dtId": f"before-{each['$dtId']}"} for each in documents
        ]

    play(work)


@pytest.mark.parametrize("between", ["made", "deleted", "decommissioned", "models"])
def test_what_was_foreseen_and_is_otherwise_is_judged_again(play: Play, between: str) -> None:
    async def work(site: Site) -> None:
        await site.put("first", ASSET)  # numbers the paths
        early = {"$metadata": {"$model": ASSET, "$validFrom": iso_us(now_us() - 60_000_000)}, "label": "x"}
        puts = await foresee(site, [("a", early)])
        assert puts.foreseen is not None
        if between in {"made", "deleted"}:
            await site.put("a", ASSET, label="y")
        if between == "deleted":
            async with site.db.write(site.tenant) as tx:
                await delete_twin(tx, site.context, "a")
        async with site.db.write(site.tenant) as tx:
            for model in (PUMP2, PUMP, ASSET) if between == "decommissioned" else ():
                await decommission(tx, site.context.library, model, decommissioned=True)
            if between == "models":
                tx.touch_models()
        async with site.db.write(site.tenant) as tx:
            [error] = await put_twins(tx, site.context, puts)
        refused = {"deleted": "InvalidArgument", "decommissioned": "ModelDecommissioned"}.get(between)
        assert (error and error.code) == refused
        if refused is None:
            assert (await site.get("a")).body["label"] == "x"

    play(work)
