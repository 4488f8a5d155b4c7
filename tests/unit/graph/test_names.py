from __future__ import annotations

import pytest

from gemel.base.errors import InvalidError
from gemel.graph.names import check_model_id, check_relationship_id, check_twin_id, is_twin_id

GOOD = ["a", "x" * 128, "pump-1", "A.b+c%d_e#f*g?h!i(j),k=l@m$n'"]
BAD = ["", " ", "a b", "x" * 129, "ä", "a/b", "a\n", "a\x00", "a:b", "a\u2028"]


@pytest.mark.parametrize("text", GOOD)
def test_takes_ids(text: str) -> None:
    assert is_twin_id(text)
    check_twin_id(text)
    check_relationship_id(text)


@pytest.mark.parametrize("text", BAD)
def test_refuses_ids(text: str) -> None:
    assert not is_twin_id(text)
    for check in (check_twin_id, check_relationship_id):
        with pytest.raises(InvalidError) as caught:
            check(text)
        assert caught.value.code == "InvalidArgument"
        assert len(caught.value.message) < 1000


@pytest.mark.parametrize("text", ["dtmi:a;1", "dtmi:com:example:Pump;12", "dtmi:a:b_c;1.2"])
def test_takes_model_ids(text: str) -> None:
    check_model_id(text)


@pytest.mark.parametrize(
    "text", ["", "a", "dtmi:", "dtmi:1a;1", "dtmi:a;0", "dtmi:a;1#f", "dtmi:a b;1", "dtmi:" + "a" * 3000]
)
def test_refuses_model_ids(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_model_id(text)
    assert caught.value.code == "InvalidArgument"
    assert len(caught.value.message) < 1000
