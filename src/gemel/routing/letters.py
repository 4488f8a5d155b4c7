"""Dead letters: notifications that their receiver refused for good, or that were skipped. Owns `dead_letter`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.routing.batches import Cursor, Letter
from gemel.store.database import Database, ReadTransaction, WriteTransaction

__all__ = [
    "DeadLetter",
    "LetterChoice",
    "bury",
    "bury_skipped",
    "chosen_letters",
    "discard_letters",
    "list_letters",
    "mark_tried",
    "show_letter",
]

LETTERS_MAX: Final = 10_000
CHOSEN_MAX: Final = 1000

US = "(extract(epoch FROM {}) * 1000000)::bigint"
FIELDS = f"""
letter_no, route_id, event_id, twin, error, tries, {US.format("died")}, {US.format("tried")}"""
CHOICE = """
tenant = current_tenant() AND (%(route)s::text IS NULL OR route_id = %(route)s)
AND (%(numbers)s::bigint[] IS NULL OR letter_no = ANY(%(numbers)s))"""
LIST = f"""
SELECT {FIELDS} FROM dead_letter WHERE {CHOICE} AND letter_no > %(after)s ORDER BY letter_no LIMIT %(limit)s"""
SHOW = f"SELECT {FIELDS}, event FROM dead_letter WHERE tenant = current_tenant() AND letter_no = %s"
CHOSEN = f"""
SELECT letter_no, route_id, event_id, twin, event FROM dead_letter WHERE {CHOICE} ORDER BY letter_no LIMIT %(limit)s"""
KEEP = """
INSERT INTO dead_letter (tenant, route_id, event_id, twin, event, error, tries, died)
{rows}
ON CONFLICT (tenant, route_id, event_id) DO UPDATE SET error = excluded.error, died = excluded.died,
    tries = dead_letter.tries + excluded.tries
RETURNING letter_no"""
# Only where there is room: else the route goes on trying, and nothing is lost.
BURY = f"""
WITH moved AS (
    UPDATE event_route SET change_no = %s, position = %s, failures = 0, failing_since = NULL, next_try = NULL,
        error = NULL
    WHERE tenant = current_tenant() AND route_id = %s AND change_no = %s AND position = %s
      AND (SELECT count(*) FROM dead_letter WHERE tenant = current_tenant()) < {LETTERS_MAX}
    RETURNING route_id)
{KEEP.format(rows="SELECT current_tenant(), route_id, %s, %s, %s, %s, %s, clock_timestamp() FROM moved")}"""
SKIPPED = KEEP.format(rows="VALUES (current_tenant(), %s, %s, %s, %s, %s, %s, clock_timestamp())")
DISCARD = f"DELETE FROM dead_letter WHERE {CHOICE}"
TRIED = """
UPDATE dead_letter SET tries = tries + 1, tried = clock_timestamp(), error = %s
WHERE tenant = current_tenant() AND letter_no = ANY(%s)"""


class DeadLetter(msgspec.Struct, frozen=True, rename="camel"):
    """A notification that was put aside: the receiver's last word, how often it was sent, and since when it waits.

    `event` is the CloudEvent, given only when one is shown.
    """

    number: int
    route: str
    id: str
    twin: str
    error: str
    tries: int
    died: str
    tried: str | None
    event: Any = None


Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class LetterChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters: those of a route, those with some numbers, or of both the ones that are both."""

    route: str | None = None
    numbers: Annotated[list[Number], msgspec.Meta(max_length=CHOSEN_MAX)] | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what the statements take."""
        return {"route": self.route, "numbers": self.numbers}

    def require(self) -> None:
        """Raise InvalidError (InvalidArgument) where nothing is chosen, or what cannot be."""
        if self.route is None and self.numbers is None:
            raise InvalidError("InvalidArgument", "Say which dead letters: by route, by numbers, or both.")
        if self.route is not None and "\0" in self.route:
            raise InvalidError("InvalidArgument", "route is the id of an event route.")


async def bury(
    database: Database,
    tenant: int,
    route_id: str,
    cursors: tuple[Cursor, Cursor],
    dead: tuple[Letter, str, int],
) -> bool:
    """Put a notification aside and move its route past it; False where the route has moved, or there is no room.

    `dead` is the notification, why it is dead, and how often it was sent.
    """
    (cursor, to), (letter, error, tries) = cursors, dead
    values = (*to, route_id, *cursor, letter.event_id, letter.twin, letter.event, error, tries)
    return bool(await database.query(tenant, BURY, values, read_only=False))


async def bury_skipped(tx: WriteTransaction, route_id: str, letter: Letter, error: str, tries: int) -> None:
    """Put aside a notification that somebody had its route leave out."""
    await tx.rows(SKIPPED, (route_id, letter.event_id, letter.twin, letter.event, error, tries))


async def list_letters(tx: ReadTransaction, choice: LetterChoice, after: int, limit: int) -> list[DeadLetter]:
    """Return dead letters in the order in which they died, from behind a number."""
    rows = await tx.rows(LIST, {**choice.parameters(), "after": after, "limit": limit})
    return [_letter(row) for row in rows]


async def show_letter(tx: ReadTransaction, number: int) -> DeadLetter:
    """Return one dead letter with its event. Raises NotFoundError (DeadLetterNotFound)."""
    row = await tx.row(SHOW, (number,)) if 0 < number < 2**63 else None
    if row is None:
        raise NotFoundError("DeadLetterNotFound", f"There is no dead letter {number}.")
    return msgspec.structs.replace(_letter(row[:-1]), event=msgspec.json.decode(bytes(row[-1])))


async def chosen_letters(
    tx: ReadTransaction, choice: LetterChoice, limit: int
) -> dict[str, list[tuple[int, Letter]]]:
    """Return chosen dead letters with their numbers by route, in order, of at most `limit` altogether."""
    found: dict[str, list[tuple[int, Letter]]] = {}
    for number, route_id, event_id, twin, event in await tx.rows(
        CHOSEN, {**choice.parameters(), "limit": limit}
    ):
        found.setdefault(route_id, []).append((int(number), Letter(event_id, twin, bytes(event))))
    return found


async def discard_letters(tx: WriteTransaction, choice: LetterChoice) -> int:
    """Throw chosen dead letters away; return how many."""
    return await tx.execute(DISCARD, choice.parameters())


async def mark_tried(tx: WriteTransaction, numbers: Sequence[int], error: str) -> None:
    """Keep that dead letters were sent once more, in vain."""
    await tx.execute(TRIED, (error, list(numbers)))


def _letter(row: Sequence[Any]) -> DeadLetter:
    number, route_id, event_id, twin, error, tries, died_us, tried_us = row
    tried = None if tried_us is None else iso_us(tried_us)
    return DeadLetter(number, route_id, event_id, twin, error, tries, iso_us(died_us), tried)
