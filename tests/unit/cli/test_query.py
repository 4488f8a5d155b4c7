from __future__ import annotations

import pytest

from gemel.cli import query
from gemel.cli.rows import rows_of

TWIN = {
    "$dtId": "pump-1",
    "$etag": 'W/"x"',
    "motor": {"$metadata": {"speed": {}}, "speed": 3, "drive": {"$metadata": {}, "on": True}},
    "position": {"x": 1.5},
    "$metadata": {"$model": "dtmi:x;1", "label": {}},
}


def test_components_become_dotted_columns_and_objects_stay() -> None:
    assert query.flat(TWIN) == {
        "$dtId": "pump-1",
        "motor.speed": 3,
        "motor.drive.on": True,
        "position": {"x": 1.5},
        "model": "dtmi:x;1",
    }


def test_a_table_that_is_too_wide_is_shown_row_by_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{f"column{number}": number for number in range(40)} for _ in range(2)]
    monkeypatch.setenv("COLUMNS", "100")
    query._table(rows)
    wide = capsys.readouterr().out
    assert "row 2" in wide
    assert wide.count("column39") == 2
    query._table([{"a": 1}])
    assert "row 1" not in capsys.readouterr().out


def test_no_rows_are_told_of_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    query._table([])
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "No rows.\n")


def test_an_explanation_is_shown_in_parts(capsys: pytest.CaptureFixture[str]) -> None:
    step = {"pass": "parse", "tree": {"node": "Query"}}
    indexes = {"head": True, "motor.speed": False}
    parts = {"passes": [step], "sql": "SELECT 1", "parameters": ["x"], "plan": ["Result", "  -> Scan"]}
    query._table([{**parts, "indexes": indexes}])
    told = capsys.readouterr().out
    for said in (
        "parse\n  Query()\n",
        "sql\nSELECT 1",
        '["x"]',
        "index on head: used",
        "MODEL motor.speed",
        "\n  -> Scan\n",
    ):
        assert said in told


def test_warnings_are_said_once_beside_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(rows_of(iter([([{"a": 1}], "No model has a."), ([{"a": 2}], "No model has a."), ([], "")])))
    assert rows == [{"a": 1}, {"a": 2}]
    told = capsys.readouterr()
    assert told.err.count("warning No model has a.") == 1
    assert not told.out


@pytest.mark.parametrize(
    ("tree", "advice"),
    [
        ({"model": "dtmi:t:P;1"}, "gemel index add 'dtmi:t:P;1' head"),
        ({"model": "dtmi:t:P;1", "again": ["dtmi:t:P;1"]}, "gemel index add 'dtmi:t:P;1' head"),
        (
            {"model": "dtmi:t:P;1", "other": "dtmi:t:Q;1"},
            "gemel index add MODEL head, with any model that has it",
        ),
        ({"head": 2.5}, "gemel index add MODEL head, with any model that has it"),
    ],
)
def test_an_index_is_advised_for_the_model_of_the_query(
    tree: dict[str, object], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    explained = {
        "passes": [{"pass": "written", "tree": tree}],
        "sql": "",
        "parameters": [],
        "indexes": {"head": False},
        "plan": [],
    }
    query._table([explained])
    assert f"index on head: would help; {advice}\n" in capsys.readouterr().out


def test_a_tree_is_drawn_on_as_few_lines_as_it_fits() -> None:
    leaf = {"node": "Compare", "operator": "=", "literal": {"node": "Literal", "value": "x" * 40}}
    assert query.drawn(leaf) == f'Compare(operator="=", literal=Literal(value="{"x" * 40}"))'
    drawn = query.drawn({"node": "And", "terms": [leaf, leaf]}).splitlines()
    assert [line.strip()[:8] for line in drawn] == ["And(", "terms=[", "Compare(", "Compare(", "]", ")"]
    assert drawn[2].startswith("    Compare")
