from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from gemel.security.audit import AuditEntry, storable_entry
from gemel.security.spool import Refusal, Spool


def refusal(target: str = "t", number: int = 0) -> Refusal:
    entry = AuditEntry("a", None, "twin.put", target, "DatabaseUnavailable", "f" * 32)
    return Refusal(uuid4(), 1, number, storable_entry(entry))


def emptied(spool: Spool) -> list[Refusal]:
    assert spool.take()
    found = [one for chunk in spool.chunks() for one in chunk]
    spool.drop()
    return found


def test_what_was_appended_is_taken_once_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.is_empty()
    assert not spool.take()
    first, second, third = ([refusal(number=n) for _ in range(2)] for n in range(3))
    assert spool.append(first) == spool.append(second) == [True, True]
    assert stat.S_IMODE((tmp_path / "refusals.jsonl").stat().st_mode) == 0o600
    assert spool.take()
    spool.append(third)
    assert Spool(tmp_path).take(), "a later process finds what was taken and not dropped"
    assert emptied(spool) == first + second
    assert emptied(Spool(tmp_path)) == third
    assert spool.is_empty()


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    one, two = refusal(), refusal()
    Spool(tmp_path).append([one])
    with (tmp_path / "refusals.jsonl").open("ab") as file:
        file.write(b'\n{"refusal":"0b2')
    Spool(tmp_path).append([two])
    assert emptied(Spool(tmp_path)) == [one, two]


def test_it_is_bounded_over_both_files_and_says_what_it_did_not_take(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=1000)
    fits = spool.append([refusal() for _ in range(10)])
    kept = sum(fits)
    assert 0 < kept < 10
    assert fits == [True] * kept + [False] * (10 - kept)
    assert spool.append([refusal()]) == [False]
    assert spool.take()
    assert spool.append([refusal()]) == [False], "what was taken is on the disk still"
    assert len(emptied(spool)) == kept
    assert spool.append([refusal()]) == [True]


@given(st.text(st.characters(exclude_categories=[]), max_size=600))
def test_any_text_comes_back_as_the_trail_would_keep_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool, one = Spool(Path(folder)), refusal(text)
        spool.append([one])
        assert emptied(spool) == [one]
