from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.api.paths import routable, unescape
from gemel.base.errors import InvalidError

ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(ids, ids, st.sampled_from(["", "/", ";:=@,!$&'()*+"]))
def test_any_id_survives_its_path(one: str, two: str, safe: str) -> None:
    raw = f"/digitaltwins/{quote(one, safe=safe.replace('/', ''))}/relationships/{quote(two, safe='')}"
    path = routable(raw.encode(), unquote(raw))
    assert path.count("/") == 4
    _, _, first, _, second = path.split("/")
    if "%" in raw:
        first, second = unescape(first), unescape(second)
    assert (first, second) == (one, two)


@given(st.text())
def test_unescape_undoes_the_escape(text: str) -> None:
    assert unescape(text.replace("%", "%25").replace("/", "%2F")) == text


def test_a_path_without_escapes_is_left_alone() -> None:
    assert routable(b"/models/dtmi:a:b;1", "/models/dtmi:a:b;1") == "/models/dtmi:a:b;1"


@pytest.mark.parametrize("raw", [b"/a%FF", b"/a%C3", b"/a%00b", b"/a%ED%A0%80"])
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidError) as caught:
        routable(raw, "?")
    assert caught.value.code == "InvalidArgument"
