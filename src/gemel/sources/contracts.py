"""The contracts of sources, every version that there was. Owns the table `source_contract`."""

from __future__ import annotations

from gemel.base.clock import from_us
from gemel.base.errors import InvalidError
from gemel.contracts.document import Contract, Version, parse_contract
from gemel.contracts.versions import compare, needed_version
from gemel.sources.definition import ContractText
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = ["forget_contracts", "keep_contract"]

KEPT = """
SELECT document FROM source_contract
WHERE tenant = current_tenant() AND source = %s AND name = %s AND major = %s AND minor = %s"""
NEWEST = """
SELECT document FROM source_contract WHERE tenant = current_tenant() AND source = %s AND name = %s
ORDER BY major DESC, minor DESC LIMIT 1"""
KEEP = """
INSERT INTO source_contract (tenant, source, name, major, minor, document, created)
VALUES (current_tenant(), %s, %s, %s, %s, %s, %s)"""
FORGET = "DELETE FROM source_contract WHERE tenant = current_tenant() AND source = %s"


async def keep_contract(tx: WriteTransaction, source: str, given: ContractText) -> None:
    """Keep a version of a source's contract, unless it is there already; an earlier one may come back as it was.

    Raises InvalidError (ContractVersionTooLow) where it says something else than a version that there was, or
    breaks what the newest one promised without being of a new major version.
    """
    contract = given.contract
    key = (source, contract.name, *contract.version)
    same = await _read(tx, KEPT, key)
    if same is not None:
        changes = compare(same, contract)
        if changes:
            raise _too_low(contract, same, needed_version(same, changes), changes[0].where)
        return
    newest = await _read(tx, NEWEST, key[:2])
    if newest is not None:
        changes = compare(newest, contract)
        needed = needed_version(newest, changes)
        if contract.version < needed:
            raise _too_low(contract, newest, needed, changes[0].where if changes else "version")
    await tx.execute(KEEP, (*key, given.text, from_us(tx.stamp())))


async def forget_contracts(tx: WriteTransaction, source: str) -> None:
    """Forget all versions of a source's contracts."""
    await tx.execute(FORGET, (source,))


async def _read(tx: ReadTransaction, sql: str, key: tuple[object, ...]) -> Contract | None:
    row = await tx.row(sql, key)
    return None if row is None else parse_contract(str(row[0]).encode(), "kept contract")


def _too_low(contract: Contract, before: Contract, needed: Version, where: str) -> InvalidError:
    return InvalidError(
        "ContractVersionTooLow",
        f"The contract {contract.label} changes {where} of {before.label}: it needs version {needed} at least.",
        "Raise the version; `gemel contract diff OLD NEW` shows what changed and what of it breaks.",
    )
