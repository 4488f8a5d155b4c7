from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gemel.base.errors import EnvironmentFaultError, InvalidError, UnauthenticatedError
from gemel.base.settings import Settings
from gemel.cli.checks import CHECKS, Verdict
from gemel.cli.facts import ColdFacts, Facts, QueueFacts, ServerFacts, skew_s

GIB = 1 << 30
HERE = Settings(data_dir=Path("/srv/gemel"))
REACHED = ServerFacts(
    url="http://127.0.0.1:8080", ready=True, skew_s=0.0, scopes=("admin", "read"), quarantined=0, queues=()
)
NOT_ASKED = EnvironmentFaultError("SourceUnavailable", "It declines the topic.")
WELL = Facts(
    settings=HERE,
    port=8080,
    python=(3, 12),
    data_dir_mode=0o700,
    data_dir_writable=True,
    key_mode=0o600,
    certificate=Path("/srv/gemel/tls.crt"),
    certificate_days=800.0,
    free_bytes=50 * GIB,
    programs={"postgres": "postgres (PostgreSQL) 18.1"},
    pending=(),
    cold=ColdFacts(3),
    server=REACHED,
)
OWN = replace(WELL, settings=replace(HERE, database_url="postgresql://x"))
GONE = ServerFacts(fault=EnvironmentFaultError("ServerUnreachable", "No gemel serves it.", "Start one."))


def tried(*queues: QueueFacts) -> Facts:
    return replace(WELL, server=replace(REACHED, queues=queues))


def test_all_is_well_where_it_is() -> None:
    assert {name: check(WELL).verdict for name, check in CHECKS.items()} == dict.fromkeys(CHECKS, Verdict.OK)


