"""OPC UA servers as sources: which nodes of which server, how it is reached, and how gaps are closed."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gemel.base.clock import to_us
from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.connectors.opcua_picks import Pick, parse_pick
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.outbound import OutboundPolicy
from gemel.sources.contract import Marks
from gemel.sources.definition import Definition
from gemel.sources.fields import Fields
from gemel.sources.permits import Place

if TYPE_CHECKING:
    from gemel.connectors.opcua_source import OpcUaSource

__all__ = ["Login", "OpcUaKind", "OpcUaSettings", "Pace", "Security", "read_login"]

POLICIES: Final = ("none", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES: Final = ("sign_and_encrypt", "sign")
NODES_MAX: Final = 10_000
INTERVAL_MS_MAX: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Security:
    """How messages are signed or encrypted: a policy, whether they are encrypted, and files of certificates."""

    policy: str
    mode: str
    certificate: str
    key_file: str
    key_password: str | None
    server_certificate: str


@dataclass(frozen=True, slots=True)
class Login:
    """How a server is reached; `user` and `password` may hold references to secrets."""

    url: str
    security: Security | None
    user: str | None
    password: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a server looks at its values, how many changes of each it keeps, and how often it sends them."""

    sampling_ms: float
    queue: int
    publishing_ms: float


@dataclass(frozen=True, slots=True)
class OpcUaSettings:
    """What a description says. `gaps`: whether history closes them; `since_us`: from when the first start reads it."""

    login: Login
    picks: tuple[Pick, ...]
    pace: Pace
    gaps: bool
    since_us: int | None


@dataclass(frozen=True, slots=True)
class OpcUaKind:
    """Sources of kind `opcua`; `policy` says which servers may be called, `ahead_us` how far ahead times may be."""

    policy: OutboundPolicy
    ahead_us: int

    def check(self, definition: Definition, place: Place) -> None:
        """Raise InvalidError (SourceInvalid, SourceNotAllowed, MappingInvalid) for what can be seen from here.

        Raises EnvironmentFaultError (ExtraMissing) without the package asyncua.
        """
        _settings(definition, place)
        _mapper(definition)
        if importlib.util.find_spec("asyncua") is None:
            message = "OPC UA needs the package asyncua."
            raise EnvironmentFaultError("ExtraMissing", message, "pip install 'gemel[opcua]'")

    async def open(self, definition: Definition, place: Place, marks: Marks) -> OpcUaSource:
        """Connect, subscribe, and find out which gaps there are; raises as `check` and the source do."""
        self.check(definition, place)
        from gemel.connectors.opcua_link import connect
        from gemel.connectors.opcua_source import open_opcua

        mapper = await asyncio.to_thread(_mapper, definition)
        settings = _settings(definition, place)
        link = await connect(settings.login, place, self.policy)
        return await open_opcua(link, settings, mapper, definition, marks, self.ahead_us)


def read_login(fields: Fields, place: Place) -> Login:
    """Read how a server is reached from a description's `connection`.

    Raises InvalidError (SourceInvalid, SourceNotAllowed).
    """
    url = fields.text("url")
    try:
        parts = urlsplit(url)
        good = parts.scheme == "opc.tcp" and parts.hostname and (parts.port or 1) and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good:
        hint = "As in opc.tcp://plc.example:4840/path; user and password are keys of their own."
        raise fields.fault("url", "is not the address of an OPC UA server", hint)
    given = fields.take("security", None)
    login = Login(
        url=url if parts.port else url.replace(parts.netloc, f"{parts.netloc}:4840", 1),
        security=None if given is None else _security(Fields("connection.security", given), place),
        user=fields.text("user", None),
        password=fields.text("password", None),
        timeout_s=fields.number("timeout_s", 10.0, 0.1, 300),
    )
    for text in (login.user, login.password, login.security and login.security.key_password):
        place.check(text or "")
    if login.password is not None and login.user is None:
        raise fields.fault("password", "stands without a user", "Add `user:`.")
    return login


