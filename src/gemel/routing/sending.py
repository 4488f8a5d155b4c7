"""One batch on its way to an endpoint, and what its answer means."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from gemel.base.errors import GemelError
from gemel.outbound import Outbound, OutboundAnswer
from gemel.routing.batches import MEDIA_TYPE, Batch
from gemel.routing.endpoints import MQTT, Endpoint
from gemel.routing.progress import Failure
from gemel.routing.publishing import publish
from gemel.routing.retries import delay_s
from gemel.routing.routes import GONE
from gemel.routing.signing import signed_headers

__all__ = ["failure_of", "send"]

TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 4096
SHOWN_MAX = 200
STATUS_GONE = 410


async def send(
    outbound: Outbound, endpoint: Endpoint, batch: Batch, name: str, failures: int
) -> Failure | None:
    """Send a batch; return None once it was acknowledged (by a webhook with 2xx), else why it was not.

    `name` is the route's; `failures` how often in a row it failed before.
    """
    if endpoint.kind == MQTT:
        return await _published(outbound, endpoint, batch, name, failures)
    headers = {"Content-Type": MEDIA_TYPE, **endpoint.headers}
    if endpoint.key is not None:
        message_id = f"{name}.{batch.first_id}-{batch.count}"
        headers |= signed_headers(endpoint.key, message_id, int(time.time()), batch.body)
    try:
        answer = await outbound.request(
            "POST",
            endpoint.url,
            content=batch.body,
            headers=headers,
            timeout_s=TIMEOUT_S,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
    except GemelError as error:
        return failure_of(f"{error.message} [{error.code}]", failures)
    if 200 <= answer.status < 300:
        return None
    told = f"The receiver answered {answer.status}{_said(answer)}"
    stopped = GONE if answer.status == STATUS_GONE else None
    return failure_of(told, failures, asked_s=_asked_s(answer.headers), stopped=stopped)


async def _published(
    outbound: Outbound, endpoint: Endpoint, batch: Batch, name: str, failures: int
) -> Failure | None:
    try:
        await publish(outbound, endpoint.url, endpoint.settings, endpoint.headers, (name, batch.body))
    except GemelError as error:
        return failure_of(f"{error.message} [{error.code}]", failures)
    return None


def failure_of(
    error: str, failures: int, *, asked_s: float | None = None, stopped: str | None = None
) -> Failure:
    """Return the next failure of a route that failed so often in a row before."""
    # Chance spreads the retries of many routes; nothing secret hangs on it.
    return Failure(error, delay_s(failures + 1, random.random(), asked_s), stopped)  # noqa: S311


def _said(answer: OutboundAnswer) -> str:
    text = " ".join(answer.body.decode("utf-8", "replace").split())
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return f": {shown[:SHOWN_MAX]}" if shown else "."


def _asked_s(headers: Mapping[str, str]) -> float | None:
    """Return what Retry-After asks for, in seconds from now; None where it asks nothing that can be read."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
