from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemel.store.postmaster import read_pid_file
from support.command_line import ASSETS, Site, serving

STATION = "dtmi:gemel:demo:Station;1"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        assert served.run("models", "add", str(ASSETS / "station" / "models.json")).code == 0
        assert served.run("twins", "create", "station", "--model", STATION, "--set", "power=7.25").code == 0
        yield served


def verdicts(site: Site, *arguments: str) -> dict[str, str]:
    done = site.run("doctor", *arguments, "--json")
    found = {entry["check"]: entry["verdict"] for entry in json.loads(done.out)}
    assert done.code == (1 if "fail" in found.values() else 0), done
    return found


def test_the_first_start_makes_a_key_that_only_its_owner_reads(site: Site) -> None:
    assert stat.S_IMODE((site.data / "default.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(site.data.stat().st_mode) == 0o700


def test_a_second_up_is_refused_and_harms_nothing(site: Site) -> None:
    done = site.run("up", "--port", "0", "--json")
    assert (done.code, done.error()["code"]) == (1, "DataDirectoryInUse")
    assert site.url in done.error()["message"]
    assert site.run("twins", "get", "station", "--json").json()["power"] == 7.25


def test_a_port_that_is_taken_is_named(site: Site, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = site.run("up", "--port", port, "--data", str(tmp_path / "other"), "--json")
    assert (done.code, done.error()["code"]) == (1, "PortInUse")
    assert port in done.error()["message"]


def test_keys_are_made_used_listed_and_revoked(site: Site) -> None:
    made = site.run("key", "create", "--name", "dashboard", "--scope", "read", "--json").json()
    key = {"GEMEL_KEY": made["key"]}
    assert site.run("twins", "list", **key).code == 0
    refused = site.run("twins", "patch", "station", "--set", "power=1", "--json", **key)
    assert (refused.code, refused.error()["code"]) == (1, "ScopeMissing")

    listed = {entry["keyId"]: entry for entry in site.run("key", "list", "--json").json()}
    assert listed[made["keyId"]]["scopes"] == ["read"]
    assert made["key"] not in site.run("key", "list", "--json").out

    assert site.run("key", "revoke", made["keyId"]).code == 0
    again = site.run("key", "revoke", made["keyId"], "--json")
    assert (again.code, again.error()["code"]) == (1, "KeyNotFound")
    wanted = (1, "TokenInvalid")
    results = (site.run("twins", "list", "--json", **key) for _ in range(20))
    assert any((done.code, done.error()["code"]) == wanted for done in results if done.code)


def test_a_key_without_json_is_alone_on_standard_output(site: Site) -> None:
    done = site.run("key", "create", "--name", "line", "--scope", "ingest")
    assert done.out.startswith("gk_")
    assert len(done.out.split()) == 1


def test_tenants_see_only_what_is_theirs(site: Site) -> None:
    assert site.run("tenant", "create", "north").code == 0
    assert {t["name"] for t in site.run("tenant", "list", "--json").json()} == {"default", "north"}
    again = site.run("tenant", "create", "north", "--json")
    assert (again.code, again.error()["code"]) == (1, "TenantAlreadyExists")
    made = site.run("key", "create", "--tenant", "north", "--name", "n", "--scope", "read", "--json").json()
    other = site.run("twins", "get", "station", "--json", GEMEL_KEY=made["key"])
    assert (other.code, other.error()["code"]) == (1, "DigitalTwinNotFound")


def test_the_audit_trail_tells_of_acts_and_refusals(site: Site) -> None:
    site.run("twins", "delete", "nowhere")
    entries = site.run("audit", "--json").json()
    acts = {(entry["action"], entry["target"], entry["result"]) for entry in entries}
    assert ("twin.put", "station", "ok") in acts
    assert ("twin.delete", "nowhere", "DigitalTwinNotFound") in acts
    numbers = [entry["number"] for entry in entries]
    assert numbers == sorted(numbers, reverse=True)
    assert "twin.put" in site.run("audit").out
    assert "There are more; --limit was 1" in site.run("audit", "--limit", "1").err


def acts(site: Site, *arguments: str) -> list[tuple[str, str, str]]:
    entries = site.run("audit", *arguments, "--json").json()
    assert {entry["tenant"] for entry in entries} <= {"platform", "default"}
    return [(entry["action"], entry["target"], entry["result"]) for entry in entries]


def test_operators_acts_and_refusals_are_in_the_platforms_trail(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "audited.gemel"
    site.run("tenant", "create", "south")
    site.run("tenant", "create", "south")
    site.run("tenant", "create", "South!")
    site.run("key", "create", "--tenant", "nobody", "--name", "k", "--scope", "read")
    site.run("key", "revoke", "missing")
    site.run("history", "retain", "--days", "9000", "--tenant", "south", "--yes")
    site.run("history", "retain", "--days", "9000", "--tenant", "south", "--dry-run")
    site.run("history", "retain", "--days", "9000", "--tenant", "nobody", "--yes")
    site.run("backup", str(file))
    site.run("restore", str(file), "--replace")
    me = f"operator:{pwd.getpwuid(os.geteuid()).pw_name}"
    told = acts(site, "--platform", "--actor", me)
    assert told[:9][::-1] == [
        ("tenant.create", "south", "ok"),
        ("tenant.create", "south", "TenantAlreadyExists"),
        ("tenant.create", "South!", "InvalidArgument"),
        ("key.create", "nobody/k", "TenantNotFound"),
        ("key.revoke", "default/missing", "KeyNotFound"),
        ("history.retain", "south", "ok"),
        ("history.retain", "nobody", "TenantNotFound"),
        ("database.backup", str(file), "ok"),
        ("database.restore", str(file), "DataDirectoryInUse"),
    ]
    assert acts(site, "--platform", "--limit", "1") == [("audit.list", "platform", "ok")]
    refused = acts(site, "--platform", "--action", "tenant.create", "--result", "InvalidArgument")
    assert refused == [("tenant.create", "South!", "InvalidArgument")]


def test_a_trail_is_filtered_and_paged_alike_over_http_and_as_the_operator(site: Site) -> None:
    for _ in range(3):
        site.run("twins", "delete", "filtered")
    over_http = site.run("audit", "--target", "filtered", "--json").json()
    as_operator = site.run("audit", "--tenant", "default", "--target", "filtered", "--json").json()
    assert over_http == as_operator
    assert [entry["result"] for entry in over_http] == ["DigitalTwinNotFound"] * 3
    for trail in ([], ["--tenant", "default"]):
        rest = ["--target", "filtered", "--before", str(over_http[0]["number"])]
        assert site.run("audit", *trail, *rest, "--json").json() == over_http[1:]
        at = over_http[1]["at"]
        since = site.run("audit", *trail, "--target", "filtered", "--since", at, "--json").json()
        until = site.run("audit", *trail, "--target", "filtered", "--until", at, "--json").json()
        assert (since, until) == (over_http[:2], over_http[2:])
        bad = site.run("audit", *trail, "--since", "yesterday", "--json")
        assert (bad.code, bad.error()["code"]) == (1, "InvalidArgument")
        assert "default" in site.run("audit", *trail, "--action", "twin.delete", "--limit", "1").out
    nobody = site.run("audit", "--tenant", "nobody", "--json")
    assert (nobody.code, nobody.error()["code"]) == (1, "TenantNotFound")
    both = site.run("audit", "--tenant", "default", "--platform", "--json")
    assert (both.code, both.error()["code"]) == (2, "UsageInvalid")


def test_the_schema_is_up_to_date(site: Site) -> None:
    status = site.run("db", "status", "--json").json()
    assert status["applied"]
    assert (status["pending"], status["unknown"]) == ([], [])
    assert site.run("db", "migrate", "--json").json() == {"applied": []}


def test_doctor_finds_a_site_well_and_names_what_is_not(site: Site, tmp_path: Path) -> None:
    found = verdicts(site)
    assert "fail" not in found.values(), found
    assert {found[name] for name in ("server", "readiness", "key", "database schema", "key file")} == {"ok"}

    (site.data / "default.key").chmod(0o644)
    try:
        assert verdicts(site)["key file"] == "fail"
    finally:
        (site.data / "default.key").chmod(0o600)

    gone = verdicts(site, "--data", str(tmp_path / "none"))
    assert (gone["data directory"], gone["server"], gone["database schema"]) == ("warn", "warn", "skipped")
    assert not (tmp_path / "none").exists()
    assert verdicts(site, "--key", "gk_1_aaaaaaaa_" + "A" * 43)["key"] == "fail"


def test_doctor_sees_a_database_that_a_killed_server_left_behind(tmp_path: Path) -> None:
    left = Site(tmp_path / "left")
    try:
        left.start()
        left.stop(signal.SIGKILL)
        told = left.run("doctor").out
        assert "gemel up` adopts it" in " ".join(told.split())
        assert "does not run" not in told
        left.start()
        assert left.run("twins", "list").code == 0
    finally:
        left.close()


def test_doctor_without_json_says_what_to_do(site: Site, tmp_path: Path) -> None:
    done = site.run("doctor", "--data", str(tmp_path / "none"))
    assert "gemel up" in done.out


def test_a_backup_is_restored_elsewhere_and_serves_the_same(site: Site, tmp_path: Path) -> None:
    file, copy = tmp_path / "plant.gemel", Site(tmp_path / "copy")
    assert site.run("backup", str(file)).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    busy = site.run("restore", str(file), "--replace", "--json")
    assert (busy.code, busy.error()["code"]) == (1, "DataDirectoryInUse")
    try:
        assert copy.run("restore", str(file)).code == 0
        full = copy.run("restore", str(file), "--json")
        assert (full.code, full.error()["code"]) == (1, "OperationNotAllowed")
        assert copy.run("restore", str(file), "--replace").code == 0
        trail = acts(copy, "--platform", "--target", str(file))
        assert trail == [("database.restore", str(file), "ok")], "the others went with the database replaced"
        copy.start()
        for question in (["twins", "get", "station"], ["models", "list"], ["history", "show", "station"]):
            assert copy.run(*question, "--json").json() == site.run(*question, "--json").json()
    finally:
        copy.close()


def test_a_file_that_is_no_backup_leaves_no_database_behind(site: Site, tmp_path: Path) -> None:
    file, fresh = tmp_path / "bad.gemel", tmp_path / "fresh"
    file.write_text("not a backup")
    refused = site.run("restore", str(file), "--data", str(fresh), "--json")
    assert (refused.code, refused.error()["code"]) == (1, "BackupInvalid")
    assert not fresh.exists()


def test_retention_is_told_before_it_is_done_and_unset(site: Site) -> None:
    told = site.run("history", "retain", "--days", "30", "--dry-run", "--json").json()
    assert told["dryRun"] is True
    assert set(told["lines"]) >= {"default"}
    unasked = site.run("history", "retain", "--days", "30", "--json")
    assert (unasked.code, unasked.error()["code"]) == (2, "UsageInvalid")
    assert "--yes" in unasked.error()["next"]

    done = site.run("history", "retain", "--days", "30", "--yes", "--json").json()
    assert done == {**told, "dryRun": False}
    site.run("history", "retain", "--days", "300", "--tenant", "default", "--yes")
    kept = {entry["name"]: entry for entry in site.run("history", "retain", "--json").json()}
    assert (kept["platform"]["days"], kept["default"]["days"]) == (30, 300)
    assert kept["default"]["line"] == told["lines"]["default"]

    assert site.run("history", "retain", "--forever", "--tenant", "default").code == 0
    assert site.run("history", "retain", "--forever").code == 0
    shown = site.run("history", "retain").out
    assert "for ever" in shown
    assert told["lines"]["default"] in shown


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--days", "30", "--tenant", "nobody", "--yes"], (1, "TenantNotFound")),
        (["--days", "30", "--forever"], (2, "UsageInvalid")),
        (["--dry-run"], (2, "UsageInvalid")),
    ],
)
def test_retention_refuses_what_it_cannot_do(site: Site, arguments: list[str], code: tuple[int, str]) -> None:
    refused = site.run("history", "retain", *arguments, "--json")
    assert (refused.code, refused.error()["code"]) == code


@pytest.mark.parametrize("arguments", [["up", "--port", "0"], ["tenant", "list"], ["db", "status"]])
def test_a_database_that_is_not_there_is_told_of(site: Site, tmp_path: Path, arguments: list[str]) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/none"
    done = site.run(*arguments, "--data", str(tmp_path / "x"), "--json", GEMEL_DATABASE_URL=nowhere)
    assert (done.code, done.error()["code"]) == (1, "DatabaseFailed")
    assert "refused" in done.error()["message"]


def test_no_server_is_exit_code_3_and_says_how_to_start_one(site: Site, tmp_path: Path) -> None:
    done = site.run("twins", "list", "--data", str(tmp_path / "none"), "--json")
    assert (done.code, done.error()["code"]) == (3, "ServerUnreachable")
    assert "gemel up" in done.error()["next"]
    closed = site.run("twins", "list", "--url", "http://127.0.0.1:9", "--json")
    assert (closed.code, closed.error()["code"]) == (3, "ServerUnreachable")


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_stops_the_database_too_and_the_next_start_has_everything(
    site: Site, with_signal: int
) -> None:
    site.stop(with_signal)
    assert read_pid_file(site.data / "postgres") is None
    assert site.run("twins", "list", "--json").error()["code"] == "ServerUnreachable"
    # Operators need no server: the database runs for as long as the command.
    assert "default" in site.run("tenant", "list").out
    assert read_pid_file(site.data / "postgres") is None
    site.start()
    assert site.run("twins", "get", "station", "--json").json()["power"] == 7.25


def test_cost_is_shown_by_tenant_and_tier(site: Site) -> None:
    whole = site.run("cost", "--all", "--json").json()
    own = next(row for row in whole["tenants"] if row["tenant"] == "default")
    assert own["bytes"] > 0
    assert own["samples"] >= 1
    assert whole["unownedBytes"] > 0

    # Measured by the command before, at the latest.
    found = site.run("cost", "--json").json()
    assert {"graph", "rows", "audit"} <= {tier["tier"] for tier in found["stored"]}
    assert found["samples"] >= 1
    shown = site.run("cost", "--every", "1d")
    assert shown.code == 0
    assert "bytes per sample" in shown.out
    refused = site.run("cost", "--all", "--every", "1d", "--json")
    assert (refused.code, refused.error()["code"]) == (2, "UsageInvalid")


def test_what_was_counted_is_kept_when_the_server_stops() -> None:
    with serving() as served:
        for _ in range(3):
            assert served.run("twins", "list").code == 0
        assert served.stop() == 0
        whole = served.run("cost", "--all", "--json").json()
    own = next(row for row in whole["tenants"] if row["tenant"] == "default")
    assert own["calls"] >= 3
    assert own["sent"] > 0
