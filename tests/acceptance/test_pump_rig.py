"""All recordings of the pump rig, through `gemel ingest`, against an independent read of the files.

Whatever the order, the repetition and the number of clients: history and state are what the files say.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from support.command_line import ASSETS, Site, serving

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "pump-rig"
FILES = sorted(DATA.glob("*.csv"))
ROWS = 14_642
NUMBERS = {
    "vibration1": "Accelerometer1RMS",
    "vibration2": "Accelerometer2RMS",
    "motor.current": "Current",
    "motor.voltage": "Voltage",
    "motor.temperature": "Temperature",
    "pressure": "Pressure",
    "fluidTemperature": "Thermocouple",
    "flow": "Volume Flow RateRMS",
    "anomaly": "anomaly",
    "changepoint": "changepoint",
}
COUNTS = ("accepted", "late", "duplicate", "corrected", "quarantined")
SEED = 20_200_208

pytestmark = pytest.mark.skipif(not FILES, reason=f"the recordings are not in {DATA}")

Series = list[tuple[datetime, Any]]


class Read(NamedTuple):
    """What the platform says of a twin: each path's samples, the last values, and when each was recorded."""

    history: dict[str, Series]
    state: dict[str, tuple[datetime, Any]]
    recorded: dict[str, list[str]]


def independent() -> dict[str, Series]:
    """Read the files with nothing of ours: path → samples in order of time."""
    found: dict[str, Series] = {path: [] for path in (*NUMBERS, "site")}
    for file in FILES:
        with file.open(newline="", encoding="ascii") as lines:
            for row in csv.DictReader(lines, delimiter=";"):
                at = datetime.strptime(row["datetime"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                found["site"].append((at, "Lab"))
                for path, column in NUMBERS.items():
                    if column in row:
                        found[path].append((at, float(row[column])))
    return {path: sorted(samples) for path, samples in found.items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, Series]:
    found = independent()
    assert len(FILES) == 6
    assert len(found["flow"]) == len({at for at, _ in found["flow"]}) == ROWS
    assert len(found["anomaly"]) == ROWS - 9405
    return found


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        assert served.run("models", "add", str(ASSETS / "pump-rig" / "models.json")).code == 0
        yield served


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    key = (site.data / "default.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=60, trust_env=False) as found:
        yield found


def mapping_for(twin: str, folder: Path) -> Path:
    """Write the shipped mapping with another twin, so that each way of sending starts from nothing."""
    text = (ASSETS / "pump-rig" / "mapping.yaml").read_text("utf-8")
    assert text.count("twin: rig-1\n") == 1
    path = folder / "mapping.yaml"
    path.write_text(text.replace("twin: rig-1\n", f"twin: {twin}\n"), "utf-8")
    return path


def ingest(site: Site, mapping: Path, files: list[Path], clients: int = 1) -> dict[str, int]:
    """Ingest files, so many at a time, and return the counts of all."""
    total = dict.fromkeys(("rows", *COUNTS), 0)
    for start in range(0, len(files), clients):
        running = [
            site.popen("ingest", str(file), "--mapping", str(mapping), "--create-twins", "--json")
            for file in files[start : start + clients]
        ]
        for process in running:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0, out
            for name, count in json.loads(out).items():
                if name in total:
                    total[name] += count
    return total


def read_back(client: httpx.Client, twin: str) -> Read:
    history: dict[str, Series] = {}
    recorded: dict[str, list[str]] = {}
    for path in (*NUMBERS, "site"):
        answer = client.get(f"/v1/twins/{twin}/history", params={"path": path, "limit": 100_000})
        rows = answer.raise_for_status().json()["values"]
        history[path] = [(datetime.fromisoformat(row["time"]), row["value"]) for row in rows]
        recorded[path] = [row["recorded"] for row in rows]
    last = client.get(f"/v1/twins/{twin}/telemetry").raise_for_status().json()["values"]
    state = {path: (datetime.fromisoformat(v["sourceTime"]), v["value"]) for path, v in last.items()}
    return Read(history, state, recorded)


def assert_same(read: Read, expected: dict[str, Series]) -> None:
    for path, samples in expected.items():
        assert read.history[path] == samples, path
    assert read.state == {path: samples[-1] for path, samples in expected.items()}


def pieces(folder: Path, count: int, chance: random.Random) -> list[Path]:
    """Deal the rows of every recording out to so many files each, shuffled, and shuffle the files."""
    written = []
    for file in FILES:
        header, *rows = file.read_text("ascii").splitlines()
        chance.shuffle(rows)
        for number in range(count):
            path = folder / f"{file.stem}-{number}.csv"
            path.write_text("\n".join([header, *rows[number::count]]) + "\n", "ascii")
            written.append(path)
    chance.shuffle(written)
    return written


def test_history_is_what_the_files_say_and_the_second_time_all_is_duplicate(
    site: Site, client: httpx.Client, tmp_path: Path, expected: dict[str, Series]
) -> None:
    values = sum(map(len, expected.values()))
    mapping = mapping_for("rig-plain", tmp_path)
    # In the order of time nothing is late.
    in_time = sorted(FILES, key=lambda file: file.read_text("ascii").splitlines()[1])
    assert ingest(site, mapping, in_time) == {
        "rows": ROWS, "accepted": values, "late": 0, "duplicate": 0, "corrected": 0, "quarantined": 0,
    }  # fmt: skip
    first = read_back(client, "rig-plain")
    assert_same(first, expected)
    assert ingest(site, mapping, FILES) == {
        "rows": ROWS, "accepted": 0, "late": 0, "duplicate": values, "corrected": 0, "quarantined": 0,
    }  # fmt: skip
    assert read_back(client, "rig-plain") == first


def test_in_shuffled_order_the_outcome_is_the_same(
    site: Site, client: httpx.Client, tmp_path: Path, expected: dict[str, Series]
) -> None:
    print(f"seed {SEED}")
    files = pieces(tmp_path, 1, random.Random(SEED))
    counts = ingest(site, mapping_for("rig-shuffled", tmp_path), files)
    assert counts["accepted"] + counts["late"] == sum(map(len, expected.values()))
    assert counts["late"] > 0
    assert counts["duplicate"] + counts["corrected"] + counts["quarantined"] == 0
    assert_same(read_back(client, "rig-shuffled"), expected)


def test_split_over_concurrent_clients_the_outcome_is_the_same(
    site: Site, client: httpx.Client, tmp_path: Path, expected: dict[str, Series]
) -> None:
    print(f"seed {SEED + 1}")
    chance = random.Random(SEED + 1)
    # Every piece is sent by two clients, anywhere in the order, also at the same time.
    files = pieces(tmp_path, 2, chance) * 2
    chance.shuffle(files)
    counts = ingest(site, mapping_for("rig-split", tmp_path), files, clients=4)
    values = sum(map(len, expected.values()))
    assert counts["accepted"] + counts["late"] == counts["duplicate"] == values
    assert counts["corrected"] + counts["quarantined"] == 0
    assert_same(read_back(client, "rig-split"), expected)
