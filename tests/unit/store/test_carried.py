"""What a transaction does not carry is not asked for."""

from __future__ import annotations

from gemel.history.stored import Stretch, stored_samples
from gemel.store.carried import when_carried, without_carried


def test_parts_are_left_out_each_by_itself() -> None:
    parts = [when_carried(each) for each in ("UNION b\n", "UNION d")]
    sql = f"SELECT a {parts[0]}UNION c {parts[1]}"
    assert without_carried(sql) == "SELECT a UNION c "
    assert without_carried("SELECT 1") == "SELECT 1"


def test_samples_are_then_looked_for_in_the_database_alone() -> None:
    for order, limit in (("", None), ("DESC", "1"), ("ASC", "%(limit)s")):
        sql = stored_samples("%(series)s", Stretch(), "true", order, limit)
        assert "gemel.cold_" in sql
        assert "gemel.cold_" not in without_carried(sql)
        assert "carried" not in without_carried(sql)
