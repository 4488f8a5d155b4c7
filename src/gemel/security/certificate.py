"""The certificate that a data directory makes for itself.

It is signed by its own key (RFC 5280), names this machine, and is no authority: it vouches for one server and for
nothing else.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from gemel.base.errors import EnvironmentFaultError
from gemel.security.tls import TlsFiles, unusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, GeneralName

__all__ = ["days_left", "ensure_certificate", "own_files"]

CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
DAYS = 800  # Apple's systems take no server certificate of more than 825
RENEW_DAYS = 90
SKEW = timedelta(days=1)  # a client's clock may be behind ours
ALWAYS = ("localhost", "127.0.0.1", "::1")
DNS_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)


def own_files(data_dir: Path) -> TlsFiles:
    """Return where the data directory keeps the certificate that it made for itself."""
    return TlsFiles(data_dir / CERTIFICATE_FILE, data_dir / KEY_FILE)


def ensure_certificate(data_dir: Path, host: str, now: datetime | None = None) -> str:
    """Make the data directory's certificate, or renew it where it has to be; return why, or "".

    It is renewed within 90 days of its end, where it does not name `host`, and where it is not of its key. A
    renewed one has the same key, and names what the old one named. The key is for its owner alone. Raises
    EnvironmentFaultError (DataDirectoryUnusable) where the files cannot be read or written.
    """
    files, now = own_files(data_dir), now or datetime.now(UTC)
    try:
        if not files.key.exists():
            _write_new(files.key, _key_pem())
        key = _load_key(files.key)
        old = _load(files.certificate) if files.certificate.exists() else None
        why = _why_renew(old, key, host, now)
        if why:
            names = {*ALWAYS, *_of_this_machine(host), *(_names(old) if old else ())}
            _replace(files.certificate, _sign(key, sorted(names), now))
    except (OSError, ValueError, TypeError) as error:
        raise EnvironmentFaultError(
            "DataDirectoryUnusable",
            f"The certificate {files.certificate} or its key cannot be used: {error}.",
            "Check their rights, or remove both: they are made anew, and remote clients must trust the new one.",
        ) from error
    return why


def days_left(certificate: Path, now: datetime | None = None) -> float:
    """Return for how many days a certificate is still good; raise InvalidError (CertificateInvalid)."""
    try:
        end = _load(certificate).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise unusable(certificate, error) from error
    return (end - (now or datetime.now(UTC))) / timedelta(days=1)


def _why_renew(old: Certificate | None, key: EllipticCurvePrivateKey, host: str, now: datetime) -> str:
    if old is None:
        return "there was none"
    if old.public_key() != key.public_key():
        return "it was of another key"
    if old.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        return f"it was within {RENEW_DAYS} days of its end"
    if not set(_host_names(host)) <= _names(old):
        return f"it did not name {host}"
    return ""


def _of_this_machine(host: str) -> list[str]:
    return [name for given in (host, socket.gethostname()) for name in _host_names(given)]


def _host_names(host: str) -> list[str]:
    """Return the host as a certificate names it; nothing for an address that stands for all."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return [host.lower()] if DNS_NAME.fullmatch(host) else []
    return [] if address.is_unspecified else [str(address)]


def _names(certificate: Certificate) -> set[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *(str(address) for address in addresses)}


def _sign(key: EllipticCurvePrivateKey, names: list[str], now: datetime) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    title = f"gemel on {socket.gethostname()}"[:64]
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    purpose = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
         "crl_sign", "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **purpose), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def _general(name: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(file: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError(f"{file} is no key of ours")
    return key


def _load(file: Path) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(file.read_bytes())


def _replace(file: Path, content: bytes) -> None:
    draft = _draft(file, content, 0o644)
    os.replace(draft, file)


def _write_new(file: Path, content: bytes) -> None:
    draft = _draft(file, content, 0o600)
    try:
        # A link fails where the name exists: of several that start at once, one makes the key.
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _draft(file: Path, content: bytes, mode: int) -> Path:
    draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    return draft
