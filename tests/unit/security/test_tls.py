from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from gemel.base.errors import InvalidError
from gemel.security.certificate import ensure_certificate, own_files
from gemel.security.tls import TlsFiles, pinned, server_context, trusting


def made(folder: Path, host: str = "plant.example") -> TlsFiles:
    folder.mkdir(exist_ok=True)
    ensure_certificate(folder, host)
    return own_files(folder)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Return the version that two contexts agree on; raise what the client raises."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as shaken:
            return shaken.version()
    finally:
        ours.close()
        thread.join(10)


def test_a_pinned_certificate_is_trusted_by_any_name_and_no_other_is(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    server = server_context(one)
    for name in ("127.0.0.1", "localhost", "elsewhere.example"):
        assert shake(server, pinned(one.certificate), name) == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(server, pinned(two.certificate), name)


def test_what_a_file_vouches_for_is_trusted_by_the_names_in_it(tmp_path: Path) -> None:
    files = made(tmp_path / "one")
    client = trusting(files.certificate)
    assert shake(server_context(files), client, "plant.example") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake(server_context(files), client, "elsewhere.example")


def test_strict_clients_take_it(tmp_path: Path) -> None:
    files = made(tmp_path / "one")
    client = ssl.create_default_context(cafile=files.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13 and newer
    assert shake(server_context(files), client, "localhost") == "TLSv1.3"


def test_older_versions_of_tls_are_refused(tmp_path: Path) -> None:
    files = made(tmp_path / "one")
    server = server_context(files)
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2
    client = pinned(files.certificate)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(server, client, "localhost") == "TLSv1.2"


def test_files_that_do_not_serve_are_said(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    garbage = tmp_path / "garbage"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n")
    for files in (
        TlsFiles(one.certificate, two.key),
        TlsFiles(tmp_path / "nowhere", one.key),
        TlsFiles(one.key, one.key),
        TlsFiles(garbage, one.key),
    ):
        with pytest.raises(InvalidError) as caught:
            server_context(files)
        assert caught.value.code == "CertificateInvalid"
        assert str(files.certificate) in caught.value.message
    for file in (one.key, tmp_path / "nowhere", garbage):
        for context in (pinned, trusting):
            with pytest.raises(InvalidError) as caught:
                context(file)
            assert caught.value.code == "CertificateInvalid"


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    files = made(tmp_path / "one")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(InvalidError) as caught:
        server_context(TlsFiles(files.certificate, tmp_path / "locked.key"))
    assert caught.value.code == "CertificateInvalid"
