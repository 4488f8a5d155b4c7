"""Descriptions of sources: what is taken, what is refused and how that is told, and secrets."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError, UnavailableError
from gemel.sources.definition import Backoff, Limits, parse_definition
from gemel.sources.permits import Permits, Place

GOOD = """
name: line-1
kind: mqtt
connection:
  url: mqtts://broker:8883
  password: ${env:MQTT_PASSWORD}
mapping: line.yaml
create_twins: true
limits: {events: 100, bytes: 4096}
backoff: {first_s: 0.5, max_s: 60}
"""


def test_a_description_is_read_whole() -> None:
    found = parse_definition(GOOD, "version: 1")
    assert (found.name, found.kind, found.create_twins) == ("line-1", "mqtt", True)
    assert found.connection == {"url": "mqtts://broker:8883", "password": "${env:MQTT_PASSWORD}"}
    assert found.mapping is not None
    assert (found.mapping.file, found.mapping.text) == ("line.yaml", "version: 1")
    assert (found.limits, found.backoff) == (Limits(100, 4096), Backoff(0.5, 60))


def test_what_is_not_said_has_a_default_and_a_mapping_may_stand_inside() -> None:
    found = parse_definition("name: a\nkind: folder\nconnection: {}\nmapping: {version: 1, source: x}")
    assert (found.limits, found.backoff, found.create_twins) == (Limits(), Backoff(), False)
    assert found.mapping is not None
    assert found.mapping.text == "version: 1\nsource: x\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("create_twins", "create_twin"), ["create_twin", "Did you mean create_twins?"]),
        (("name: line-1", "nam: line-1"), ["name", "Is nam meant to be it?"]),
        (("name: line-1", "name: ' '"), ["name"]),
        (("name: line-1", "name: a/b"), ["name"]),
        (("kind: mqtt", "kind: 7"), ["kind", "7"]),
        (("events: 100", "events: 0"), ["limits.events", "1 to 20000"]),
        (("events: 100", "events: 1.5"), ["limits.events", "whole"]),
        (("events: 100", "event: 100"), ["limits.event", "Did you mean events?"]),
        (("max_s: 60", "max_s: 0.1"), ["backoff.max_s"]),
        (("first_s: 0.5", "first_s: true"), ["backoff.first_s"]),
        (("create_twins: true", "create_twins: yep"), ["create_twins"]),
        (("mapping: line.yaml", "mapping: [1]"), ["mapping"]),
        (("kind: mqtt", "kind: mqtt\nkind: kafka"), ["line 4", "twice"]),
        (("kind: mqtt", "kind: [mqtt"), ["line"]),
        (("kind: mqtt", "kind: *there"), ["line 3", "alias"]),
        (("url: mqtts://broker:8883", "url: &u [1]\n  more: [*u, *u]"), ["alias"]),
        (("kind: mqtt", 'kind: "a\\0b"'), ["kind"]),
    ],
)
def test_what_is_wrong_is_told_by_its_key(change: tuple[str, str], told: list[str]) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_definition(GOOD.replace(*change), "version: 1")
    assert raised.value.code == "SourceInvalid"
    for part in told:
        assert part in str(raised.value)


def test_a_mapping_file_comes_exactly_where_one_is_named() -> None:
    with pytest.raises(InvalidError, match=r"line\.yaml"):
        parse_definition(GOOD)
    with pytest.raises(InvalidError, match="names no file"):
        parse_definition("name: a\nkind: folder\nconnection: {}", "version: 1")


@pytest.mark.parametrize(
    "connection",
    [
        "{password: hunter22}",
        "{password: 12345678}",
        "{tls: {private_key: hunter22}}",
        "{servers: [{apiKey: hunter22}]}",
        "{url: 'mqtt://user:hunter22@broker'}",
        "{password: 'x${env:A}hunter22'}",
        "{client_secret: null}",
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(connection: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_definition(f"name: a\nkind: mqtt\nconnection: {connection}")
    assert "in clear" in str(raised.value)
    for part in ("hunter22", "12345678"):
        assert part not in str(raised.value)
        assert part not in repr(raised.value)


@pytest.mark.parametrize("connection", ["{password: '${file:/run/p}'}", "{url: 'mqtt://u:${env:P}@broker'}"])
def test_a_reference_is_taken(connection: str) -> None:
    parse_definition(f"name: a\nkind: mqtt\nconnection: {connection}")


def test_a_definition_does_not_show_its_connection() -> None:
    assert "broker" not in repr(parse_definition(GOOD, ""))


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(InvalidError):
        parse_definition(text)


@given(st.floats(0.01, 100), st.floats(1, 50), st.integers(1, 10_000), st.floats(0, 0.999999))
def test_the_wait_doubles_within_its_bounds(first: float, times: float, failures: int, chance: float) -> None:
    backoff = Backoff(first, first * times)
    delay = backoff.delay_s(failures, chance)
    whole = min(backoff.max_s, first * 2.0 ** min(failures - 1, 32))
    assert whole / 2 <= delay <= whole
    assert backoff.delay_s(1, chance) <= delay


def test_the_wait_is_spread() -> None:
    rng = random.Random(7)
    assert len({Backoff().delay_s(3, rng.random()) for _ in range(50)}) == 50


PERMITS = "/srv/all, acme=/srv/acme ,env:ALL,acme=env:MINE"


def place(tenant: str, **environ: str) -> Place:
    return Place(tenant, Permits.parse(PERMITS), environ)


def test_variables_are_for_those_who_may() -> None:
    environ = {"ALL": "for-all", "MINE": "for-acme", "OTHER": "for-none"}
    assert place("acme", **environ).resolve("a ${env:ALL} b ${env:MINE}") == "a for-all b for-acme"
    assert place("other", **environ).resolve("${env:ALL}") == "for-all"
    for tenant, text in (("other", "${env:MINE}"), ("acme", "${env:OTHER}"), ("acme", "${file:/etc/passwd}")):
        for act in (place(tenant, **environ).resolve, place(tenant, **environ).check):
            with pytest.raises(InvalidError) as raised:
                act(text)
            assert raised.value.code == "SourceNotAllowed"
            assert "for-" not in str(raised.value)


def test_a_secret_that_is_not_there_may_come() -> None:
    with pytest.raises(UnavailableError) as raised:
        place("acme").resolve("${env:ALL}")
    assert raised.value.code == "SecretMissing"
    with pytest.raises(UnavailableError):
        place("acme").resolve("${file:/srv/all/missing}")


def test_folders_are_allowed_by_where_they_lead(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("permits").resolve()
    (base / "in").mkdir()
    (base / "out").mkdir()
    (base / "out" / "secret").write_text("s3cr3t\n")
    (base / "in" / "secret").write_text("s3cr3t\n")
    (base / "in" / "link").symlink_to(base / "out")
    permits = Permits.parse(f"{base}/in")
    here = Place("any", permits)
    assert here.folder(f"{base}/in") == base / "in"
    assert here.resolve(f"<${{file:{base}/in/secret}}>") == "<s3cr3t>"
    for path in ("in/link", "in/../out", "in2", "in/link/secret"):
        with pytest.raises(InvalidError):
            here.folder(f"{base}/{path}")


def test_what_others_say_is_told_without_the_secrets() -> None:
    here = place("acme", ALL="for-all")
    here.resolve("${env:ALL}")
    assert here.scrub("refused for-all@broker: for-all") == "refused [redacted]@broker: [redacted]"
    assert "for-all" not in repr(here)


@pytest.mark.parametrize("text", ["relative/folder", "env:", "acme=", "a b=/x", "env:A-B"])
def test_a_setting_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="GEMEL_SOURCES_ALLOW"):
        Permits.parse(text)


def test_nothing_is_allowed_unless_it_is_said() -> None:
    with pytest.raises(InvalidError):
        Place("acme", Permits.parse("")).folder("/srv")
