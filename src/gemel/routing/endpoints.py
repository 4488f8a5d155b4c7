"""Endpoints: receivers of notifications. Owns the table `endpoint`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from gemel.base.clock import from_us
from gemel.base.errors import ConflictError, InvalidError, NotFoundError
from gemel.outbound.kafka import SECRETS, server_and_topic, setting_fault
from gemel.routing.publishing import broker_target
from gemel.routing.signing import secret_bytes
from gemel.security.sealing import Sealer
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = [
    "KAFKA",
    "MQTT",
    "WEBHOOK",
    "Endpoint",
    "EndpointView",
    "KafkaTopic",
    "MqttBroker",
    "Wanted",
    "Webhook",
    "delete_endpoint",
    "endpoint_of",
    "get_endpoint",
    "list_endpoints",
    "open_endpoint",
    "put_endpoint",
]

WEBHOOK = "webhook"
MQTT = "mqtt"
KAFKA = "kafka"
KINDS = (WEBHOOK, MQTT, KAFKA)
REFERENCE = re.compile(r"\$\{(?:env|file):[^{}]+\}")
DEAD_AFTER, DEAD_AFTER_MAX = 10, 1000
ENDPOINTS_MAX = 32
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
URL_LENGTH_MAX = 2048
HEADERS_MAX = 16
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,4094}[\x21-\x7e])?")
OURS = re.compile(r"(host|content-.*|transfer-encoding|connection|upgrade|te|trailer|expect|webhook-.*)")

COLUMNS = """
name, kind, settings, (extract(epoch FROM created) * 1000000)::bigint,
(extract(epoch FROM changed) * 1000000)::bigint"""
LIST = f'SELECT {COLUMNS} FROM endpoint WHERE tenant = current_tenant() ORDER BY name COLLATE "C"'
GET = f"SELECT {COLUMNS} FROM endpoint WHERE tenant = current_tenant() AND name = %s"
OPEN = "SELECT kind, settings, sealed FROM endpoint WHERE tenant = current_tenant() AND name = %s"
COUNT = "SELECT count(*) FROM endpoint WHERE tenant = current_tenant() AND name <> %s"
PUT = """
INSERT INTO endpoint (tenant, name, kind, settings, sealed, created, changed)
VALUES (current_tenant(), %s, %s, %s::jsonb, %s, %s, %s)
ON CONFLICT (tenant, name) DO UPDATE SET kind = excluded.kind, settings = excluded.settings,
    sealed = excluded.sealed, changed = excluded.changed"""
USED = """
SELECT route_id FROM event_route WHERE tenant = current_tenant() AND endpoint = %s ORDER BY route_id LIMIT 3"""
TRY_AGAIN = """
UPDATE event_route SET failures = 0, failing_since = NULL, next_try = NULL, error = NULL, stopped = NULL
WHERE tenant = current_tenant() AND endpoint = %s AND stopped IS DISTINCT FROM 'forgotten'"""
DELETE = "DELETE FROM endpoint WHERE tenant = current_tenant() AND name = %s"


class Webhook(msgspec.Struct, tag_field="kind", tag=WEBHOOK, forbid_unknown_fields=True, omit_defaults=True):
    """A receiver over HTTP: `secret` signs each delivery, `headers` go with it; neither is shown again.

    The secret may be a reference, `${env:NAME}` or `${file:/path}`. An event that is refused `deadLetterAfter` times
    in a row is put aside, to be sent again by hand; 0 is never.
    """

    url: str
    secret: str | None = None
    headers: dict[str, str] = {}
    dead_letter_after: int = msgspec.field(default=DEAD_AFTER, name="deadLetterAfter")


class MqttBroker(msgspec.Struct, tag_field="kind", tag=MQTT, forbid_unknown_fields=True, omit_defaults=True):
    """A broker that each notification is published to: `url` is mqtt://HOST:PORT/TOPIC, or mqtts:// for TLS.

    In the topic may stand `{twin}` and `{type}`; without one it is `gemel/{twin}/{type}`. `version` is 5 or 3.1.1.
    The login is not shown again. `deadLetterAfter` is as a webhook's; with 3.1.1 a broker cannot refuse an event.
    """

    url: str
    version: Literal["5", "3.1.1"] = "5"
    username: str | None = None
    password: str | None = None
    dead_letter_after: int = msgspec.field(default=DEAD_AFTER, name="deadLetterAfter")


class KafkaTopic(msgspec.Struct, tag_field="kind", tag=KAFKA, forbid_unknown_fields=True, omit_defaults=True):
    """A topic of Kafka, `kafka://HOST:PORT/TOPIC`; `settings` are those of librdkafka by which it is reached.

    Secrets among them must be references. `deadLetterAfter` is as a webhook's.
    """

    url: str
    settings: dict[str, str | int | bool] = {}
    dead_letter_after: int = msgspec.field(default=DEAD_AFTER, name="deadLetterAfter")


Wanted = Webhook | MqttBroker | KafkaTopic


class EndpointView(msgspec.Struct, frozen=True, rename="camel"):
    """What is shown of an endpoint: `headers` are the names of those that go along, or of a login's parts."""

    name: str
    kind: str
    url: str
    signed: bool
    headers: list[str]
    settings: dict[str, str | int | bool]
    dead_letter_after: int
    created_us: int
    changed_us: int


