"""Dead letters sent again, by hand: in the order in which they died, until a receiver refuses one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gemel.base.errors import GemelError
from gemel.observe.traffic import Traffic
from gemel.routing.batches import NOTIFICATIONS_MAX, Batch, Cursor, Letter
from gemel.routing.endpoints import open_endpoint
from gemel.routing.letters import LetterChoice, chosen_letters, discard_letters, mark_tried
from gemel.routing.routes import get_route
from gemel.routing.sending import Sender
from gemel.security.audit import AuditEntry, record
from gemel.security.sealing import Sealer
from gemel.store.database import Database

__all__ = ["LetterReplay", "ReplayParts", "replay_letters"]

AT_ONCE_MAX = 1000
NOWHERE = Cursor(-1)


class ReplayParts(msgspec.Struct, frozen=True):
    """What replays need: the database, the key of sealed secrets, the senders by kind, and what counts bytes."""

    database: Database
    sealer: Sealer
    senders: Mapping[str, Sender]
    traffic: Traffic


class LetterReplay(msgspec.Struct):
    """What became of dead letters that were sent again: how many are delivered and gone, how many wait on, and why."""

    delivered: int = 0
    failed: int = 0
    errors: list[str] = []


async def replay_letters(
    parts: ReplayParts, tenant: int, tenant_name: str, choice: LetterChoice, audit: AuditEntry
) -> LetterReplay:
    """Send chosen dead letters to where their routes lead now, the oldest first, at most AT_ONCE_MAX.

    What is acknowledged is gone; from the first batch of a route that is not, its letters stay.
    """
    async with parts.database.read(tenant) as tx:
        by_route = await chosen_letters(tx, choice, AT_ONCE_MAX)
    told = LetterReplay()
    for route_id, letters in by_route.items():
        await _replay_route(parts, (tenant, tenant_name, route_id), letters, told)
    async with parts.database.write(tenant) as tx:
        await record(tx, [audit])
    return told


async def _replay_route(
    parts: ReplayParts, route: tuple[int, str, str], letters: Sequence[tuple[int, Letter]], told: LetterReplay
) -> None:
    tenant, _, route_id = route
    for start in range(0, len(letters), NOTIFICATIONS_MAX):
        part = letters[start : start + NOTIFICATIONS_MAX]
        numbers = [number for number, _ in part]
        error = await _send(parts, route, [letter for _, letter in part])
        async with parts.database.write(tenant) as tx:
            if error is None:
                told.delivered += await discard_letters(tx, LetterChoice(numbers=numbers))
                continue
            await mark_tried(tx, numbers, error)
        told.failed += len(letters) - start
        told.errors.append(f"{route_id}: {error}")
        return


async def _send(parts: ReplayParts, route: tuple[int, str, str], letters: Sequence[Letter]) -> str | None:
    """Send letters of a route; return why they were not acknowledged, if so."""
    tenant, tenant_name, route_id = route
    try:
        async with parts.database.read(tenant) as tx:
            name = (await get_route(tx, route_id))["endpointName"]
            endpoint = await open_endpoint(tx, parts.sealer, name, tenant_name)
        sender = parts.senders[endpoint.kind]
        batch = Batch(letters, NOWHERE)
        parts.traffic.add(tenant, f"sink:{endpoint.kind}", calls=1, sent=batch.size)
        trouble = await sender.send(endpoint, batch, f"{tenant}.{route_id}")
    except GemelError as error:
        return f"{error.message} [{error.code}]"
    return None if trouble is None else trouble.error
