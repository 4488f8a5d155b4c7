"""The guide to the query language says what the language is."""

from __future__ import annotations

import re

import pytest

from gemel.query.compiler import analyse
from support.source_tree import ROOT

GUIDE = (ROOT / "docs" / "guides" / "query.md").read_text("utf-8")
QUERIES = re.findall(r"^```sql\n(.+?)^```", GUIDE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| (?!Condition|---).+? \| (`.+`) \|$", GUIDE, re.MULTILINE)
CONDITIONS = [each for row in ROWS for each in re.findall(r"`([^`]+)`", row)]


def test_the_guide_has_examples() -> None:
    assert len(QUERIES) == 24
    assert len(CONDITIONS) == 11


@pytest.mark.parametrize("text", QUERIES)
def test_queries_of_the_guide_are_understood(text: str) -> None:
    assert analyse(text).text == text


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_of_the_guide_are_understood(condition: str) -> None:
    assert analyse(f"SELECT * FROM digitaltwins T WHERE {condition}").where is not None
