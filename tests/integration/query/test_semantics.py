"""Random conditions over random twins, against an evaluator in Python that reads the documents."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.query.conftest import KINDS, World
from support.graph import ASSET, PUMP, PUMP2, ROOM, Site

SEED = 20260131
LEAVES = 700
MISSING = object()
Evaluate = Callable[[dict[str, Any]], bool | None]


@dataclass(frozen=True)
class Written:
    """A condition as text, and what it means."""

    text: str
    holds: Evaluate


FAMILIES = {ASSET: {PUMP, PUMP2, KINDS}, PUMP: {PUMP}, PUMP2: {PUMP2}, ROOM: {ROOM}, "dtmi:t:None;1": set()}
TEXTS = ["", "a", "b", "ab", "ba", "Ä", "z'", "\\", "%s", "€"]
NUMBERS = [0, 1, -1, 2.5, 0.1, 2**53, 2**53 + 1, 2**53 - 1, -(2**63), 1e300]
PATHS = [
    "$dtId", "$metadata.$model", "label", "count", "head", "running", "limits", "limits.low", "limits.high",
    "tags.a", "tags.b", "motor", "motor.speed", "power", "area", "serial", "labels", "numbers", "deep.a", "nothing",
]  # fmt: skip


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def written(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    return (
        {True: "true", False: "FALSE", None: "null"}[value]
        if value is None or isinstance(value, bool)
        else repr(value)
    )


def find(twin: dict[str, Any], path: str) -> Any:
    value: Any = twin
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def is_component(value: Any) -> bool:
    return isinstance(value, dict) and "$metadata" in value


def comparable(twin: dict[str, Any], path: str) -> Any:
    value = find(twin, path)
    return MISSING if is_component(value) else value


KINDS_OF_VALUES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "number": (int, float),
    "string": str,
    "object": dict,
}


def kind(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for name, types in KINDS_OF_VALUES.items() if isinstance(value, types)), "array")


def equal(left: Any, right: Any) -> bool:
    return kind(left) == kind(right) and bool(left == right)


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def compare(path: str, operator: str, literal: Any) -> Written:
    def holds(twin: dict[str, Any]) -> bool | None:
        value = comparable(twin, path)
        if value is MISSING:
            return None
        if operator in ORDERS:
            return ORDERS[operator](value, literal) if kind(value) == kind(literal) else None
        return equal(value, literal) is (operator == "=")

    return Written(f"T.{path} {operator} {written(literal)}", holds)


def one_of(path: str, literals: list[Any], negated: bool) -> Written:
    def holds(twin: dict[str, Any]) -> bool | None:
        value = comparable(twin, path)
        if value is MISSING:
            return None
        return any(equal(value, literal) for literal in literals) is not negated

    return Written(f"T.{path} {'NIN' if negated else 'in'} [{', '.join(map(written, literals))}]", holds)


TYPES: dict[str, Callable[[Any], bool]] = {
    "IS_DEFINED": lambda value: True,
    "IS_NULL": lambda value: value is None,
    "IS_BOOL": lambda value: kind(value) == "bool",
    "IS_NUMBER": lambda value: kind(value) == "number",
    "IS_STRING": lambda value: kind(value) == "string",
    "IS_PRIMITIVE": lambda value: kind(value) in {"bool", "number", "string", "null"},
    "IS_OBJECT": lambda value: kind(value) == "object",
}


def has_type(path: str, name: str) -> Written:
    return Written(
        f"{name}(T.{path})", lambda twin: find(twin, path) is not MISSING and TYPES[name](find(twin, path))
    )


PLACES: dict[str, Callable[[str, str], bool]] = {
    "STARTSWITH": str.startswith,
    "endswith": str.endswith,
    "CONTAINS": str.__contains__,
}


def has_text(path: str, name: str, text: str) -> Written:
    def holds(twin: dict[str, Any]) -> bool | None:
        value = comparable(twin, path)
        return PLACES[name](value, text) if isinstance(value, str) else None

    return Written(f"{name}(T.{path}, {quoted(text)})", holds)


def has_item(path: str, literal: Any) -> Written:
    def holds(twin: dict[str, Any]) -> bool | None:
        value = comparable(twin, path)
        return any(equal(item, literal) for item in value) if isinstance(value, list) else None

    return Written(f"ARRAY_CONTAINS(T.{path}, {written(literal)})", holds)


def of_model(model: str, exact: bool) -> Written:
    family = {model} if exact else FAMILIES[model]
    text = f"IS_OF_MODEL(T, '{model}'{', exact' if exact else ''})"
    return Written(text, lambda twin: twin["$metadata"]["$model"] in family)


def both(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


def conjunction(left: Written, right: Written) -> Written:
    return Written(
        f"({left.text}) AND ({right.text})", lambda twin: both(left.holds(twin), right.holds(twin))
    )


def disjunction(left: Written, right: Written) -> Written:
    return Written(
        f"({left.text} or {right.text})",
        lambda twin: opposite(both(opposite(left.holds(twin)), opposite(right.holds(twin)))),
    )


def negation(term: Written) -> Written:
    return Written(f"NOT ({term.text})", lambda twin: opposite(term.holds(twin)))


paths = st.sampled_from(PATHS)
literals = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans(), st.none())
ordered = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans())
leaves = st.one_of(
    st.builds(compare, paths, st.sampled_from(["=", "!=", "<>"]), literals),
    st.builds(compare, paths, st.sampled_from(list(ORDERS)), ordered),
    st.builds(one_of, paths, st.lists(literals, min_size=1, max_size=4), st.booleans()),
    st.builds(has_type, paths, st.sampled_from(list(TYPES))),
    st.builds(has_text, paths, st.sampled_from(list(PLACES)), st.sampled_from(TEXTS)),
    st.builds(has_item, st.sampled_from(["labels", "numbers", "label", "nothing"]), literals),
    st.builds(of_model, st.sampled_from(list(FAMILIES)), st.booleans()),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(conjunction, inner, inner), st.builds(disjunction, inner, inner), st.builds(negation, inner)
    ),
    max_leaves=8,
)


async def fill(site: Site, chance: random.Random) -> None:
    """Put twins whose values come from the same small sets as the literals, so that they often meet."""
    numbers = [float(number) for number in NUMBERS]
    whole = [number for number in NUMBERS if isinstance(number, int)]
    fields: dict[str, dict[str, Callable[[], Any]]] = {
        PUMP: {
            "label": lambda: chance.choice(TEXTS),
            "count": lambda: chance.choice([0, 1, -1]),
            "head": lambda: chance.choice(numbers),
            "running": lambda: chance.random() < 0.5,
            "limits": lambda: {name: chance.choice(numbers) for name in ("low", "high") if chance.random() < 0.6},
            "tags": lambda: {name: chance.choice(TEXTS) for name in "ab" if chance.random() < 0.6},
        },
        PUMP2: {"label": lambda: chance.choice(TEXTS), "head": lambda: chance.choice(numbers), "power": lambda: 1},
        ROOM: {"area": lambda: chance.choice(numbers)},
        KINDS: {
            "label": lambda: chance.choice(TEXTS),
            "serial": lambda: chance.choice(whole),
            "count": lambda: chance.choice(numbers),
            "labels": lambda: chance.choices(TEXTS, k=chance.randrange(3)),
            "numbers": lambda: chance.choices(whole, k=chance.randrange(3)),
            "motor": lambda: {"speed": chance.choice(numbers)} if chance.random() < 0.5 else {},
            "deep": lambda: {name: chance.choice(whole) for name in "abc" if chance.random() < 0.6},
        },
    }  # fmt: skip
    for number in range(40):
        model = chance.choice(list(fields))
        body = {name: value() for name, value in fields[model].items() if chance.random() < 0.7}
        if model == PUMP and chance.random() < 0.7:
            body["motor"] = {"$metadata": {}, "speed": chance.choice(numbers)}
        await site.put(f"{chance.choice('abz')}{number}", model, **body)
        if body.get("label") is not None and chance.random() < 0.3:
            await site.patch((await _last(site)), {"op": "remove", "path": "/label"})


async def _last(site: Site) -> str:
    (row,) = await site.rows("SELECT twin_id FROM twin ORDER BY twin_no DESC LIMIT 1")
    return str(row[0])


@pytest.fixture(scope="module")
def random_world(world: World) -> tuple[World, list[dict[str, Any]]]:
    print(f"seed {SEED}")
    world.run(fill(world.site, random.Random(SEED)))
    return world, world.rows("SELECT * FROM digitaltwins")


def every_leaf() -> list[Written]:
    """Return every test on every path, with every literal."""
    values = [*TEXTS, *NUMBERS, True, False, None]
    found: list[Written] = []
    for path in PATHS:
        found += [compare(path, operator, value) for operator in ("=", "!=") for value in values]
        found += [compare(path, operator, value) for operator in ORDERS for value in values[:-1]]
        found += [one_of(path, values[at : at + 3], negated) for at in range(20) for negated in (True, False)]
        found += [has_type(path, name) for name in TYPES]
        found += [has_text(path, name, text) for name in PLACES for text in TEXTS]
        found += [has_item(path, value) for value in values]
    return found


def test_every_kind_of_test_means_what_it_says(random_world: tuple[World, list[dict[str, Any]]]) -> None:
    world, twins = random_world
    for leaf in random.Random(SEED).sample(every_leaf(), LEAVES):
        for condition in (leaf, negation(leaf)):
            expected = [twin["$dtId"] for twin in twins if condition.holds(twin) is True]
            found = world.ids(f"SELECT T.$dtId FROM digitaltwins T WHERE {condition.text}")
            assert (condition.text, found) == (condition.text, expected)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions, size=st.sampled_from([1, 7, 100]))
def test_conditions_combine_as_they_say(
    random_world: tuple[World, list[dict[str, Any]]], condition: Written, size: int
) -> None:
    world, twins = random_world
    expected = [twin["$dtId"] for twin in twins if condition.holds(twin) is True]
    assert world.ids(f"SELECT T.$dtId FROM digitaltwins T WHERE {condition.text}", size) == expected
    count = world.rows(f"SELECT COUNT() FROM digitaltwins T WHERE {condition.text}")
    assert count == [{"COUNT": len(expected)}]


def test_the_evaluator_is_not_always_empty(random_world: tuple[World, list[dict[str, Any]]]) -> None:
    _, twins = random_world
    assert {compare("label", "=", text).holds(twin) for text in TEXTS for twin in twins} == {
        True,
        False,
        None,
    }
    assert len(twins) > 50
