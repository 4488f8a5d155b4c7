"""The guide to the query language says what the language is."""

from __future__ import annotations

import re

import pytest

from gemel.base.errors import InvalidError
from gemel.query.compiler import analyse
from support.source_tree import ROOT

GUIDE = (ROOT / "docs" / "guides" / "query.md").read_text("utf-8")
QUERIES = re.findall(r"^```sql\n(.+?)^```", GUIDE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| (?!Condition|---).+? \| (`.+`) \|$", GUIDE, re.MULTILINE)
CONDITIONS = [each for row in ROWS for each in re.findall(r"`([^`]+)`", row)]
REFUSED = [
    "SELECT T FROM digitaltwins T ORDER BY T.head",
    "SELECT T.head FROM digitaltwins T GROUP BY T.head",
    "SELECT DISTINCT T.head FROM digitaltwins T",
    "SELECT T FROM digitaltwins T OFFSET 3",
    "SELECT SUM(T.head) FROM digitaltwins T",
]


def test_the_guide_has_examples() -> None:
    assert len(QUERIES) == 11
    assert len(CONDITIONS) == 9


@pytest.mark.parametrize("text", QUERIES)
def test_queries_of_the_guide_are_understood(text: str) -> None:
    assert analyse(text).text == text


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_of_the_guide_are_understood(condition: str) -> None:
    assert analyse(f"SELECT * FROM digitaltwins T WHERE {condition}").where is not None


@pytest.mark.parametrize("text", REFUSED)
def test_what_the_guide_says_is_missing_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as error:
        analyse(text)
    assert error.value.code == "SqlQueryError"
