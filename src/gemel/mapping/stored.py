"""Mappings that a tenant keeps by name, in versions. Owns the table `mapping`."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gemel.base.clock import from_us, iso_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.mapping.mapper import Mapper
from gemel.mapping.payload import parse_payload_mapping
from gemel.store.database import ReadTransaction, WriteTransaction

__all__ = [
    "MappingLibrary",
    "StoredMapping",
    "compile_stored",
    "delete_mapping",
    "get_mapping",
    "list_mappings",
    "put_mapping",
]

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
MAPPINGS_MAX: Final = 256
VERSIONS_MAX: Final = 1000
DOCUMENT_BYTES_MAX: Final = 256 << 10
COMPILED_MAX: Final = 512

FIELDS = "name, version, digest, (extract(epoch FROM created) * 1000000)::bigint"
NEWEST = f"""
SELECT {FIELDS} FROM mapping WHERE tenant = current_tenant() AND name = %s ORDER BY version DESC LIMIT 1"""
GET = f"""
SELECT {FIELDS}, document FROM mapping
WHERE tenant = current_tenant() AND name = %s AND (%s::int IS NULL OR version = %s)
ORDER BY version DESC LIMIT 1"""
LIST = f"""
SELECT DISTINCT ON (name) {FIELDS} FROM mapping WHERE tenant = current_tenant() ORDER BY name, version DESC"""
COUNT = "SELECT count(DISTINCT name) FROM mapping WHERE tenant = current_tenant() AND name <> %s"
INSERT = """
INSERT INTO mapping (tenant, name, version, digest, document, created)
VALUES (current_tenant(), %s, %s, %s, %s, %s)"""
DELETE = "DELETE FROM mapping WHERE tenant = current_tenant() AND name = %s"


class StoredMapping(msgspec.Struct, frozen=True):
    """A version of a mapping; `document` is its text, given only when one is shown."""

    name: str
    version: int
    digest: str
    created: str
    document: str | None = None


def compile_stored(name: str, document: bytes) -> Mapper:
    """Check and compile a mapping that is to be kept.

    Raises InvalidError: InvalidArgument for a name or size that is not taken, MappingInvalid.
    """
    if NAME.fullmatch(name) is None:
        raise InvalidError(
            "InvalidArgument",
            "The name of a mapping has 1 to 64 of the characters A-Z a-z 0-9 _ . -, and begins and ends with a "
            "letter or digit.",
        )
    if len(document) > DOCUMENT_BYTES_MAX or b"\0" in document:
        raise InvalidError("InvalidArgument", f"A mapping is text of at most {DOCUMENT_BYTES_MAX} bytes.")
    try:
        document.decode()
    except UnicodeDecodeError as error:
        raise InvalidError("MappingInvalid", f"{name}: is not UTF-8 at byte {error.start}.") from error
    return Mapper(parse_payload_mapping(document, name))


async def put_mapping(tx: WriteTransaction, name: str, digest: str, document: str) -> StoredMapping:
    """Keep a mapping as a new version of its name; what says the same as the newest is no new version.

    Raises InvalidError (LimitExceeded).
    """
    newest = await tx.row(NEWEST, (name,))
    if newest is not None and newest[2] == digest:
        return _stored(newest)
    version = 1 if newest is None else int(newest[1]) + 1
    others = await tx.row(COUNT, (name,))
    if version > VERSIONS_MAX or (others is not None and others[0] >= MAPPINGS_MAX):
        raise InvalidError(
            "LimitExceeded", f"A tenant has at most {MAPPINGS_MAX} mappings of {VERSIONS_MAX} versions."
        )
    created_us = tx.stamp()
    await tx.execute(INSERT, (name, version, digest, document, from_us(created_us)))
    return StoredMapping(name, version, digest, iso_us(created_us))


async def list_mappings(tx: ReadTransaction) -> list[StoredMapping]:
    """Return the newest version of every mapping, by name."""
    return [_stored(row) for row in await tx.rows(LIST)]


async def get_mapping(tx: ReadTransaction, name: str, version: int | None = None) -> StoredMapping:
    """Return a version of a mapping, the newest unless one is named. Raises NotFoundError (MappingNotFound)."""
    row = await tx.row(GET, (name, version, version))
    if row is None:
        raise _not_found(name)
    return msgspec.structs.replace(_stored(row), document=row[4])


async def delete_mapping(tx: WriteTransaction, name: str) -> None:
    """Delete all versions of a mapping. Raises NotFoundError (MappingNotFound)."""
    if not await tx.execute(DELETE, (name,)):
        raise _not_found(name)


class MappingLibrary:
    """Stored mappings of any tenant, each compiled once per process; those used longest ago are given up."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[tuple[int, str, str], Mapper] = OrderedDict()

    async def mapper(self, tx: ReadTransaction, name: str) -> Mapper:
        """Return the newest version of a mapping, compiled. Raises NotFoundError (MappingNotFound)."""
        row = await tx.row(NEWEST, (name,))
        if row is None:
            raise _not_found(name)
        key = (tx.tenant, name, str(row[2]))
        mapper = self._compiled.get(key)
        if mapper is None:
            stored = await get_mapping(tx, name, int(row[1]))
            document = (stored.document or "").encode()
            mapper = await asyncio.to_thread(compile_stored, name, document)
        self._compiled[key] = mapper
        self._compiled.move_to_end(key)
        if len(self._compiled) > COMPILED_MAX:
            self._compiled.popitem(last=False)
        return mapper


def _stored(row: Sequence[Any]) -> StoredMapping:
    return StoredMapping(row[0], row[1], row[2], iso_us(row[3]))


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(
        "MappingNotFound", f"There is no mapping named {name[:80]!r}, or no such version of it.", "Add it."
    )
