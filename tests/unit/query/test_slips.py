"""What is written as in another language, or left half, is told how it is written here."""

from __future__ import annotations

import pytest

from gemel.base.errors import InvalidError
from gemel.query.compiler import analyse

SLIPS = [
    (
        "SELECT T.größe FROM digitaltwins T",
        "Position=9, Message=a name with the letter ö at 'größe FROM digitaltwins T'. "
        "Where a property is meant, write [[größe]]; an alias has only A to Z, digits and _.",
    ),
    ("SELECT T.a.温度 FROM digitaltwins T", "write [[温度]]"),
    ("SELECT * FROM digitaltwins Ä", "an alias has only A to Z"),
    ("SELECT * FROM digitaltwins T WHERE T.a = ‘x’", "Write text in straight single quotes: 'text'."),
    ("SELECT * FROM digitaltwins T WHERE T.a IS NULL", "There is no IS; write IS_NULL(T.name)"),
    (
        "SELECT * FROM digitaltwins T WHERE IS_OF_MODEL('dtmi:a;1', T)",
        "Write IS_OF_MODEL(T, 'dtmi:…;1')",
    ),
    ("SELECT * FROM digitaltwins T WHERE STARTSWITH(T.a)", "Write STARTSWITH(T.name, 'text')."),
    ("SELECT LAST(T.a) FROM digitaltwins T", "Write LAST(T.name, '1h', 'avg')."),
    ("SELECT TOP 5 * FROM digitaltwins", "Write the number in parentheses: TOP(10)."),
    ("SELECT T.* FROM digitaltwins T", "Write the alias alone for all of a twin."),
    ("SELECT * FROM digitaltwins T WHERE T.a['k'] = 1", "Write T.name.[[member]]"),
    (
        "SELECT * FROM digitaltwins T WHERE T.a = (SELECT COUNT() FROM digitaltwins)",
        "no queries within queries",
    ),
    ("SELECT * FROM digitaltwins T WHERE T.a + 1 = 2", "There is no arithmetic here"),
    ("SELECT * FROM digitaltwins T WHERE T.a = 1 && T.b = 2", "Write AND."),
    ("SELECT S FROM digitaltwins T JOIN S ON T.a", "There is no ON here; write RELATED"),
    ("SELECT a FROM digitaltwins MATCH (a)<-[:b]->(c)", "An arrow has one point"),
    ("SELECT a FROM digitaltwins MATCH (a)-[]->(b) MATCH (b)-[]->(c)", "There is one MATCH"),
    ("SELECT a FROM relationships MATCH (a)-[]->(b)", "A MATCH is of twins"),
    ("SELECT a FROM digitaltwins MATCH (a)-[*0..0]->(b)", "For just 1 write *1"),
    ("SELECT $dtId.x FROM digitaltwins", "digitaltwins have no $dtId.x"),
    ("SELECT t.$dtId FROM digitaltwins T", "t is not an alias here; write T."),
]


@pytest.mark.parametrize(("text", "message"), SLIPS)
def test_slips_have_a_remedy(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as error:
        analyse(text)
    assert error.value.code == "SqlQueryError"
    assert message in error.value.message
