"""API keys: made, listed, revoked, and looked up for every request."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.security.principal import Principal, Scope, parse_scopes
from gemel.security.tokens import RandomBytes, digest, invalid_token, mint, parse_token
from gemel.store.database import Database, ReadTransaction, Row, WriteTransaction

__all__ = [
    "INSERT_KEY",
    "LIST_KEYS",
    "REVOKE_KEY",
    "KeyInfo",
    "Keyring",
    "key_info",
    "key_missing",
    "key_name",
]

CACHE_TTL_S = 1.0
CACHED_MAX = 4096
NAME_LENGTH_MAX = 100

FIND_KEY = """
SELECT k.digest, k.scopes, k.name, t.name
FROM api_key k JOIN tenant t ON t.tenant = k.tenant
WHERE k.tenant = current_tenant() AND k.key_id = %s AND k.revoked IS NULL"""
INSERT_KEY = "INSERT INTO api_key (tenant, key_id, name, digest, scopes) VALUES (%s, %s, %s, %s, %s)"
LIST_KEYS = """
SELECT key_id, name, scopes, (extract(epoch FROM created) * 1000000)::bigint,
       (extract(epoch FROM revoked) * 1000000)::bigint
FROM api_key WHERE tenant = %s ORDER BY created, key_id"""
REVOKE_KEY = (
    "UPDATE api_key SET revoked = clock_timestamp() WHERE tenant = %s AND key_id = %s AND revoked IS NULL"
)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key: never its token. Times are RFC 3339."""

    key_id: str
    name: str
    scopes: list[str]
    created: str
    revoked: str | None


def key_info(row: Row) -> KeyInfo:
    """Return a row of LIST_KEYS as what may be shown."""
    key_id, name, scopes, created_us, revoked_us = row
    revoked = None if revoked_us is None else iso_us(revoked_us)
    return KeyInfo(key_id, name, list(scopes), iso_us(created_us), revoked)


def key_name(text: str) -> str:
    """Return a key's name, or raise InvalidError (InvalidArgument): 1 to 100 printable characters."""
    if not 0 < len(text) <= NAME_LENGTH_MAX or not text.isprintable():
        raise InvalidError(
            "InvalidArgument",
            f"A key's name has 1 to {NAME_LENGTH_MAX} printable characters, not {text[:120]!r}.",
        )
    return text


def key_missing(key_id: str) -> NotFoundError:
    """Return the error for a key id that is not there, or is revoked already."""
    return NotFoundError("KeyNotFound", f"There is no live key {key_id[:40]!r}.", "See `gemel key list`.")


class Keyring:
    """The keys of all tenants, as the serving process sees them.

    What was found is held for a second at most, so that a revocation by another process holds after that;
    one by this process holds when it commits.
    """

    def __init__(
        self,
        database: Database,
        hmac_key: bytes,
        *,
        random_bytes: RandomBytes = secrets.token_bytes,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._hmac_key = hmac_key
        self._random_bytes = random_bytes
        self._clock_s = clock_s
        self._found: dict[bytes, tuple[float, Principal]] = {}
        self._generation = 0

    async def authenticate(self, token: str) -> Principal:
        """Return whom a token stands for; raise UnauthenticatedError (TokenInvalid) if it does not hold."""
        parts = parse_token(token)
        given = digest(self._hmac_key, token)
        held = self._found.get(given)
        if held is not None and held[0] > self._clock_s():
            return held[1]
        generation = self._generation
        rows = await self._database.query(parts.tenant, FIND_KEY, (parts.key_id,))
        if not rows or not hmac.compare_digest(bytes(rows[0][0]), given):
            raise invalid_token()
        _, scopes, name, tenant_name = rows[0]
        principal = Principal(parts.tenant, tenant_name, parts.key_id, name, frozenset(map(Scope, scopes)))
        # A revocation that committed meanwhile has raised the generation: then this answer is not kept.
        if generation == self._generation:
            self._keep(given, principal)
        return principal

    async def create(self, tx: WriteTransaction, name: str, scopes: Collection[str]) -> tuple[str, str]:
        """Make a key of the transaction's tenant; return its id and its token, which is shown only now."""
        wanted = sorted(parse_scopes(scopes))
        key_id, token = mint(tx.tenant, self._random_bytes)
        row = (tx.tenant, key_id, key_name(name), digest(self._hmac_key, token), wanted)
        await tx.execute(INSERT_KEY, row)
        return key_id, token

    async def list_keys(self, tx: ReadTransaction) -> list[KeyInfo]:
        """Return all keys of the transaction's tenant, revoked ones too, oldest first."""
        return [key_info(row) for row in await tx.rows(LIST_KEYS, (tx.tenant,))]

    async def revoke(self, tx: WriteTransaction, key_id: str) -> None:
        """Revoke a live key of the transaction's tenant; raise NotFoundError (KeyNotFound) else."""
        if "\0" in key_id or not await tx.execute(REVOKE_KEY, (tx.tenant, key_id)):
            raise key_missing(key_id)
        tx.on_commit(self._forget)

    def _keep(self, given: bytes, principal: Principal) -> None:
        if len(self._found) >= CACHED_MAX:
            self._found.clear()
        self._found[given] = (self._clock_s() + CACHE_TTL_S, principal)

    def _forget(self) -> None:
        self._generation += 1
        self._found.clear()
