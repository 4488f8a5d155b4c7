"""A session with an OPC UA server, whose notifications are acknowledged when we say so.

This module and those that it is used by need the extra gemel[opcua].
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession
from asyncua.common.shortcuts import Shortcuts
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from gemel.base.errors import GemelError, InvalidError, UnavailableError
from gemel.outbound import OutboundPolicy
from gemel.outbound.network import resolve
from gemel.sources.permits import Place

if TYPE_CHECKING:
    from gemel.connectors.opcua import Login, Security

__all__ = ["Link", "connect", "faults"]

SESSION_MS: Final = 120_000
WATCH_S: Final = 5.0
CLOSE_S: Final = 3.0
FILE_BYTES_MAX: Final = 1 << 20
REFUSED: Final = ("BadUserAccessDenied", "BadIdentityTokenRejected", "BadIdentityTokenInvalid")


@contextmanager
def faults(url: str) -> Iterator[None]:
    """Tell what goes wrong on the other side as ours.

    UnavailableError (SourceUnavailable) for what may pass, InvalidError (SourceInvalid) for a user or password
    that the server refuses: trying again may lock the account.
    """
    try:
        yield
    except GemelError:
        raise
    except ua.UaStatusCodeError as error:
        name = ua.status_codes.get_name_and_doc(error.code)[0]
        if name in REFUSED:
            message = f"{url} refuses the user, or the password ({name})."
            hint = "Mend `user` and `password`, or have the user allowed there."
            raise InvalidError("SourceInvalid", message, hint) from error
        advice = "Have this certificate trusted on the server." if "Certificate" in name else None
        raise UnavailableError("SourceUnavailable", f"{url} answered {name}.", advice) from error
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        problem = str(error) or "no answer in time"
        raise UnavailableError("SourceUnavailable", f"{url} cannot be reached: {problem}.") from error
    except (ua.UaError, RuntimeError, ValueError) as error:
        raise UnavailableError("SourceUnavailable", f"{url}: {error}.") from error


class _Session(UaSession):  # type: ignore[misc]
    """A session that leaves it to us when the next notification is asked for, and what is acknowledged."""

    def ensure_publish_loop(self) -> None:
        """Do nothing."""


class _Client(Client):  # type: ignore[misc]
    """A client that connects to a checked address, and does not resolve the name again."""

    policy: OutboundPolicy | None = None

    async def connect_socket(self) -> None:
        """Connect to the first address of the host that answers."""
        url = self.server_url
        addresses = await resolve(url.hostname, url.port)
        if self.policy is not None:
            self.policy.check(url.hostname, url.port, addresses)
        for number, address in enumerate(addresses, 1):
            try:
                await self.uaclient.connect_socket(address, url.port)
            except (OSError, TimeoutError):
                if number == len(addresses):
                    raise
            else:
                return


class Link:
    """An open session; its methods raise what `faults` tells of."""

    def __init__(self, client: Client, login: Login) -> None:
        self.client = client
        self.url = login.url
        self._acknowledged: list[ua.SubscriptionAcknowledgement] = []

    async def publish(self, wait_s: float) -> ua.PublishResult:
        """Return the next notification, with which what was acknowledged since the last call is told.

        `wait_s` is within which the server must have said something.
        """
        told, self._acknowledged = self._acknowledged, []
        with faults(self.url):
            try:
                answer = await asyncio.wait_for(self.client.uaclient.session.publish(told), wait_s)
            except TimeoutError as error:
                raise UnavailableError(
                    "SourceUnavailable", f"{self.url} has said nothing for {wait_s:.0f} s."
                ) from error
            answer.ResponseHeader.ServiceResult.check()
        result: ua.PublishResult = answer.Parameters
        return result

    def acknowledge(self, notifications: Sequence[ua.SubscriptionAcknowledgement]) -> None:
        """Have the server let go of notifications, with the next call of `publish`."""
        self._acknowledged += notifications

    async def close(self) -> None:
        """End the session, and its subscription with it, if the server still answers."""
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self.client.disconnect()
        _abort(self.client)


async def connect(login: Login, place: Place, policy: OutboundPolicy | None) -> Link:
    """Open a session; `policy` says whether its host may be called, None that any may.

    Raises as `faults` tells, InvalidError (SourceInvalid, OutboundRefused), UnavailableError (SecretMissing).
    """
    client = await _client(login, place, policy)
    with faults(login.url):
        try:
            await client.connect()
        except BaseException:
            _abort(client)
            raise
    return Link(client, login)


async def _client(login: Login, place: Place, policy: OutboundPolicy | None) -> Client:
    client = _Client(login.url, timeout=login.timeout_s, watchdog_intervall=max(WATCH_S, login.timeout_s))
    client.policy = policy
    client.session_timeout = SESSION_MS
    client.name = client.description = "gemel"
    client.uaclient.session = _Session(client.uaclient)
    client.nodes = Shortcuts(client.uaclient.session)
    if login.user is not None:
        client.set_user(place.resolve(login.user))
        client.set_password(place.resolve(login.password or ""))
    if login.security is not None:
        await _secure(client, login.security, place)

    async def lost(_error: Exception) -> None:
        # A half-open connection: what waits for an answer must hear that there will be none.
        _abort(client)

    client.connection_lost_callback = lost
    return client


async def _secure(client: Client, security: Security, place: Place) -> None:
    """Set certificates and keys. Raises InvalidError (SourceInvalid) for files that are none."""
    policy = getattr(security_policies, f"SecurityPolicy{security.policy}")
    encrypt = security.mode == "sign_and_encrypt"
    mode = ua.MessageSecurityMode.SignAndEncrypt if encrypt else ua.MessageSecurityMode.Sign
    password = security.key_password and place.resolve(security.key_password)
    files = (security.certificate, security.key_file, security.server_certificate)
    own, key, theirs = [await asyncio.to_thread(_read, place.folder(file)) for file in files]
    try:
        certificate = await uacrypto.load_certificate(own, _form(own))
        client.application_uri = _application_uri(certificate) or client.application_uri
        await client.set_security(
            policy,
            uacrypto.CertProperties(own, _form(own)),
            uacrypto.CertProperties(key, _form(key), password),
            server_certificate=uacrypto.CertProperties(theirs, _form(theirs)),
            mode=mode,
        )
    except (ValueError, TypeError) as error:
        message = f"The source's connection.security: certificates or key cannot be read: {error}."
        raise InvalidError("SourceInvalid", message, "They must be files in PEM or DER.") from error


def _application_uri(certificate: Any) -> str | None:
    """Return the name that a certificate gives its application, which the session must have as well."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris: list[str] = found.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if uris else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise UnavailableError(
            "SecretMissing", f"The file {path} cannot be read: {error.strerror or error}."
        ) from error


def _form(content: bytes) -> str:
    return "pem" if b"-----BEGIN" in content else "der"


def _abort(client: Client) -> None:
    protocol = client.uaclient.protocol
    if protocol is not None and protocol.transport is not None:
        protocol.transport.abort()