class _Secrets(msgspec.Struct):
    secret: str | None
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint to deliver to; `secret` signs, where there is one, and may be a reference.

    `headers` go along, or are the login of a broker; `settings` are what is kept of its kind.
    """

    kind: str
    url: str
    tenant_name: str
    secret: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, Any]

    @property
    def dead_letter_after(self) -> int:
        """How often in a row an event is refused until it is put aside; 0 is never."""
        return int(self.settings.get("deadLetterAfter", DEAD_AFTER))


def endpoint_of(body: Any) -> Wanted:
    """Read a request for an endpoint.

    Raises InvalidError: EventRouteEndpointInvalid for a kind that is not served, InvalidArgument for the rest.
    """
    kind = body.get("kind", WEBHOOK) if isinstance(body, dict) else WEBHOOK
    if isinstance(kind, str) and kind not in KINDS:
        hint = f"Use one of {', '.join(KINDS)}."
        raise InvalidError("EventRouteEndpointInvalid", "There is no such kind of endpoint.", hint)
    wanted: Wanted
    try:
        wanted = msgspec.convert(body, TYPES.get(kind, Webhook) if isinstance(kind, str) else Webhook)
    except msgspec.ValidationError as error:
        raise InvalidError("InvalidArgument", f"The endpoint is not as it should be: {error}.") from error
    if len(wanted.url) > URL_LENGTH_MAX:
        raise InvalidError("InvalidArgument", f"The URL has more than {URL_LENGTH_MAX} characters.")
    if not 0 <= wanted.dead_letter_after <= DEAD_AFTER_MAX:
        raise InvalidError("InvalidArgument", f"deadLetterAfter is a number from 0 to {DEAD_AFTER_MAX}.")
    if isinstance(wanted, MqttBroker):
        broker_target(wanted.url)
        if wanted.password is not None and wanted.username is None:
            raise InvalidError("InvalidArgument", "There is a password, and no username.")
        return wanted
    if isinstance(wanted, KafkaTopic):
        _check_kafka(wanted)
        return wanted
    if wanted.secret is not None and REFERENCE.fullmatch(wanted.secret) is None:
        secret_bytes(wanted.secret)
    _check_headers(wanted.headers)
    return wanted


TYPES: Final[dict[str, type[Wanted]]] = {WEBHOOK: Webhook, MQTT: MqttBroker, KAFKA: KafkaTopic}


def _check_kafka(wanted: KafkaTopic) -> None:
    try:
        server_and_topic(wanted.url)
    except ValueError as error:
        raise InvalidError("InvalidArgument", f"The URL is not taken: {error}.") from error
    for name, value in wanted.settings.items():
        fault = setting_fault(name, value)
        if fault is None and name in SECRETS and REFERENCE.fullmatch(str(value)) is None:
            fault = "holds a secret in clear; use ${env:NAME} or ${file:/path}"
        if fault is not None:
            raise InvalidError("InvalidArgument", f"The setting {name[:80]} {fault}.")


async def put_endpoint(tx: WriteTransaction, sealer: Sealer, name: str, wanted: Wanted) -> EndpointView:
    """Make an endpoint, or put another in its place; its routes that wait or stopped are tried again at once.

    Raises InvalidError (InvalidArgument for the name, LimitExceeded).
    """
    if NAME.fullmatch(name) is None:
        raise InvalidError(
            "InvalidArgument",
            "The name of an endpoint has 1 to 64 of the characters A-Z a-z 0-9 _ . -, and begins and ends with a "
            "letter or digit.",
        )
    count = await tx.row(COUNT, (name,))
    if count is not None and count[0] >= ENDPOINTS_MAX:
        raise InvalidError("LimitExceeded", f"A tenant has at most {ENDPOINTS_MAX} endpoints.")
    settings, secrets = _kept(wanted)
    sealed = None
    if secrets.secret or secrets.headers:
        sealed = sealer.seal(msgspec.json.encode(secrets), _place(tx.tenant, name))
    now = from_us(tx.stamp())
    text = msgspec.json.encode(settings).decode()
    await tx.execute(
        PUT,
        (name, next(kind for kind, of in TYPES.items() if isinstance(wanted, of)), text, sealed, now, now),
    )
    await tx.execute(TRY_AGAIN, (name,))
    return await get_endpoint(tx, name)


async def list_endpoints(tx: ReadTransaction) -> list[EndpointView]:
    """Return the tenant's endpoints by name, without their secrets."""
    return [_view(row) for row in await tx.rows(LIST)]


