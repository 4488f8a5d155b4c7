"""Samples against a contract: each promise, and what is told where one is not kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.contracts.checking import Checker, Rule
from gemel.contracts.document import parse_contract
from gemel.contracts.junit import junit_report
from gemel.contracts.reading import check_file

NOW_US = 1_769_860_800_000_000
CONTRACT = """
contract: meters
version: "1.0"
thing: meter
time: {path: at, format: unix_s}
fields:
  kw: {type: number, unit: kW, unit_at: unit, min: 0, max: 500, required: true}
  state: {type: string, values: [idle, pumping]}
  motor.count: {type: integer}
  on: {type: boolean}
  extra: {}
others: refuse
every: {min_s: 1, max_s: 60}
late_s: 100
ahead_s: 5
""".replace("  on:", "  'on':")
START = NOW_US // 1_000_000 - 3600


def sample(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the nth sample, ten seconds after the one before."""
    good = {"meter": "m1", "at": START + 10 * number, "kw": 1.5, "unit": "kW"} | changes
    return {key: value for key, value in good.items() if value is not ...}


def checked(*samples: Any, contract: str = CONTRACT) -> Checker:
    checker = Checker(parse_contract(contract.encode(), "c.yaml"), NOW_US)
    checker.take(enumerate(samples, 1))
    return checker


def found(*samples: Any, contract: str = CONTRACT) -> dict[tuple[str, str], tuple[int, int]]:
    """Return how often each promise was not kept, and the number of the first sample."""
    findings = checked(*samples, contract=contract).findings
    return {(rule.kind, rule.field): (each.count, each.examples[0][0]) for rule, each in findings.items()}


def test_what_keeps_every_promise() -> None:
    whole = sample(1, state="idle", motor={"count": 3.0}, on=False, extra={"any": ["thing"]})
    checker = checked(sample(), whole, sample(2, kw=500, unit="kilowatt"), sample(3, state=None))
    assert checker.kept, checker.findings
    assert (checker.samples, checker.unnamed) == (4, {})


@pytest.mark.parametrize(
    ("wrong", "kind", "field"),
    [
        ({"kw": ...}, "missing", "kw"),
        ({"kw": None}, "missing", "kw"),
        ({"kw": "1.5"}, "retyped", "kw"),
        ({"kw": True}, "retyped", "kw"),
        ({"kw": float("nan")}, "retyped", "kw"),
        ({"kw": -0.1}, "range", "kw"),
        ({"kw": 10**400}, "range", "kw"),
        ({"unit": "W"}, "unit", "kw"),
        ({"unit": ...}, "unit", "kw"),
        ({"unit": "no unit"}, "unit", "kw"),
        ({"state": "off"}, "value", "state"),
        ({"motor": {"count": 1.5}}, "retyped", "motor.count"),
        ({"on": 1}, "retyped", "on"),
        ({"volt": 230}, "new", ""),
        ({"motor": {"speed": 3}}, "new", ""),
        ({"at": "now"}, "time", ""),
        ({"at": ...}, "time", ""),
    ],
)
def test_each_promise(wrong: dict[str, Any], kind: str, field: str) -> None:
    assert found(sample(0), sample(1, **wrong), sample(2)) == {(kind, field): (1, 2)}


