"""Relationships judged by columns: what is written of them is what looking at each by itself makes of them."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gemel.base.clock import iso_us, now_us
from gemel.graph.bulk_relationships import RelationshipItem, foresee_relationships
from gemel.graph.ends import KnownEnds
from gemel.graph.plain_relationships import foresee_plain, read_plain
from support.graph import ASSET, PUMP, ROOM, Site, interface

Play = Callable[[Callable[[Site], Awaitable[None]]], None]
HUB = "dtmi:test:Hub;1"
FEW = {"@type": "Relationship", "name": "feeds", "maxMultiplicity": 2}
TWINS = {"a": PUMP, "b": PUMP, "c": ASSET, "room": ROOM, "hub": HUB}
RIGHT = [("a", "feeds", "b"), ("b", "feeds", "c"), ("room", "contains", "a"), ("hub", "feeds", "room")]


def line(chance: random.Random, now: int) -> dict[str, Any]:
    """Return the line of an import that is mostly right."""
    source, name, target = chance.choice(RIGHT)
    found: dict[str, Any] = {
        "$dtId": source,
        "$relationshipId": f"r{chance.randrange(400)}",
        "$targetId": target,
        "$relationshipName": name,
    }
    if chance.random() < 0.5:
        found["$validFrom"] = iso_us(now - chance.randrange(80_000_000_000))
    if chance.random() < 0.1:
        found |= chance.choice(
            [
                {"$dtId": chance.choice(list(TWINS))},
                {"$targetId": chance.choice(list(TWINS))},
                {"$dtId": "nobody"},
                {"$dtId": 5},
                {"$targetId": "nobody"},
                {"$targetId": None},
                {"$relationshipId": "r 4"},
                {"$relationshipId": "ü"},
                {"$relationshipName": "hates"},
                {"$validFrom": "yesterday"},
                {"$validFrom": None},
                {"$validFrom": iso_us(now - 10**12)},
                {"$validFrom": iso_us(now + 3_600_000_000)},
                {"$etag": "*"},
                {"diameter": 1.5},
                {"diameter": "wide"},
                {"colour": "red"},
            ]
        )
    if chance.random() < 0.02:
        del found[chance.choice(list(found))]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_as_each_by_itself(play: Play, seed: int) -> None:
    print(f"seed {seed}")

    async def work(site: Site) -> None:
        chance = random.Random(seed)
        await site.add_models([interface(HUB, FEW)])
        early = {"$validFrom": iso_us(now_us() - 86_400_000_000)}
        for twin_id, model in TWINS.items():
            await site.put(twin_id, model, **{"$metadata": dict(early)})
        ends, taken, left, refused = KnownEnds(), 0, 0, 0
        async with site.db.read(site.tenant) as read:
            for _ in range(150):
                lines = [line(chance, now_us()) for _ in range(chance.choice([1, 2, 3, 4, 5, 25]))]
                plain = read_plain([json.dumps(each).encode() for each in lines])
                by_columns = None if plain is None else await foresee_plain(read, site.context, plain, ends)
                if by_columns is None:
                    left += 1
                    continue
                items = [RelationshipItem(each["$dtId"], each["$relationshipId"], each) for each in lines]
                assert len({(item.source_id, item.relationship_id) for item in items}) == len(items)
                each_by_itself = await foresee_relationships(read, site.context, items, ends)
                refused += len(lines) - each_by_itself.errors.count(None)
                taken += 1
                assert by_columns.errors == each_by_itself.errors
                assert by_columns.keys == each_by_itself.keys
                assert by_columns.limited == each_by_itself.limited
                assert by_columns.epochs == each_by_itself.epochs
                assert by_columns.taken is not None
                assert each_by_itself.taken is not None
                for one, other in zip(by_columns.taken, each_by_itself.taken, strict=True):
                    assert one == other or list(one) == list(other) == []
        assert min(taken, left) > 20
        assert not refused

    play(work)


def test_lines_that_are_no_relationship_are_left() -> None:
    good = b'{"$dtId":"a","$relationshipId":"r","$targetId":"b","$relationshipName":"feeds"}'
    assert read_plain([good]) is not None
    for bad in (b"", b"[]", b"null", b"{", b"nonsense", b'"\xff"', b"[" * 100_000, good + b",", good + good):
        assert read_plain([good, bad]) is None
    assert read_plain([good, good]) is None
