"""JSON Patch against its rules, and against a model of it under random patches."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.graph.jsonpatch import MISSING, Operation, apply, parse_operations, pointer_text

DOCUMENT = {"a": 1, "m": {"x": 1, "y": [1, 2, 3]}, "~/": {"": 5}}


def patched(*operations: dict[str, Any]) -> Any:
    return apply(DOCUMENT, parse_operations(list(operations)))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/b", "value": 2}, {**DOCUMENT, "b": 2}),
        ({"op": "add", "path": "/a", "value": None}, {**DOCUMENT, "a": None}),
        ({"op": "replace", "path": "/m", "value": []}, {**DOCUMENT, "m": []}),
        ({"op": "remove", "path": "/a"}, {k: v for k, v in DOCUMENT.items() if k != "a"}),
        ({"op": "add", "path": "/m/y/1", "value": 9}, {**DOCUMENT, "m": {"x": 1, "y": [1, 9, 2, 3]}}),
        ({"op": "add", "path": "/m/y/3", "value": 9}, {**DOCUMENT, "m": {"x": 1, "y": [1, 2, 3, 9]}}),
        ({"op": "add", "path": "/m/y/-", "value": 9}, {**DOCUMENT, "m": {"x": 1, "y": [1, 2, 3, 9]}}),
        ({"op": "replace", "path": "/m/y/0", "value": 9}, {**DOCUMENT, "m": {"x": 1, "y": [9, 2, 3]}}),
        ({"op": "remove", "path": "/m/y/2"}, {**DOCUMENT, "m": {"x": 1, "y": [1, 2]}}),
        ({"op": "replace", "path": "/~0~1/", "value": 6}, {**DOCUMENT, "~/": {"": 6}}),
        ({"op": "replace", "path": "", "value": 7}, 7),
    ],
)
def test_applies(operation: dict[str, Any], expected: Any) -> None:
    before = copy.deepcopy(DOCUMENT)
    assert patched(operation) == expected
    assert before == DOCUMENT


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({}, "array of operations"),
        ([], "has no operations"),
        ([1], "Operation 0"),
        ([{}], "no 'op'"),
        ([{"op": "move", "from": "/a", "path": "/b"}], "Unsupported operation type: 'move'"),
        ([{"op": "copy", "from": "/a", "path": "/b"}], "Unsupported operation type: 'copy'"),
        ([{"op": "test", "path": "/a", "value": 1}], "Unsupported operation type: 'test'"),
        ([{"op": "Add", "path": "/a", "value": 1}], "Unsupported operation type: 'Add'"),
        ([{"op": "add", "path": "/a"}], "no 'value'"),
        ([{"op": "add", "value": 1}], "no 'path'"),
        ([{"op": "add", "path": 5, "value": 1}], "no 'path'"),
        ([{"op": "add", "path": "a", "value": 1}], "does not start with '/'"),
        ([{"op": "add", "path": "/~2", "value": 1}], "'~'"),
        ([{"op": "add", "path": "/~", "value": 1}], "'~'"),
        ([{"op": "add", "path": "/x" * 65, "value": 1}], "64 steps"),
        ([{"op": "replace", "path": "/b", "value": 1}], "/b was not found"),
        ([{"op": "remove", "path": "/b"}], "/b was not found"),
        ([{"op": "add", "path": "/b/c", "value": 1}], "/b was not found"),
        ([{"op": "add", "path": "/a/c", "value": 1}], "/a/c was not found"),
        ([{"op": "add", "path": "/m/y/4", "value": 1}], "/m/y/4 was not found"),
        ([{"op": "add", "path": "/m/y/01", "value": 1}], "/m/y/01 was not found"),
        ([{"op": "add", "path": "/m/y/+1", "value": 1}], "/m/y/+1 was not found"),
        ([{"op": "remove", "path": "/m/y/-"}], "/m/y/- was not found"),
        ([{"op": "replace", "path": "/m/y/3", "value": 1}], "/m/y/3 was not found"),
        ([{"op": "remove", "path": ""}], "whole document"),
    ],
)
def test_refuses(patch: Any, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        apply(DOCUMENT, parse_operations(patch))
    assert caught.value.code == "JsonPatchInvalid"
    assert message in caught.value.message


def test_limits_the_number_of_operations() -> None:
    with pytest.raises(InvalidError) as caught:
        parse_operations([{"op": "remove", "path": "/a"}] * 1001)
    assert caught.value.code == "LimitExceeded"


def test_operations_see_what_those_before_them_did() -> None:
    add = {"op": "add", "path": "/n", "value": {"k": 1}}
    assert patched(add, {"op": "replace", "path": "/n/k", "value": 2})["n"] == {"k": 2}


def test_a_patched_value_is_not_shared_with_the_patch() -> None:
    value = {"k": [1]}
    add = {"op": "add", "path": "/n", "value": value}
    patched(add, {"op": "add", "path": "/n/k/-", "value": 2})
    assert value == {"k": [1]}


names = st.sampled_from(["", "a", "b", "0", "1", "-", "~", "/", "ü"])
documents = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
operations = st.builds(
    lambda op, pointer, value: Operation(op, pointer, MISSING if op == "remove" else value),
    st.sampled_from(["add", "replace", "remove"]),
    st.lists(names, min_size=1, max_size=3).map(tuple),
    documents,
)


def in_place(document: Any, operation: Operation) -> Any:
    """Apply the plain reading of RFC 6902 to a copy; KeyError where it does not apply."""
    document = copy.deepcopy(document)
    node = document
    *steps, name = operation.pointer
    for step in steps:
        node = node[index_of(node, step)] if isinstance(node, list) else item_of(node, step)
    if isinstance(node, list):
        if operation.op == "add":
            node.insert(len(node) if name == "-" else index_of([*node, None], name), operation.value)
        elif operation.op == "replace":
            node[index_of(node, name)] = operation.value
        else:
            del node[index_of(node, name)]
        return document
    if operation.op != "add":
        item_of(node, name)
    if not isinstance(node, dict):
        raise KeyError(name)
    if operation.op == "remove":
        del node[name]
    else:
        node[name] = operation.value
    return document


def index_of(items: list[Any], text: str) -> int:
    if text not in {str(index) for index in range(len(items))}:
        raise KeyError(text)
    return int(text)


def item_of(node: Any, name: str) -> Any:
    if not isinstance(node, dict):
        raise KeyError(name)
    return node[name]


@given(documents, operations)
def test_agrees_with_the_plain_reading(document: Any, operation: Operation) -> None:
    before = copy.deepcopy(document)
    try:
        expected = in_place(document, operation)
    except KeyError:
        with pytest.raises(InvalidError):
            apply(document, [operation])
    else:
        assert apply(document, [operation]) == expected
    assert document == before


@given(st.lists(names, min_size=1, max_size=5))
def test_pointers_come_back(steps: list[str]) -> None:
    (operation,) = parse_operations([{"op": "remove", "path": pointer_text(steps)}])
    assert operation.pointer == tuple(steps)