def _security(fields: Fields, place: Place) -> Security | None:
    policy = fields.text("policy")
    if policy not in POLICIES:
        raise fields.fault("policy", f"{policy[:40]!r} is none", f"Use one of: {', '.join(POLICIES)}.")
    if policy == "none":
        fields.finish()
        return None
    mode = fields.text("mode", MODES[0])
    if mode not in MODES:
        raise fields.fault("mode", f"{mode[:40]!r} is none", f"Use one of: {', '.join(MODES)}.")
    files = {}
    for key in ("certificate", "key_file", "server_certificate"):
        files[key] = fields.text(key)
        if not files[key].startswith("/"):
            raise fields.fault(key, "is not an absolute path", "As in /etc/gemel/opcua/client.pem.")
        place.folder(files[key])
    found = Security(policy=policy, mode=mode, key_password=fields.text("key_password", None), **files)
    fields.finish()
    return found


def _settings(definition: Definition, place: Place) -> OpcUaSettings:
    fields = definition.connection_fields()
    login = read_login(fields, place)
    pace = Pace(
        sampling_ms=fields.number("sampling_ms", 250, 0, INTERVAL_MS_MAX),
        queue=fields.whole("queue", 100, 1, 100_000),
        publishing_ms=fields.number("publishing_ms", 250, 10, INTERVAL_MS_MAX),
    )
    picks = tuple(_picks(fields, pace))
    gaps, since_us = _history(fields)
    fields.finish()
    return OpcUaSettings(login, picks, pace, gaps, since_us)


def _picks(fields: Fields, pace: Pace) -> list[Pick]:
    given = fields.take("nodes")
    if not isinstance(given, list) or not given or len(given) > NODES_MAX:
        raise fields.fault("nodes", f"must be a list of 1 to {NODES_MAX} entries", 'As in ["Plant/*/Speed"].')
    return [_pick(entry, f"nodes[{number}]", fields, pace) for number, entry in enumerate(given)]


def _pick(entry: Any, place: str, fields: Fields, pace: Pace) -> Pick:
    sampling_ms, queue = pace.sampling_ms, pace.queue
    text = entry
    if isinstance(entry, dict):
        inner = Fields(f"connection.{place}", entry)
        text = inner.text("pick")
        sampling_ms = inner.number("sampling_ms", sampling_ms, 0, INTERVAL_MS_MAX)
        queue = inner.whole("queue", queue, 1, 100_000)
        inner.finish()
    if not isinstance(text, str) or not text:
        raise fields.fault(
            place, "must be a path pattern or a node id", "As in Plant/*/Speed, or ns=2;s=Speed."
        )
    try:
        return parse_pick(text, sampling_ms, queue)
    except ValueError as error:
        raise fields.fault(
            place, f"{text[:80]!r}: {error}", "As in Plant/*/Speed, or ns=2;s=Speed."
        ) from error


def _history(fields: Fields) -> tuple[bool, int | None]:
    """Return whether gaps are closed from history, and since when the first start reads it."""
    given = fields.take("history", "gaps")
    if given in ("gaps", "none"):
        return given == "gaps", None
    if isinstance(given, datetime):
        given = given.isoformat()
    if isinstance(given, str) and re.match(r"\d{4}-", given):
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return True, to_us(moment)
    hint = (
        "Use gaps, none, or a time with its zone from which on the first start reads, 2026-01-31T00:00:00Z."
    )
    raise fields.fault("history", "is not known", hint)


def _mapper(definition: Definition) -> Mapper:
    if definition.mapping is None:
        message = "The source's mapping: is missing."
        hint = "`gemel source browse URL --draft NAME` writes one; see docs/guides/opcua.md."
        raise InvalidError("SourceInvalid", message, hint)
    mapping = parse_payload_mapping(definition.mapping.text.encode(), definition.mapping.file)
    models = {rule.model for rule in mapping.twins}
    if definition.create_twins and (None in models or len(models) > 1):
        message = f"{mapping.file}: twins are to be created, and do not all have one and the same model."
        raise InvalidError("MappingInvalid", message, "Name the same `model:` in each entry of `twins`.")
    return Mapper(mapping, definition.watch)
