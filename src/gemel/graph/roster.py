"""Names of twins by their numbers, those of deleted twins too: for readers of history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gemel.store.database import ReadTransaction

__all__ = ["Roster", "TwinName"]

HELD_MAX = 100_000

NAMES = """
SELECT DISTINCT ON (twin_no) twin_no, twin_id, model_id,
       (extract(epoch FROM min(recorded_from) OVER (PARTITION BY twin_no)) * 1000000)::bigint
FROM twin_span WHERE tenant = current_tenant() AND twin_no = ANY(%s)
ORDER BY twin_no, recorded_from DESC, valid_from DESC"""


class TwinName(NamedTuple):
    """What a twin is called, its model, now or when it was deleted, and when its creation was recorded."""

    twin_id: str
    model_id: str
    created_us: int


@dataclass(slots=True)
class _Held:
    epoch: int
    names: dict[int, TwinName] = field(default_factory=dict)


class Roster:
    """Names held in memory while the tenant's graph stays as it is; at most HELD_MAX of a tenant."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    async def names(self, tx: ReadTransaction, twin_nos: Collection[int]) -> Mapping[int, TwinName]:
        """Return the names of twins by number; the mapping may hold more."""
        epoch = tx.epochs.graph
        held = self._held.get(tx.tenant)
        if held is None or held.epoch != epoch or len(held.names) > HELD_MAX:
            held = self._held[tx.tenant] = _Held(epoch)
        missing = [twin_no for twin_no in twin_nos if twin_no not in held.names]
        if missing:
            rows = await tx.rows(NAMES, (missing,))
            held.names.update({row[0]: TwinName(*row[1:]) for row in rows})
        return held.names
