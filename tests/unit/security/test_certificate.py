from __future__ import annotations

import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.security.certificate import days_left, ensure_certificate, own_files

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOCAL = "127.0.0.1"


def loaded(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(own_files(folder).certificate.read_bytes())


def names(folder: Path) -> set[str]:
    found = loaded(folder).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        str(value) for kind in (x509.DNSName, x509.IPAddress) for value in found.get_values_for_type(kind)
    }


def test_it_is_made_once_and_only_its_owner_reads_the_key(tmp_path: Path) -> None:
    assert ensure_certificate(tmp_path, LOCAL, NOW) == "there was none"
    files = own_files(tmp_path)
    made = files.certificate.read_bytes()
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert ensure_certificate(tmp_path, LOCAL, NOW) == ""
    assert files.certificate.read_bytes() == made
    assert {path.name for path in tmp_path.iterdir()} == {"tls.crt", "tls.key"}


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("Plant.Example", "plant.example"),
    ],
)
def test_it_names_this_machine_and_the_host(tmp_path: Path, host: str, named: str) -> None:
    ensure_certificate(tmp_path, host, NOW)
    assert {"localhost", "127.0.0.1", "::1", named} <= names(tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "plant müller", "a" * 64])
def test_what_is_no_name_is_not_named(tmp_path: Path, host: str) -> None:
    ensure_certificate(tmp_path, host, NOW)
    assert {"localhost", "127.0.0.1", "::1"} <= names(tmp_path)
    assert host.lower() not in names(tmp_path)
    assert not any(ip_address(n).is_unspecified for n in names(tmp_path) if n[0].isdigit() or ":" in n)


def test_it_is_renewed_with_the_same_key_near_its_end(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, LOCAL, NOW)
    files = own_files(tmp_path)
    key, first = files.key.read_bytes(), loaded(tmp_path)
    assert ensure_certificate(tmp_path, LOCAL, first.not_valid_after_utc - timedelta(days=91)) == ""
    later = first.not_valid_after_utc - timedelta(days=89)
    assert "end" in ensure_certificate(tmp_path, LOCAL, later)
    assert loaded(tmp_path).not_valid_after_utc - later > timedelta(days=700)
    assert loaded(tmp_path).serial_number != first.serial_number
    assert files.key.read_bytes() == key
    assert ensure_certificate(tmp_path, LOCAL, later) == ""


def test_it_is_renewed_for_another_host_and_still_names_the_first(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, "one.example", NOW)
    assert "two.example" in ensure_certificate(tmp_path, "two.example", NOW)
    assert {"one.example", "two.example"} <= names(tmp_path)
    assert ensure_certificate(tmp_path, "one.example", NOW) == ""


def test_it_is_renewed_where_the_key_is_another(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, LOCAL, NOW)
    own_files(tmp_path).key.unlink()
    assert "key" in ensure_certificate(tmp_path, LOCAL, NOW)
    assert ensure_certificate(tmp_path, LOCAL, NOW) == ""


def test_of_many_callers_at_once_one_makes_the_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ensure_certificate(tmp_path, LOCAL, NOW), range(16)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own_files(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"tls.crt", "tls.key"}


@pytest.mark.parametrize("name", ["tls.key", "tls.crt"])
def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path, name: str) -> None:
    ensure_certificate(tmp_path, LOCAL, NOW)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(EnvironmentFaultError, match=r"tls\.crt") as caught:
        ensure_certificate(tmp_path, LOCAL, NOW)
    assert caught.value.code == "DataDirectoryUnusable"
    assert (tmp_path / name).read_bytes() == b"damaged"


def test_days_left_are_told(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, LOCAL, NOW)
    assert days_left(own_files(tmp_path).certificate, NOW + timedelta(days=795)) == pytest.approx(5)
    with pytest.raises(InvalidError, match="nowhere") as caught:
        days_left(tmp_path / "nowhere")
    assert caught.value.code == "CertificateInvalid"
