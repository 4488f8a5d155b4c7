from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from gemel.base.errors import GemelError
from gemel.store.postmaster import marker, processes, read_pid_file
from support.command_line import Site

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "pump-rig" / "valve1-0.csv"
TOTALS = ("accepted", "duplicate", "late", "corrected", "quarantined")
SERIES_OF_A_ROW = 11  # eight measurements, two labels, one constant
WAIT_S_MAX = 40.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "data")
    try:
        yield made
    finally:
        with suppress(GemelError):
            made.close()


def demo(site: Site, *arguments: str) -> dict[str, Any]:
    done = site.run("demo", "--port", "0", "--json", *arguments)
    assert done.code == 0, done
    report: dict[str, Any] = json.loads(done.out)
    return report


def assert_nothing_is_left(site: Site) -> None:
    assert read_pid_file(site.data / "postgres") is None
    assert processes(marker(site.data / "postgres")) == []
    named = [p.cmdline() for p in psutil.process_iter() if _names(p, site.data)]
    assert named == []


def _names(process: psutil.Process, data: Path) -> bool:
    try:
        return str(data) in process.cmdline() or process.environ().get("GEMEL_DATA") == str(data)
    except psutil.Error:
        return False


def started(site: Site, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo and wait until it streams."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gemel", "demo", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=site.environment({}),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " events " in line:
            return process
    raise AssertionError(f"the demo ended with {process.wait()}")


def test_it_ends_by_itself_every_counter_moves_and_a_second_run_goes_on(site: Site) -> None:
    done = site.run("demo", "--for", "8", "--port", "0")
    assert done.code == 0, done
    for name in (*TOTALS, "events", "lag p50", "of 10 twins"):
        assert name in done.out
    assert "started in" in done.err
    assert "Stopped" in done.err
    assert "gemel up` serves it" in done.err
    assert "gemel twins list` and" in done.err
    assert_nothing_is_left(site)

    report = demo(site, "--for", "8")
    assert all(report[name] > 0 for name in TOTALS), report
    assert report["twins"] == 10
    assert sum(report["codes"].values()) == report["quarantined"]
    assert 8 <= report["elapsed_s"] < 10
    assert 0 < report["lag_ms"]["p50"] <= report["lag_ms"]["p99"]
    assert_nothing_is_left(site)

    site.start()
    assert len(site.run("twins", "list", "--json").json()) == 10
    history = site.run("history", "show", "tank", "level", "--csv").out.splitlines()
    assert len(history) > 100
    waiting = site.run("quarantine", "list", "--json", "--limit", "1000").json()
    assert {event["code"] for event in waiting} >= set(report["codes"])


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order(site: Site, with_signal: int) -> None:
    process = started(site)
    process.send_signal(with_signal)
    out, err = process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 0, err
    assert "accepted" in out
    assert "Traceback" not in err
    assert_nothing_is_left(site)


def test_an_impatient_hand_does_not_break_the_stop(site: Site) -> None:
    process = started(site, "--json")
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    out, err = process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 0, err
    assert json.loads(out)["events"] > 0
    assert_nothing_is_left(site)


def test_a_server_that_runs_already_is_used_and_left_running(site: Site) -> None:
    site.start()
    report = demo(site, "--for", "2")
    assert report["url"] == site.url
    assert len(site.run("twins", "list", "--json").json()) == 10
    assert site.stop() == 0
    assert_nothing_is_left(site)


def test_a_platform_that_is_killed_is_told_of_and_its_database_stopped(site: Site) -> None:
    process = started(site)
    os.kill(json.loads((site.data / "gemel.lock").read_text("utf-8"))["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 3, err
    assert "The platform ended with status -9" in err
    assert_nothing_is_left(site)
    assert demo(site, "--for", "1")["accepted"] > 0


def test_a_port_that_is_taken_is_named(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = site.run("demo", "--for", "1", "--port", port, "--json")
    assert (done.code, done.error()["code"]) == (1, "PortInUse")
    assert port in done.error()["message"]
    assert "--port" in done.error()["next"]
    assert done.out == ""
    assert_nothing_is_left_but_files(site)


def assert_nothing_is_left_but_files(site: Site) -> None:
    assert [p for p in psutil.process_iter() if _names(p, site.data)] == []


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    """The first two hundred rows of a recording."""
    if not RECORDING.is_file():
        pytest.skip(f"there is no recording at {RECORDING}")
    file = tmp_path / "piece.csv"
    with RECORDING.open(encoding="utf-8") as lines:
        file.write_text("".join(islice(lines, 201)), encoding="utf-8")
    return file


def test_a_recording_is_played_through_the_same_path_twice(site: Site, piece: Path) -> None:
    first = demo(site, "--replay", str(piece), "--speed", "60")
    assert (first["events"], first["accepted"]) == (200, 200 * SERIES_OF_A_ROW)
    assert [first[name] for name in TOTALS[1:]] == [0, 0, 0, 0]
    assert first["elapsed_s"] >= 199 / 60

    second = demo(site, "--replay", str(piece), "--speed", "10000")
    assert (second["events"], second["duplicate"]) == (200, 200 * SERIES_OF_A_ROW)
    assert (second["accepted"], second["series"]) == (0, SERIES_OF_A_ROW)
    assert_nothing_is_left(site)

    site.start()
    lines = piece.read_text("utf-8").splitlines()
    rows = site.run("history", "show", "rig-1", "motor.current", "--json").json()
    names = lines[0].split(";")
    wanted = [
        (cells[0].replace(" ", "T") + ".000000Z", float(cells[names.index("Current")]))
        for cells in (line.split(";") for line in lines[1:])
    ]
    assert [(row["time"], row["value"]) for row in rows] == wanted


def test_a_file_that_is_no_recording_is_refused_before_anything_starts(site: Site, tmp_path: Path) -> None:
    missing = site.run("demo", "--replay", str(tmp_path / "none.csv"), "--json")
    assert (missing.code, missing.error()["code"]) == (1, "FileUnreadable")
    (tmp_path / "other.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    other = site.run("demo", "--replay", str(tmp_path / "other.csv"), "--json")
    assert (other.code, other.error()["code"]) == (1, "MappingInvalid")
    assert not site.data.exists()
