"""What is sent: the station from now on, and a recording in its own order."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from gemel.base.errors import InvalidError
from gemel.demo.feeds import Outgoing, open_recording, recorded, station

START_US = 1_750_000_000_000_000
HEADER = (
    "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;"
    "Volume Flow RateRMS;anomaly;changepoint"
)


def row(time: str, current: str = "1.5") -> str:
    return f"{time};0.1;0.2;{current};0.05;90.5;22.5;230.0;76.0;0.0;0.0"


def read(tmp_path: Path, *rows: str) -> list[Outgoing]:
    file = tmp_path / "rig.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    with open_recording(file) as source:
        return list(recorded(source))


def test_the_station_starts_now_and_says_what_is_on_time() -> None:
    sent = list(itertools.islice(station(lambda: START_US), 3000))
    assert sent[0].due_us == START_US
    assert {event.timely for event in sent} == {True, False}
    for event in sent:
        body = json.loads(event.line)
        assert (event.twin, list(event.paths)) == (body["subject"], list(body["data"]))
        if event.timely:
            assert body["time"].startswith("2025-06-15T")


def test_a_recording_keeps_its_times_and_values(tmp_path: Path) -> None:
    first, second = read(tmp_path, row("2020-03-01 15:44:06"), row("2020-03-01 15:44:07", "2.5"))
    assert second.due_us - first.due_us == 1_000_000
    body = json.loads(second.line)
    assert (body["subject"], body["time"]) == ("rig-1", "2020-03-01T15:44:07Z")
    assert body["data"]["motor.current"] == 2.5
    assert set(second.paths) == set(body["data"])


def test_a_row_without_a_time_goes_out_with_the_one_before_it_or_the_first_that_has_one(
    tmp_path: Path,
) -> None:
    times = ["soon", "2020-03-01 15:44:06", "?", "2020-03-01 15:44:07"]
    sent = read(tmp_path, *map(row, times))
    assert [event.due_us - sent[0].due_us for event in sent] == [0, 0, 0, 1_000_000]
    assert [json.loads(event.line)["time"] for event in sent][::2] == ["soon", "?"]


def test_rows_that_have_no_columns_are_sent_too(tmp_path: Path) -> None:
    sent = read(tmp_path, "nonsense", row("2020-03-01 15:44:06"))
    assert len(sent) == 2
    assert sent[0].due_us == sent[1].due_us > 0
    assert sum(b"nonsense" in event.line for event in sent) == 1
    assert [event.due_us for event in read(tmp_path, "nonsense")] == [0]


def test_a_file_that_is_no_recording_is_told_of_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="cannot be read"):
        open_recording(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    with pytest.raises(InvalidError, match="no column 'Accelerometer1RMS'"):
        open_recording(tmp_path / "other.csv")
