from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import ASSETS, Site, serving

RIG = "dtmi:gemel:demo:PumpRig;1"
MAPPING = ASSETS / "pump-rig" / "mapping.yaml"
HEADER = (
    "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;"
    "Volume Flow RateRMS"
)
PRESSURES = ["0.25", "0.31", "-0.125", "0.4"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        assert served.run("models", "add", str(ASSETS / "pump-rig" / "models.json")).code == 0
        yield served


def rig_file(folder: Path, pressures: list[str]) -> Path:
    rows = [
        f"2020-03-09 10:00:{second:02};0.03;0.04;1.5;{pressure};70.5;25.25;220.5;32.0"
        for second, pressure in enumerate(pressures)
    ]
    file = folder / "rig.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def ingested(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = rig_file(tmp_path_factory.mktemp("rig"), PRESSURES)
    done = site.run("ingest", str(file), "--mapping", str(MAPPING), "--create-twins", "--json")
    assert done.code == 0, done.err
    result = done.json()
    assert (result["rows"], result["events"], result["quarantined"]) == (4, 4, 0)
    return file


def test_the_same_file_again_is_all_duplicates(site: Site, ingested: Path) -> None:
    again = site.run("ingest", str(ingested), "--mapping", str(MAPPING), "--json").json()
    assert again["duplicate"] > 0
    assert (again["accepted"], again["late"], again["corrected"]) == (0, 0, 0)


@pytest.mark.usefixtures("ingested")
def test_history_reads_back_as_the_file_says_in_every_form(site: Site) -> None:
    wanted = [float(text) for text in PRESSURES]
    rows = site.run("history", "show", "rig-1", "pressure", "--json").json()
    assert [row["value"] for row in rows] == wanted
    assert rows[0]["time"] == "2020-03-09T10:00:00.000000Z"

    table = site.run("history", "show", "rig-1", "pressure", "--csv")
    assert [float(row["value"]) for row in csv.DictReader(io.StringIO(table.out))] == wanted
    assert "-0.125" in site.run("history", "show", "rig-1", "pressure", "--table").out

    plot = site.run("history", "show", "rig-1", "pressure", "motor.temperature").out
    assert "pressure  [bar]   last 0.4  min -0.125  max 0.4  n 4" in plot
    assert "motor.temperature  [°C]" in plot
    assert any(0x2801 <= ord(char) <= 0x28FF for char in plot)


@pytest.mark.usefixtures("ingested")
def test_buckets_and_limits_are_as_asked_for(site: Site) -> None:
    arguments = ["history", "show", "rig-1", "pressure"]
    rows = site.run(*arguments, "--every", "2s", "--agg", "max", "--agg", "count", "--json").json()
    assert [(row["max"], row["count"]) for row in rows] == [(0.31, 2), (0.4, 2)]
    assert len(site.run(*arguments, "--limit", "3", "--json").json()) == 3
    assert site.run(*arguments, "--limit", "3", "--csv").out.count("\n") == 4
    limited = site.run(*arguments, "--limit", "3", "--table")
    assert "more than these 3" in limited.err
    both = site.run(*arguments, "--csv", "--json")
    assert (both.code, both.error()["code"]) == (2, "UsageInvalid")


@pytest.mark.usefixtures("ingested")
def test_a_path_that_the_model_lacks_is_refused(site: Site) -> None:
    done = site.run("history", "show", "rig-1", "colour", "--json")
    assert (done.code, done.error()["code"]) == (1, "PathNotInModel")


def test_bad_rows_wait_in_quarantine_and_exit_says_so(site: Site, ingested: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "other.yaml"
    mapping.write_text(MAPPING.read_text().replace("twin: rig-1", "twin: rig-2"))
    done = site.run("ingest", str(ingested), "--mapping", str(mapping), "--json")
    assert done.code == 4
    assert done.json()["codes"] == {"TwinUnknown": 4}

    listed = site.run("quarantine", "list", "--code", "TwinUnknown", "--json").json()
    assert [event["subject"] for event in listed] == ["rig-2"] * 4
    (reader,) = {event["readFrom"] for event in listed}
    assert site.run("quarantine", "list", "--read-from", reader, "--json").json() == listed
    grouped = site.run("quarantine", "list", "--group-by", "readFrom", "--json").json()
    assert [(group["readFrom"], group["events"]) for group in grouped] == [(reader, 4)]
    # The events name the mapping's source, not the file that they were read from.
    assert "--read-from" in site.run("quarantine", "list", "--source", reader).err
    number = str(listed[0]["number"])
    shown = site.run("quarantine", "show", number)
    assert '"pressure"' in shown.out
    assert "TwinUnknown" in shown.out

    numbers = [event["number"] for event in site.run("quarantine", "list", "--json").json()]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) > 1
    after = site.run("quarantine", "list", "--after", str(numbers[-1]), "--json").json()
    assert [event["number"] for event in after] == sorted(numbers)[1:]
    newest = site.run("quarantine", "list", "--limit", "1", "--json")
    assert [event["number"] for event in newest.json()] == numbers[:1]
    assert "There are more; --limit was 1" in newest.err

    assert site.run("quarantine", "replay", number, "--json").code == 4
    for action in ("replay", "discard"):
        none = site.run("quarantine", action, "99999", "--json")
        assert (none.code, none.error()["code"]) == (1, "QuarantineNotFound")
    assert site.run("quarantine", "discard", number, "--json").json() == {"discarded": 1}
    begin = ["--valid-from", "2020-01-01T00:00:00Z"]
    assert site.run("twins", "create", "rig-2", "--model", RIG, *begin).code == 0
    replayed = site.run("quarantine", "replay", "--code", "TwinUnknown", "--json")
    assert replayed.code == 0, replayed.err
    assert (replayed.json()["events"], replayed.json()["quarantined"]) == (3, 0)
    assert site.run("quarantine", "list", "--json").json() == []
    assert len(site.run("history", "show", "rig-2", "pressure", "--json").json()) == 3


def test_quarantine_is_grouped_patched_and_let_go(site: Site, ingested: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "other.yaml"
    mapping.write_text(MAPPING.read_text().replace("twin: rig-1", "twin: rig-9"))
    assert site.run("ingest", str(ingested), "--mapping", str(mapping)).code == 4
    groups = site.run("quarantine", "list", "--group-by", "code,mapping,day", "--json").json()
    assert [(group["code"], group["events"], group["seen"]) for group in groups] == [("TwinUnknown", 4, 4)]
    number = str(groups[0]["first"])
    shown = site.run("quarantine", "show", number).out
    assert '>   "subject": "rig-9"' in shown
    assert "Create the twin" in shown

    patch = tmp_path / "fix.json"
    patch.write_text('[{"op": "replace", "path": "/subject", "value": "rig-1"}]')
    wanted = ["--code", "TwinUnknown", "--patch", str(patch)]
    dry = site.run("quarantine", "mend", *wanted, "--dry-run", "--json").json()
    assert [fate["duplicate"] > 0 for fate in dry["fates"]] == [True] * 4, "the rig has these values already"
    assert "4 of 4 would be taken" in site.run("quarantine", "mend", *wanted, "--dry-run").err
    assert len(site.run("quarantine", "list", "--json").json()) == 4
    done = site.run("quarantine", "mend", number, "--patch", str(patch), "--json")
    assert (done.code, done.json()["events"], done.json()["quarantined"]) == (0, 1, 0)
    for bad in ([number], [number, "--patch", str(tmp_path / "none")], [number, "--upgrade-to", "dtmi:x;1"]):
        assert site.run("quarantine", "mend", *bad).code == 2

    assert site.run("quarantine", "expire", "--json").json() == {"days": None, "due": {}}
    foreseen = site.run("quarantine", "expire", "--days", "7", "--dry-run", "--json").json()
    assert foreseen == {"days": 7, "expired": {}, "dryRun": True}
    assert site.run("quarantine", "expire", "--days", "7").code == 0
    assert site.run("quarantine", "expire", "--json").json()["days"] == 7
    assert site.run("quarantine", "expire", "--never").code == 0
    assert site.run("quarantine", "discard", "--from", "2020-01-01T00:00:00Z", "--json").json() == {
        "discarded": 3
    }


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_nothing_is_done_to_events_that_are_not_named(site: Site, action: str) -> None:
    done = site.run("quarantine", action, "--json")
    assert (done.code, done.error()["code"]) == (2, "UsageInvalid")


def test_a_mapping_that_is_wrong_is_named(site: Site, ingested: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "wrong.yaml"
    mapping.write_text("version: 1\n")
    done = site.run("ingest", str(ingested), "--mapping", str(mapping), "--json")
    assert (done.code, done.error()["code"]) == (1, "MappingInvalid")


def test_a_watch_tells_of_changes_and_goes_on_after_a_restart(site: Site) -> None:
    port = int(site.url.rsplit(":", 1)[1])
    assert site.run("twins", "create", "rig-9", "--model", RIG).code == 0
    watch = site.popen("watch", "rig-9", "--json", "--after", "0")
    assert watch.stdout is not None
    try:
        created = json.loads(watch.stdout.readline())
        assert (created["kind"], created["twin"]) == ("twin.created", "rig-9")
        assert site.run("twins", "patch", "rig-9", "--set", "pressure=1.5").code == 0
        first = json.loads(watch.stdout.readline())
        assert [sample["value"] for sample in first["samples"]] == [1.5]

        assert site.stop() == 0
        site.start(port)
        assert site.run("twins", "patch", "rig-9", "--set", "pressure=2.5").code == 0
        second = json.loads(watch.stdout.readline())
        assert [sample["value"] for sample in second["samples"]] == [2.5]
        assert int(second["id"]) > int(first["id"]) > int(created["id"])
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 0
        watch.stdout.close()
