"""The numbers of paths, and the series they make with a twin's number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from gemel.base.errors import InvalidError
from gemel.store.database import ReadTransaction, Row, WriteTransaction

__all__ = ["PATHS_MAX", "PATH_BITS", "PathKey", "Paths", "path_no_of", "series_of", "twin_no_of"]

PATH_BITS = 20
PATHS_MAX = 1 << PATH_BITS

PathKey = tuple[str, str]
"""A dotted path and its role, 'property' or 'telemetry'."""

ALL = "SELECT path, role, path_no FROM path WHERE tenant = current_tenant()"
NAMED = "SELECT path, role, path_no FROM path WHERE tenant = current_tenant() AND path = ANY(%s)"
INSERT = """
INSERT INTO path (tenant, path_no, path, role)
SELECT current_tenant(), n, p, r FROM unnest(%s::int[], %s::text[], %s::text[]) AS t (n, p, r)"""


def series_of(twin_no: int, path_no: int) -> int:
    """Return the series of a twin and path."""
    return twin_no << PATH_BITS | path_no


def twin_no_of(series: int) -> int:
    """Return the twin's number of a series."""
    return series >> PATH_BITS


def path_no_of(series: int) -> int:
    """Return the path's number of a series."""
    return series & (PATHS_MAX - 1)


class Paths:
    """What this process knows of each tenant's path numbers. They never change, so it is only ever short.

    Numbers given in a transaction are noted on it and learnt by its commit.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, dict[PathKey, int]] = {}
        self._keys: dict[int, dict[int, PathKey]] = {}

    async def ensure(self, tx: WriteTransaction, wanted: Iterable[PathKey]) -> dict[PathKey, int]:
        """Return the number of each wanted path, numbering those that are new.

        Raises InvalidError (LimitExceeded) beyond 2^20 paths of a tenant.
        """
        keys = list(dict.fromkeys(wanted))
        known = await self.numbers(tx, keys)
        fresh = [key for key in keys if key not in known]
        if not fresh:
            return known
        rows = await tx.rows(
            "SELECT coalesce(max(path_no), -1) + 1 FROM path WHERE tenant = current_tenant()"
        )
        first = int(rows[0][0])
        if first + len(fresh) > PATHS_MAX:
            raise InvalidError("LimitExceeded", f"A tenant has at most {PATHS_MAX} different paths.")
        added = {key: first + offset for offset, key in enumerate(fresh)}
        columns = (list(added.values()), [path for path, _ in added], [role for _, role in added])
        await tx.execute(INSERT, columns)
        _pending(tx).update(added)
        tx.on_commit(lambda: self._learn(tx.tenant, added))
        return known | added

    async def numbers(self, tx: ReadTransaction, wanted: Collection[PathKey]) -> dict[PathKey, int]:
        """Return the number of each wanted path that has one."""
        known = self._numbers.get(tx.tenant, {})
        if any(key not in known for key in wanted):
            await self._load(tx)
            known = self._numbers.get(tx.tenant, {}) | _pending(tx)
        return {key: known[key] for key in wanted if key in known}

    async def find(self, tx: ReadTransaction, wanted: Collection[PathKey]) -> dict[PathKey, int]:
        """Return the number of each wanted path that has one; whatever names are asked for, no others are read."""
        known = self._numbers.get(tx.tenant, {})
        unknown = {path for path, role in wanted if (path, role) not in known}
        if unknown:
            self._note(tx, await tx.rows(NAMED, (sorted(unknown),)))
            known = self._numbers.get(tx.tenant, {}) | _pending(tx)
        return {key: known[key] for key in wanted if key in known}

    async def keys(self, tx: ReadTransaction, path_nos: Collection[int]) -> Mapping[int, PathKey]:
        """Return the path and role of each number; the mapping may hold more."""
        known = self._keys.get(tx.tenant, {})
        if any(number not in known for number in path_nos):
            await self._load(tx)
            pending = {number: key for key, number in _pending(tx).items()}
            known = self._keys.get(tx.tenant, {}) | pending
        return known

    async def _load(self, tx: ReadTransaction) -> None:
        self._note(tx, await tx.rows(ALL))

    def _note(self, tx: ReadTransaction, rows: Sequence[Row]) -> None:
        pending = _pending(tx)
        found = {(path, role): number for path, role, number in rows}
        self._learn(tx.tenant, {key: number for key, number in found.items() if key not in pending})

    def _learn(self, tenant: int, numbers: dict[PathKey, int]) -> None:
        self._numbers.setdefault(tenant, {}).update(numbers)
        self._keys.setdefault(tenant, {}).update({number: key for key, number in numbers.items()})


def _pending(tx: ReadTransaction) -> dict[PathKey, int]:
    pending: dict[PathKey, int] = tx.notes.setdefault(Paths, {})
    return pending