@pytest.mark.parametrize(
    ("check", "facts", "verdict", "said"),
    [
        ("python", replace(WELL, python=(3, 9)), Verdict.FAIL, "3.9"),
        ("extras", replace(WELL, extras_missing=("arrow",)), Verdict.WARN, "arrow"),
        ("bundled PostgreSQL", replace(WELL, programs={"initdb": ""}), Verdict.FAIL, "initdb"),
        (
            "bundled PostgreSQL",
            replace(WELL, programs_fault=EnvironmentFaultError("DatabaseFailed", "Not installed.")),
            Verdict.FAIL,
            "Not installed",
        ),
        (
            "bundled PostgreSQL",
            replace(WELL, settings=replace(HERE, database_url="postgresql://x")),
            Verdict.SKIPPED,
            "GEMEL_DATABASE_URL",
        ),
        (
            "broker queues",
            tried(QueueFacts("a", 5000, 5000), QueueFacts("b", 5000, 1000)),
            Verdict.WARN,
            "b kept 1,000",
        ),
        ("broker queues", tried(QueueFacts("a", 5000, 5000)), Verdict.OK, "1 of MQTT sources"),
        (
            "broker queues",
            tried(QueueFacts("a", 5000, 5000, None, 250)),
            Verdict.OK,
            "a: 20 s of the 250 a second",
        ),
        (
            "broker queues",
            tried(QueueFacts("a", 5000, 1000, None, 250)),
            Verdict.WARN,
            "messages: 4 s of the 250",
        ),
        ("broker queues", tried(QueueFacts("a", fault=NOT_ASKED)), Verdict.WARN, "a: It declines"),
        ("broker queues", replace(WELL, server=replace(REACHED, queues=None)), Verdict.SKIPPED, "--probe"),
        ("cold weeks", replace(WELL, cold=None), Verdict.SKIPPED, "only where"),
        ("cold weeks", replace(WELL, cold=ColdFacts(3, ("1/a.parquet",))), Verdict.FAIL, "1 of 3 files"),
        ("cold weeks", replace(WELL, cold=ColdFacts(3, (), NOT_ASKED)), Verdict.FAIL, "It declines"),
        ("database locks", replace(OWN, locks=None), Verdict.SKIPPED, "not reached"),
        ("database locks", replace(OWN, locks=64), Verdict.WARN, "64"),
        ("database locks", replace(OWN, locks=2048), Verdict.OK, "2048"),
        ("data directory", replace(WELL, data_dir_mode=None), Verdict.WARN, "does not exist"),
        ("data directory", replace(WELL, data_dir_mode=0o750), Verdict.FAIL, "0750"),
        ("data directory", replace(WELL, data_dir_writable=False), Verdict.FAIL, "not writable"),
        ("certificate", replace(WELL, certificate=None), Verdict.SKIPPED, "--tls"),
        ("certificate", replace(WELL, certificate_days=29.0), Verdict.WARN, "29 days"),
        ("certificate", replace(WELL, certificate_days=-1.0), Verdict.FAIL, "-1 days"),
        (
            "certificate",
            replace(WELL, certificate_fault=InvalidError("CertificateInvalid", "No certificate.")),
            Verdict.FAIL,
            "No certificate",
        ),
        ("key file", replace(WELL, key_mode=None), Verdict.WARN, "default.key"),
        ("key file", replace(WELL, key_mode=0o640), Verdict.FAIL, "0640"),
        ("key file", replace(WELL, key_mode=None, settings=replace(HERE, key="k")), Verdict.SKIPPED, "--key"),
        ("disk", replace(WELL, free_bytes=GIB), Verdict.WARN, "1.0 GiB"),
        ("disk", replace(WELL, free_bytes=GIB // 10), Verdict.FAIL, "0.1 GiB"),
        ("port", replace(WELL, port_fault="Address already in use"), Verdict.FAIL, "8080"),
        ("port", replace(WELL, port_fault="Address already in use", holder_pid=7), Verdict.SKIPPED, "7"),
        ("server", replace(WELL, server=GONE), Verdict.WARN, "No gemel serves"),
        ("server", replace(WELL, server=GONE, holder_pid=7), Verdict.FAIL, "No gemel serves"),
        ("server", replace(WELL, server=GONE, settings=replace(HERE, url="http://x")), Verdict.FAIL, "No"),
        (
            "readiness",
            replace(WELL, server=replace(REACHED, ready=False, ready_fault="DB")),
            Verdict.FAIL,
            "DB",
        ),
        ("readiness", replace(WELL, server=GONE), Verdict.SKIPPED, "reached"),
        (
            "key",
            replace(
                WELL, server=replace(REACHED, key_fault=UnauthenticatedError("TokenInvalid", "Revoked."))
            ),
            Verdict.FAIL,
            "Revoked.",
        ),
        ("key", replace(WELL, server=replace(REACHED, scopes=None)), Verdict.OK, "not admin"),
        ("key", replace(WELL, server=GONE), Verdict.SKIPPED, "reached"),
        ("database schema", replace(WELL, pending=None), Verdict.SKIPPED, "does not run"),
        ("database schema", replace(WELL, pending=None, orphan_pid=9), Verdict.WARN, "runs as process 9"),
        ("database schema", replace(WELL, pending=("0002_x",)), Verdict.FAIL, "0002_x"),
        ("database schema", replace(WELL, unknown=("0009_y",)), Verdict.FAIL, "0009_y"),
        (
            "database schema",
            replace(WELL, schema_fault=EnvironmentFaultError("DatabaseFailed", "Dead.")),
            Verdict.FAIL,
            "Dead.",
        ),
        ("clock", replace(WELL, server=replace(REACHED, skew_s=-3.0)), Verdict.WARN, "3 s behind"),
        ("clock", replace(WELL, server=replace(REACHED, skew_s=60.0)), Verdict.FAIL, "60 s ahead"),
        ("clock", replace(WELL, server=replace(REACHED, skew_s=None)), Verdict.SKIPPED, "time"),
        ("quarantine", replace(WELL, server=replace(REACHED, quarantined=1200)), Verdict.WARN, "1,200"),
        ("quarantine", replace(WELL, server=replace(REACHED, quarantined=None)), Verdict.SKIPPED, "scope"),
    ],
)
def test_a_fault_is_found_named_and_has_a_next_step(
    check: str, facts: Facts, verdict: Verdict, said: str
) -> None:
    finding = CHECKS[check](facts)
    assert finding.verdict is verdict
    assert said in finding.said
    assert bool(finding.remedy) == (verdict in {Verdict.WARN, Verdict.FAIL})


@pytest.mark.parametrize(
    ("date", "before_s", "after_s", "expected"),
    [
        ("Thu, 01 Jan 1970 00:01:40 GMT", 100.9, 101.1, 0.0),
        ("Thu, 01 Jan 1970 00:01:41 GMT", 100.9, 101.1, 0.0),
        ("Thu, 01 Jan 1970 00:01:50 GMT", 100.9, 101.0, 9.0),
        ("Thu, 01 Jan 1970 00:01:30 GMT", 100.5, 101.0, -9.5),
        (None, 1.0, 2.0, None),
        ("yesterday", 1.0, 2.0, None),
    ],
)
def test_a_clock_is_only_called_wrong_where_its_whole_seconds_prove_it(
    date: str | None, before_s: float, after_s: float, expected: float | None
) -> None:
    assert skew_s(date, before_s, after_s) == expected
