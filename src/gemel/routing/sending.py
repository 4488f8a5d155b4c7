"""What a sender of notifications is, and what becomes of a batch that was not acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gemel.routing.batches import Batch
from gemel.routing.endpoints import Endpoint
from gemel.routing.progress import Failure
from gemel.routing.retries import delay_s

__all__ = ["TIMEOUT_S", "Resolve", "Sender", "Trouble", "failure_of"]

TIMEOUT_S = 15.0
"""For how long a batch may wait for its acknowledgement."""

Resolve = Callable[[str, str], str]
"""Returns a text of a tenant (by name) with its references to secrets resolved.

Raises InvalidError (SourceNotAllowed), UnavailableError (SecretMissing).
"""


class Trouble(NamedTuple):
    """Why a batch was not acknowledged.

    `asked_s` is when the receiver wants it again, `stopped` why never by itself; `refused` where it is the events
    that the receiver will not have, and not that it is away.
    """

    error: str
    asked_s: float | None = None
    stopped: str | None = None
    refused: bool = False


class Sender(Protocol):
    """Brings batches to receivers of one kind."""

    async def send(self, endpoint: Endpoint, batch: Batch, name: str) -> Trouble | None:
        """Send a batch of the route `name`; return None once the receiver acknowledged all of it.

        Raises GemelError for what keeps it from being sent at all.
        """

    async def close(self) -> None:
        """Let go of the receivers."""


def failure_of(trouble: Trouble, failures: int) -> Failure:
    """Return the next failure of a route that failed so often in a row before."""
    # Chance spreads the retries of many routes; nothing secret hangs on it.
    wait_s = delay_s(failures + 1, random.random(), trouble.asked_s)  # noqa: S311
    return Failure(trouble.error, wait_s, trouble.stopped)
