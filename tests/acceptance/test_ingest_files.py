"""Files through `gemel ingest`: broken off and taken up again, with rows that do not fit, in each format."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pyarrow
import pytest
from pyarrow import parquet

from gemel.connectors.files import open_source
from gemel.mapping.tables import load_mapping
from support.command_line import Site, serving

ROWS = 60_000
WAIT_S_MAX = 60.0
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Meter;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Telemetry", "name": "power", "schema": "double"},
        {"@type": "Property", "name": "count", "schema": "integer"},
        {"@type": "Property", "name": "place", "schema": "string"},
    ],
}
MAPPING = """
version: 1
source: meters
format: {type: ndjson}
time: {column: at, format: unix_ms}
twins:
  - twin: METER
    model: dtmi:test:Meter;1
    values: {power: {column: kw, unit: kW, to: W}}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    key = (site.data / "default.key").read_text("utf-8").strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=30, trust_env=False) as found:
        found.post("/models", json=[MODEL]).raise_for_status()
        yield found


class Job:
    """A file of one meter, its mapping, and the command that ingests it."""

    def __init__(self, folder: Path, twin: str) -> None:
        self.twin = twin
        self.mapping = folder / "mapping.yaml"
        self.mapping.write_text(MAPPING.replace("METER", twin), "utf-8")
        self.file = folder / "meter.ndjson"
        rows = (f'{{"at": {1_600_000_000_000 + i * 250}, "kw": {i / 8}}}\n' for i in range(ROWS))
        self.file.write_text("".join(rows), "utf-8")
        self.arguments = [
            "ingest",
            str(self.file),
            "--mapping",
            str(self.mapping),
            "--create-twins",
            "--json",
        ]

    def position(self, client: httpx.Client) -> int:
        """Return up to which row the platform has the file."""
        with open_source(self.file, load_mapping(self.mapping)) as source:
            path = f"/v1/sources/{quote(source.name, safe='')}/position"
        kept = client.get(path).raise_for_status().json()["position"]
        return int(kept.split(":")[1]) if kept else 0

    def wait(self, client: httpx.Client, row: int) -> None:
        """Wait until the platform has the file up to a row."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        while self.position(client) < row:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def assert_whole(self, client: httpx.Client) -> None:
        """Assert that history is the file, each row once."""
        values: list[float] = []
        after: str | None = None
        while after is not None or not values:
            asked = {"path": "power", "limit": "100000"} | ({"after": after} if after else {})
            page = client.get(f"/v1/twins/{self.twin}/history", params=asked).raise_for_status().json()
            values += [row["value"] for row in page["values"]]
            after = page["after"]
        assert values == [i / 8 * 1000.0 for i in range(ROWS)]


def test_a_killed_ingest_goes_on_where_it_was_left(site: Site, client: httpx.Client, tmp_path: Path) -> None:
    job = Job(tmp_path, "meter-1")
    first = site.popen(*job.arguments)
    job.wait(client, 10_000)
    first.kill()
    first.communicate()
    kept = job.position(client)
    assert 10_000 <= kept < ROWS
    done = site.run(*job.arguments).json()
    assert kept <= done["resumed_row"] < ROWS
    assert done["resumed_row"] + done["rows"] == ROWS
    assert done["accepted"] + done["duplicate"] == done["rows"]
    assert job.position(client) == ROWS
    job.assert_whole(client)


def test_an_ingest_outlives_the_kill_of_its_server(site: Site, client: httpx.Client, tmp_path: Path) -> None:
    job = Job(tmp_path, "meter-2")
    running = site.popen(*job.arguments)
    job.wait(client, 10_000)
    port = int(site.url.rpartition(":")[2])
    site.stop(signal.SIGKILL)
    assert running.poll() is None
    site.start(port)
    out, _ = running.communicate(timeout=WAIT_S_MAX)
    assert running.returncode == 0
    done = json.loads(out)
    assert done["retries"] > 0
    assert done["rows"] == done["accepted"] + done["duplicate"] == ROWS
    job.assert_whole(client)


FAULTS = """at;device;kw;n
29.03.2020 01:30;a;1.5;1
29.03.2020 02:30;a;1.5;1
25.10.2020 02:30;a;1.5;1
29.03.2020;a;1.5;1
;a;1.5;1
29.03.2020 04:00;;1.5;1
29.03.2020 04:01;a;high;1
29.03.2020 04:02;a;nan;1
29.03.2020 04:03;a;1.5;2.5
29.03.2020 04:04;a;1.5
29.03.2020 04:05;a;"1.5;1
29.03.2020 04:06;a;;
29.03.2020 04:07;a;;7
29.03.2020 04:08;a;2.5;
"""
FAULTS_MAPPING = """
version: 1
source: meters
format: {type: csv, delimiter: ";"}
time: {column: at, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
twins:
  - twin: "fault-{device}"
    model: dtmi:test:Meter;1
    values: {power: kw, count: {column: n, type: integer}}
"""


def test_rows_that_do_not_fit_wait_in_quarantine_with_a_clear_code(
    site: Site, client: httpx.Client, tmp_path: Path
) -> None:
    file, mapping = tmp_path / "t.csv", tmp_path / "m.yaml"
    file.write_text(FAULTS, "utf-8")
    mapping.write_text(FAULTS_MAPPING, "utf-8")
    ended = site.run("ingest", str(file), "--mapping", str(mapping), "--create-twins", "--json")
    assert ended.code == 4, ended.err
    done = ended.json()
    assert (done["rows"], done["empty"], done["events"], done["accepted"]) == (14, 1, 13, 4)
    codes = {row["id"].split(":")[2]: row["code"] for row in done["examples"]}
    assert codes == {
        "2": "TimeNaive", "3": "TimeNaive", "4": "TimeMalformed", "5": "TimeMalformed", "6": "SubjectMissing",
        "7": "WrongType", "8": "WrongType", "9": "WrongType", "10": "EventEmpty", "11": "EventEmpty",
    }  # fmt: skip
    waiting = client.get("/v1/quarantine", params={"code": "EventEmpty"}).raise_for_status().json()["value"]
    kept = [client.get(f"/v1/quarantine/{row['number']}").raise_for_status().text for row in waiting]
    assert any("29.03.2020 04:04;a;1.5" in text for text in kept), "the row's own text is kept"
    again = site.run("ingest", str(file), "--mapping", str(mapping), "--json").json()
    assert (again["accepted"], again["duplicate"], again["quarantined"]) == (0, 4, 10)
    assert len(client.get("/v1/quarantine").json()["value"]) == 10, "the same rows do not wait twice"


def test_the_same_rows_in_each_format_are_the_same_samples(
    site: Site, client: httpx.Client, tmp_path: Path
) -> None:
    values = [0.1, 1 / 3, -2.5e-300, 5e-324, 1.7976931348623157e308, 9007199254740993.0, -0.0]
    times = [1_600_000_000_123_456 + i for i in range(len(values))]
    (tmp_path / "csv").write_text(
        "at,kw,place\n" + "".join(f'{t},{v!r},"é;""\n{v}"\n' for t, v in zip(times, values, strict=True))
    )
    (tmp_path / "ndjson").write_text(
        "".join(
            json.dumps({"at": t, "kw": v, "place": f'é;"\n{v}'}) + "\n"
            for t, v in zip(times, values, strict=True)
        )
    )
    places = [f'é;"\n{v}' for v in values]
    table = pyarrow.table(
        {"at": pyarrow.array(times, pyarrow.timestamp("us")), "kw": values, "place": places}
    )
    parquet.write_table(table, tmp_path / "parquet")
    found = []
    for kind in ("csv", "ndjson", "parquet"):
        mapping = (
            MAPPING.replace("METER", f"same-{kind}").replace("ndjson", kind).replace("unix_ms", "unix_us")
        )
        mapping = mapping.replace("{power: {column: kw, unit: kW, to: W}}", "{power: kw, place: PLACE}")
        mapping = mapping.replace("PLACE", "{column: place, type: string}").replace("us}", "us, zone: UTC}")
        (tmp_path / "m.yaml").write_text(mapping)
        arguments = ["ingest", str(tmp_path / kind), "--mapping", str(tmp_path / "m.yaml"), "--create-twins"]
        done = site.run(*arguments, "--json").json()
        assert (done["accepted"], done["quarantined"]) == (2 * len(values), 0)
        asked = httpx.QueryParams(path=["power", "place"], limit=1000)
        rows = client.get(f"/v1/twins/same-{kind}/history", params=asked).raise_for_status().json()["values"]
        found.append([(row["path"], row["time"], row["value"]) for row in rows])
    assert [value for path, _, value in found[0] if path == "power"] == values
    assert [value for path, _, value in found[0] if path == "place"] == places
    assert found[0] == found[1] == found[2]


def test_a_mended_mapping_of_a_greater_revision_wins(
    site: Site, client: httpx.Client, tmp_path: Path
) -> None:
    file, mapping = tmp_path / "t.ndjson", tmp_path / "m.yaml"
    file.write_text('{"at": 1600000000000, "kw": 2.0}\n', "utf-8")
    wrong = MAPPING.replace("METER", "meter-mended")
    counts = []
    for text in (wrong, wrong.replace("to: W", "to: MW"), wrong.replace("to: W", "to: MW") + "revision: 1\n"):
        mapping.write_text(text, "utf-8")
        done = site.run("ingest", str(file), "--mapping", str(mapping), "--create-twins", "--json").json()
        last = client.get("/v1/twins/meter-mended/telemetry").raise_for_status().json()["values"]["power"]
        counts.append((done["accepted"], done["corrected"], last["value"]))
    assert counts == [(1, 0, 2000.0), (0, 1, 2000.0), (0, 1, 0.002)]
