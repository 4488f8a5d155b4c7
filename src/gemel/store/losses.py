"""What the loss of the database means to whoever asks."""

from __future__ import annotations

import psycopg

from gemel.base.errors import UnavailableError

__all__ = ["full", "is_loss", "unavailable"]

FULL_RETRY_S = 5


def is_loss(error: Exception) -> bool:
    """Say whether an error tells of a lost connection by its class.

    Not all do: psycopg may raise NotSupportedError on one that broke, for its encoding is no longer known, or it
    is still in a pipeline.
    """
    if isinstance(error, psycopg.InterfaceError):
        return True
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate[:2] in {"08", "57"}
    )


def full() -> UnavailableError:
    """Return what whoever asks is told while the database's disk is full."""
    return UnavailableError(
        "DatabaseFull",
        "The database's disk is full; nothing of this was kept.",
        "Make room as docs/runbooks/retention.md says, then send it again.",
        retry_after_s=FULL_RETRY_S,
    )


def unavailable(why: str = "The database is not ready.") -> UnavailableError:
    """Return what whoever asks is told while the database is away, or was waited for in vain."""
    return UnavailableError("DatabaseUnavailable", why, "Send the request again.", retry_after_s=1)
