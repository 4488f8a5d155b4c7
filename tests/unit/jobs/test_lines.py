"""An import file in batches: the same rows and the same end, wherever reading begins."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import GemelError
from gemel.jobs import lines
from gemel.jobs.import_writing import name_of
from gemel.jobs.lines import HEADER, SECTIONS, TWINS, Lines

ROW = st.sampled_from(['{"a": 1}', '{"Section": "x", "b": 2}', "nonsense", "", "  ", "[]", '{"$dtId": "ü"}'])


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a file with its sections in order."""
    text: list[str] = []
    for name in SECTIONS:
        if name == HEADER or draw(st.booleans()):
            text += [json.dumps({"Section": name}), *draw(st.lists(ROW, max_size=8))]
    return "\n".join(text) + draw(st.sampled_from(["", "\n", "\n\n"]))


def told(value: Any) -> Any:
    return value.code if isinstance(value, GemelError) else value


@given(files(), st.integers(1, 4))
def test_read_on_from_any_batch(text: str, size: int) -> None:
    whole = list(Lines(io.BytesIO(text.encode()), "", 0, 0).batches())
    rows = [(batch.section, row.number, told(row.value)) for batch in whole for row in batch.rows]
    original = dict(lines.BATCH_LINES)
    lines.BATCH_LINES.update(dict.fromkeys(SECTIONS, size))
    try:
        found = []
        section: str | None = ""
        offset = line = 0
        while section is not None:
            # As after a crash: nothing is known but the position.
            batch = next(Lines(io.BytesIO(text.encode()), section, offset, line).batches())
            found += [(batch.section, row.number, told(row.value)) for row in batch.rows]
            assert len(batch.rows) <= size
            for row in batch.rows:
                assert text.encode()[: row.end].count(b"\n") == row.number or row.end == len(text.encode())
            section, offset, line = batch.follows, batch.end, batch.line
        assert offset == len(text.encode())
    finally:
        lines.BATCH_LINES.update(original)
    assert found == rows
    split = text.split("\n")
    for _, number, value in rows:
        assert value == "BodyMalformed" or value == json.loads(split[number - 1])


def test_lines_that_are_too_long_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES_MAX", 40)
    text = b'{"Section": "Header"}\n{"Section": "Twins"}\n' + b"x" * 200 + b'\n{"a": 1}\n' + b"y" * 100
    batches = list(Lines(io.BytesIO(text), "", 0, 0).batches())
    rows = [row for batch in batches if batch.section == TWINS for row in batch.rows]
    assert [told(row.value) for row in rows] == ["LimitExceeded", {"a": 1}, "LimitExceeded"]
    assert [row.number for row in rows] == [3, 4, 5]
    assert batches[-1].end == len(text)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"$dtId": "a"}, "a"),
        ({"@id": "dtmi:t:M;1"}, "dtmi:t:M;1"),
        ({"$sourceId": "a", "$relationshipId": "r", "$targetId": "b"}, "a/r"),
        ({"$dtId": "a", "$relationshipId": "r"}, "a/r"),
        ({"$relationshipId": 5}, None),
        ([], None),
    ],
)
def test_a_line_is_named_by_what_it_is_about(value: object, name: str | None) -> None:
    assert name_of(value) == name
