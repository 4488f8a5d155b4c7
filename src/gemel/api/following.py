"""One reader's way through the change feed, whatever its stream is made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gemel.api.call import Call
from gemel.api.change_events import ChangeEvent, Wanted, events_of
from gemel.base.errors import InvalidError, NotFoundError, UnavailableError
from gemel.history.feed import feed_range
from gemel.routing.feed import Part
from gemel.store.database import ReadTransaction

__all__ = ["Follower", "Step", "models_wanted", "start_after"]

HEARTBEAT_S = 15.0
CHANGES_MAX = 64
CHANGES_BYTES_MAX = 4 << 20
"""How much is read at once: a slow reader holds it."""


@dataclass(frozen=True, slots=True)
class Step:
    """Events in order, or none: then the number that has been read, or that the database is waited for."""

    events: Sequence[ChangeEvent] = ()
    after: int = 0
    waiting: bool = False


class Follower:
    """Reads as its stream takes, and holds no connection meanwhile."""

    def __init__(self, call: Call, wanted: Wanted, after: int) -> None:
        self._call = call
        self._wanted = wanted
        self._after = after
        self._beat_s = time.monotonic()

    async def steps(self) -> AsyncIterator[Step]:
        """Yield what comes until the server stops; what moves a reader on past others, every HEARTBEAT_S at least.

        Raises UnauthenticatedError once the key is revoked, InvalidError (ChangesGone) where changes were forgotten
        while this reader was slow.
        """
        services = self._call.services
        while not services.feed.closed:
            try:
                part = await self._read()
                if not part.told:
                    await services.feed.beyond(self._call.tenant, self._after, HEARTBEAT_S)
                if time.monotonic() - self._beat_s >= HEARTBEAT_S:
                    yield Step(after=self._after)
                    self._beat_s = time.monotonic()
                    await services.keyring.authenticate(self._call.token)
            except UnavailableError as error:
                yield Step(after=self._after, waiting=True)
                await asyncio.sleep(error.retry_after_s)
                continue
            for told in part.told:
                if told.change.change_no != self._after + 1:
                    raise _gone(self._after, told.change.change_no, told.change.change_no)
                for event in events_of(told, part.known, self._wanted):
                    yield Step((event,), self._after)
                self._after = told.change.change_no

    async def _read(self) -> Part:
        async with self._call.services.database.read(self._call.tenant) as tx:
            return await self._call.services.feed_reader.read(tx, self._after, CHANGES_MAX, CHANGES_BYTES_MAX)


async def start_after(tx: ReadTransaction, after: int | None) -> int:
    """Return the number of the change to go on after: the newest, where none is given.

    Raises InvalidError (ChangesGone) for one that cannot be gone on from.
    """
    known = await feed_range(tx)
    if after is None:
        return known.newest
    if not known.oldest - 1 <= after <= known.newest:
        raise _gone(after, known.oldest, known.newest)
    return after


async def models_wanted(call: Call, tx: ReadTransaction, model_ids: Sequence[str]) -> frozenset[str]:
    """Return some models and all that extend them. Raises NotFoundError (ModelNotFound)."""
    if not model_ids:
        return frozenset()
    models = await call.services.context.library.models(tx)
    wanted: set[str] = set()
    for model_id in model_ids:
        if model_id not in models.ids:
            raise NotFoundError("ModelNotFound", f"There is no model {model_id[:200]!r}.")
        wanted.update((model_id, *models.descendants(model_id)))
    return frozenset(wanted)


def _gone(after: int, oldest: int, newest: int) -> InvalidError:
    return InvalidError(
        "ChangesGone",
        f"Change {after} cannot be gone on from: changes {oldest} to {newest} are kept.",
        "Read the state anew, then follow from now on.",
    )