def test_the_clock_the_rate_and_lateness_are_of_each_thing() -> None:
    assert found(sample(0), sample(10), sample(1, meter="m2")) == {("rate", ""): (1, 2)}
    assert found(sample(0), sample(at=START + 0.5)) == {("rate", ""): (1, 2)}
    assert found(sample(5), sample(0), sample(6)) == {}
    assert found(sample(0), sample(5), sample(5, at=START - 60), sample(6)) == {("late", ""): (1, 3)}
    ahead = sample(0, at=NOW_US // 1_000_000 + 6)
    assert found(ahead) == {("ahead", ""): (1, 1)}


def test_what_is_no_sample() -> None:
    assert found(sample(0), 7, [sample(1)]) == {("malformed", ""): (2, 2)}


def test_samples_within_a_message() -> None:
    within = "contract: c\nversion: '1.0'\neach: data.readings\nfields: {v: {type: number, max: 9}}"
    good = {"data": {"readings": [{"v": 1}, {"v": 2}]}}
    assert found(good, contract=within) == {}
    bad = {"data": {"readings": {"a": {"v": 10}, "b": {"v": 9}}}}
    assert found(good, bad, {"data": 3}, contract=within) == {
        ("malformed", ""): (1, 3),
        ("range", "v"): (1, 2),
    }


def test_fields_that_are_not_named_are_told_of_where_they_are_allowed() -> None:
    checker = checked(sample(0, volt=230), contract=CONTRACT.replace("refuse", "allow"))
    assert checker.kept
    assert checker.unnamed == {"volt": 1}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("kw", "state", "motor", "on", "at", "x"), VALUES))
    )
)
def test_whatever_comes_is_counted_the_same_alone_and_together(samples: list[dict[str, Any]]) -> None:
    together, alone = checked(*samples), Checker(parse_contract(CONTRACT.encode(), "c"), NOW_US)
    for number, each in enumerate(samples, 1):
        alone.take([(number, each)])
    assert together.findings == alone.findings
    ElementTree.fromstring(junit_report(together, "f").encode())


def test_the_report_has_a_test_for_each_promise() -> None:
    checker = checked(sample(0), sample(1, kw=900), sample(2, kw=-1, state="\x00\ud800"))
    report = ElementTree.fromstring(junit_report(checker, "day.csv").encode())
    (suite,) = report
    cases = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    assert int(suite.get("tests") or 0) == len(cases)
    assert {name for name, case in cases.items() if case.find("failure") is not None} == {
        ("kw", "range"),
        ("state", "value"),
    }
    failure = cases["kw", "range"].find("failure")
    assert failure is not None
    assert failure.get("message") == "kw: range, 2 samples, first 2: 900"
    assert failure.text == "sample 2: 900\nsample 3: -1"


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "parquet"])
def test_files_of_all_kinds_are_read_alike(form: str, tmp_path: Path) -> None:
    rows = [sample(n, kw=float(n % 500), state="idle" if n % 2 else None) for n in range(3000)]
    rows[2500]["kw"] = 501.5
    file = tmp_path / f"day.{form}"
    if form == "csv":
        with file.open("w", newline="") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif form == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    else:
        file.write_text(json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows)))
    checker = Checker(parse_contract(CONTRACT.encode(), "c"), NOW_US + 10**12)
    check_file(checker, file)
    assert checker.samples == 3000
    assert {rule: each.examples for rule, each in checker.findings.items()} == {
        Rule("range", "kw"): [(2501, "501.5")]
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", ""), ("a.csv", "kw\n"), ("a.parquet", "PAR1"), ("a.csv", 'kw\n"x'), ("none.json", None)],
)
def test_files_that_are_none_are_refused(name: str, text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidError) as refused:
        check_file(Checker(parse_contract(CONTRACT.encode(), "c"), NOW_US), tmp_path / name)
    assert refused.value.code == "FileUnreadable"


def test_lines_that_are_no_json_and_rows_that_are_too_short(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(f"{json.dumps(sample(0))}\n{{broken\n{json.dumps(sample(1))}\n")
    checker = Checker(parse_contract(CONTRACT.encode(), "c"), NOW_US)
    check_file(checker, tmp_path / "a.ndjson")
    assert checker.findings[Rule("malformed", "")].examples[0][0] == 2
    (tmp_path / "a.csv").write_text(f"meter,at,kw,unit\nm1,{START},1,kW\nm1,{START + 10}\n")
    checker = Checker(parse_contract(CONTRACT.encode(), "c"), NOW_US)
    check_file(checker, tmp_path / "a.csv")
    assert checker.findings[Rule("malformed", "")].examples == [(2, "2 cells, not 4")]
