"""TLS: what a server shows, and what its clients trust.

Clients on the server's own machine trust exactly the certificate that it shows, whatever name they reach it by.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NamedTuple

from gemel.base.errors import InvalidError

__all__ = ["TlsFiles", "pinned", "server_context", "trusting", "unusable"]

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class TlsFiles(NamedTuple):
    """A server's certificate, its issuers after it where it has some, and its private key; both in PEM."""

    certificate: Path
    key: Path


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a server that shows a certificate: TLS 1.2 and newer.

    Raises InvalidError (CertificateInvalid) where a file is not there, is no PEM, or the key is another's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A passphrase is never asked for: nobody may sit there.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        raise unusable(files.certificate, error, files.key) from error
    return context


def pinned(certificate: Path) -> ssl.SSLContext:
    """Return the context of a client that trusts exactly the first certificate of a file, by any host name.

    Raises InvalidError (CertificateInvalid) where the file holds none.
    """
    context = ssl.create_default_context(cadata=_first(certificate))
    # Its issuer need not be known; and who has its key is the right one, whatever the name that led there.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def trusting(authorities: Path) -> ssl.SSLContext:
    """Return the context of a client that trusts what a file of certificates vouches for, and host names in it.

    Raises InvalidError (CertificateInvalid) where the file holds none.
    """
    _first(authorities)
    context = ssl.create_default_context(cafile=authorities)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def unusable(certificate: Path, error: Exception, key: Path | None = None) -> InvalidError:
    """Return the error (CertificateInvalid) that says which files cannot be used, and why."""
    files = str(certificate) if key is None or key == certificate else f"{certificate} with the key {key}"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidError(
        "CertificateInvalid",
        f"The certificate {files} cannot be used: {reason.rstrip('.')}.",
        "Give files in PEM that belong together; the key without a passphrase.",
    )


def _first(file: Path) -> str:
    try:
        found = PEM.search(file.read_bytes())
        if found is None:
            raise ValueError("it holds no certificate in PEM")
        ssl.create_default_context(cadata=found[0].decode("ascii"))
    except (OSError, ValueError) as error:
        raise unusable(file, error) from error
    return found[0].decode("ascii")
