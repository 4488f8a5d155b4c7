"""Keys that were nobody's before the lock: what is certain of them under it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

from gemel.graph.absence import Absence, hashes_of, is_absent, note_made
from gemel.graph.bulk import TwinPuts, foresee_twins, put_twins, read_twin_puts
from gemel.graph.twin_rows import new_numbers
from support.graph import ASSET, Site

Play = Callable[[Callable[[Site], Awaitable[None]]], None]


async def seen(site: Site, *keys: Hashable) -> Absence:
    async with site.db.read(site.tenant) as read:
        return Absence.seen(read, hashes_of(keys, len(keys)))


async def certain(site: Site, absence: Absence) -> bool:
    async with site.db.write(site.tenant) as tx:
        return is_absent(tx, absence)


async def make(site: Site, *keys: Hashable, more: int = 0) -> None:
    """Tell the feed of a change for each key and note them, then of more that nobody notes."""
    async with site.db.write(site.tenant) as tx:
        before_no = tx.change_no
        tx.next_change_nos(len(keys))
        note_made(tx, hashes_of(keys, len(keys)), before_no)
        if more:
            tx.next_change_nos(more)


async def foresee(site: Site, twin_id: str, label: str) -> TwinPuts:
    twin_nos = await new_numbers(site.db, site.tenant, 1)
    body = {"$metadata": {"$model": ASSET}, "label": label}
    async with site.db.read(site.tenant) as read:
        return await foresee_twins(
            read, await read_twin_puts(read, site.context, [(twin_id, body)]), twin_nos
        )


def test_it_is_certain_while_nothing_was_told_or_only_what_was_noted(play: Play) -> None:
    async def work(site: Site) -> None:
        absence = await seen(site, "a", (7, "r"))
        assert await certain(site, absence)
        await make(site, "b", (8, "r"), (7, "s"))
        assert await certain(site, absence)
        await make(site, "c")
        assert not await certain(site, absence), "of two writes between only the last is remembered"

    play(work)


def test_it_is_not_certain_after_one_of_them_was_made_or_another_write_came_between(play: Play) -> None:
    async def work(site: Site) -> None:
        absence = await seen(site, "a", (7, "r"))
        await make(site, "b", (7, "r"))
        assert not await certain(site, absence)
        absence = await seen(site, "a")
        await make(site, "b")
        await site.put("a", ASSET)
        assert not await certain(site, absence)
        absence = await seen(site, "c")
        await site.put("d", ASSET)
        assert not await certain(site, absence)

    play(work)


def test_a_write_that_tells_of_more_is_not_remembered(play: Play) -> None:
    async def work(site: Site) -> None:
        absence = await seen(site, "a")
        await make(site, "b", more=1)
        assert not await certain(site, absence)
        absence = await seen(site, "a")
        async with site.db.write(site.tenant) as tx:
            tx.next_change_no()
            before_no = tx.change_no
            tx.next_change_no()
            note_made(tx, hashes_of(["b"], 1), before_no)
        assert not await certain(site, absence)
        absence = await seen(site, "a")
        async with site.db.write(site.tenant) as tx:
            tx.next_change_no()
            assert not is_absent(tx, absence), "this transaction may have made one of them"

    play(work)


def test_a_twin_that_the_batch_before_made_is_replaced(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("first", ASSET)  # numbers the paths
        puts = [await foresee(site, "a", label) for label in ("x", "y")]
        assert all(each.foreseen for each in puts)
        for each in puts:
            async with site.db.write(site.tenant) as tx:
                assert await put_twins(tx, site.context, each) == [None]
        assert (await site.get("a")).body["label"] == "y"

    play(work)


def test_nothing_is_foreseen_of_a_twin_that_is_there(play: Play) -> None:
    async def work(site: Site) -> None:
        await site.put("a", ASSET)
        puts = await foresee(site, "a", "x")
        assert puts.foreseen is None
        async with site.db.write(site.tenant) as tx:
            assert await put_twins(tx, site.context, puts) == [None]
        assert (await site.get("a")).body["label"] == "x"

    play(work)
