"""Batches to webhooks: one POST each, signed where the endpoint has a secret, and what its answer means."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from gemel.outbound import Outbound, OutboundAnswer
from gemel.routing import sending
from gemel.routing.batches import MEDIA_TYPE, Batch
from gemel.routing.endpoints import Endpoint
from gemel.routing.routes import GONE
from gemel.routing.sending import Resolve, Trouble
from gemel.routing.signing import secret_bytes, signed_headers

__all__ = ["WebhookSender"]

ANSWER_BYTES_MAX = 4096
SHOWN_MAX = 200
STATUS_GONE = 410
REFUSALS = frozenset({400, 405, 406, 409, 411, 412, 413, 414, 415, 416, 417, 422, 431, 451, 500, 501})
"""Answers that are about the events sent, and not about who sends, where to, or when."""


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Sends over HTTP, to addresses that may be called."""

    outbound: Outbound
    resolve: Resolve

    async def send(self, endpoint: Endpoint, batch: Batch, name: str) -> Trouble | None:
        """Send a batch; None once it was acknowledged with 2xx."""
        body = batch.body
        trace = {} if batch.traceparent is None else {"traceparent": batch.traceparent}
        headers = {"Content-Type": MEDIA_TYPE, **trace, **endpoint.headers}
        if endpoint.secret is not None:
            key = secret_bytes(self.resolve(endpoint.tenant_name, endpoint.secret))
            message_id = f"{name}.{batch.letters[0].event_id}-{batch.count}"
            headers |= signed_headers(key, message_id, int(time.time()), body)
        answer = await self.outbound.request(
            "POST",
            endpoint.url,
            content=body,
            headers=headers,
            timeout_s=sending.TIMEOUT_S,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        if 200 <= answer.status < 300:
            return None
        return Trouble(
            f"The receiver answered {answer.status}{_said(answer)}",
            _asked_s(answer.headers),
            GONE if answer.status == STATUS_GONE else None,
            answer.status in REFUSALS,
        )

    async def close(self) -> None:
        """Do nothing: connections are those of all that is called."""


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
