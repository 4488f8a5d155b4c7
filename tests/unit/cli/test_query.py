from __future__ import annotations

import pytest

from gemel.cli import query

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