async def get_endpoint(tx: ReadTransaction, name: str) -> EndpointView:
    """Return one endpoint, without its secrets. Raises NotFoundError (EndpointNotFound)."""
    row = await tx.row(GET, (name,))
    if row is None:
        raise _not_found(name)
    return _view(row)


async def open_endpoint(tx: ReadTransaction, sealer: Sealer, name: str, tenant_name: str) -> Endpoint:
    """Return an endpoint with its secrets, to deliver to; references among them are not resolved yet.

    Raises NotFoundError (EndpointNotFound), EnvironmentFaultError (SecretUnreadable).
    """
    row = await tx.row(OPEN, (name,))
    if row is None:
        raise _not_found(name)
    kind, settings, sealed = row
    secrets = _Secrets(None, {})
    if sealed is not None:
        secrets = msgspec.json.decode(sealer.open(bytes(sealed), _place(tx.tenant, name)), type=_Secrets)
    return Endpoint(kind, settings["url"], tenant_name, secrets.secret, secrets.headers, settings)


async def delete_endpoint(tx: WriteTransaction, name: str) -> None:
    """Delete an endpoint that no route leads to.

    Raises NotFoundError (EndpointNotFound), ConflictError (EndpointInUse).
    """
    used = await tx.rows(USED, (name,))
    if used:
        raise ConflictError(
            "EndpointInUse",
            f"Routes lead to the endpoint {name}: {', '.join(row[0] for row in used)}.",
            "Remove them first.",
        )
    if not await tx.execute(DELETE, (name,)):
        raise _not_found(name)


def _kept(wanted: Wanted) -> tuple[dict[str, Any], _Secrets]:
    """Return what may be shown of an endpoint, and what may not."""
    after = {"deadLetterAfter": wanted.dead_letter_after}
    if isinstance(wanted, MqttBroker):
        login = {"username": wanted.username, "password": wanted.password}
        given = {name: value for name, value in login.items() if value is not None}
        shown = {"url": wanted.url, "signed": False, "headers": sorted(given), "version": wanted.version}
        return shown | after, _Secrets(None, given)
    if isinstance(wanted, KafkaTopic):
        shown = {"url": wanted.url, "signed": False, "headers": [], "settings": wanted.settings}
        return shown | after, _Secrets(None, {})
    names = sorted(wanted.headers, key=str.lower)
    settings = {"url": wanted.url, "signed": wanted.secret is not None, "headers": names}
    return settings | after, _Secrets(wanted.secret, wanted.headers)


def _view(row: Row) -> EndpointView:
    name, kind, settings, created_us, changed_us = row
    return EndpointView(
        name,
        kind,
        settings["url"],
        settings["signed"],
        settings["headers"],
        settings.get("settings", {}),
        settings.get("deadLetterAfter", DEAD_AFTER),
        created_us,
        changed_us,
    )


def _check_headers(headers: Mapping[str, str]) -> None:
    if len(headers) > HEADERS_MAX:
        raise InvalidError("InvalidArgument", f"More than {HEADERS_MAX} headers.")
    folded = [name.lower() for name in headers]
    for name, value in headers.items():
        if HEADER_NAME.fullmatch(name) is None or folded.count(name.lower()) > 1:
            raise InvalidError(
                "InvalidArgument", f"{name[:128]!r} is not a header's name, or is given twice."
            )
        if OURS.fullmatch(name.lower()):
            raise InvalidError("InvalidArgument", f"The header {name} is set by the delivery itself.")
        if HEADER_VALUE.fullmatch(value) is None:
            raise InvalidError(
                "InvalidArgument", f"The value of the header {name} is not 1 to 4096 printable characters."
            )


def _place(tenant: int, name: str) -> str:
    return f"endpoint {name} of tenant {tenant}"


def _not_found(name: str) -> NotFoundError:
    return NotFoundError("EndpointNotFound", f"There is no endpoint named {name[:80]!r}.")
