from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from gemel.base.errors import ConflictError, InvalidError, NotFoundError, UnauthenticatedError
from gemel.security import tenants
from gemel.security.audit import PLATFORM, AuditEntry, record
from gemel.security.keys import Keyring
from gemel.security.principal import Scope
from gemel.security.refusals import Refusals
from gemel.security.spool import Spool
from gemel.security.trail import AuditFilter, list_audit
from gemel.store.database import Database
from support.postgres import Dsns

T = TypeVar("T")

HMAC_KEY = bytes(range(32))
ALL = list(Scope)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Site:
    """One database with tenants 'one' and 'two', and a loop to serve it with."""

    def __init__(self, owner_dsn: str, serve_dsn: str) -> None:
        self.serve_dsn = serve_dsn
        self.clock = Clock()
        self.owner = psycopg.connect(owner_dsn, autocommit=True)
        self.one = tenants.create_tenant(self.owner, "one")
        self.two = tenants.create_tenant(self.owner, "two")

    def key(self, tenant: str, *scopes: Scope) -> str:
        return tenants.create_key(self.owner, HMAC_KEY, tenants.NewKey(tenant, "k", scopes or ALL))[1]

    def run(self, work: Callable[[Database, Keyring], Awaitable[T]]) -> T:
        async def main() -> T:
            database = Database(self.serve_dsn)
            await database.open()
            try:
                return await work(database, Keyring(database, HMAC_KEY, clock_s=self.clock))
            finally:
                await database.close()

        return asyncio.run(main())


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(*database)
    with site.owner:
        yield site


def test_a_key_authenticates_with_its_tenant_and_scopes(site: Site) -> None:
    token = site.key("one", Scope.READ, Scope.INGEST)

    async def work(_: Database, keyring: Keyring) -> None:
        principal = await keyring.authenticate(token)
        assert (principal.tenant, principal.tenant_name) == (site.one, "one")
        assert principal.scopes == {Scope.READ, Scope.INGEST}
        assert principal.actor == "k"
        assert principal.key_id == token.split("_")[2]

    site.run(work)


def test_a_token_with_one_character_changed_does_not_hold(site: Site) -> None:
    token = site.key("one")
    swapped = "B" if token[-5] != "B" else "C"
    other_tenant = token.replace("gk_1_", "gk_2_", 1)

    async def work(_: Database, keyring: Keyring) -> None:
        for wrong in (token[:-5] + swapped + token[-4:], other_tenant, token + "A", "", "x"):
            with pytest.raises(UnauthenticatedError):
                await keyring.authenticate(wrong)
        await keyring.authenticate(token)

    site.run(work)


def test_the_token_is_stored_nowhere(site: Site) -> None:
    token = site.key("one")
    secret = token.split("_", 3)[3]
    for table in ("api_key", "audit"):
        rows = site.owner.execute(f"SELECT {table}::text FROM {table}").fetchall()
        assert rows
        assert not any(secret in row[0] for row in rows)


def test_a_revocation_here_holds_at_once_and_one_elsewhere_within_a_second(site: Site) -> None:
    here, elsewhere = site.key("one"), site.key("one")

    async def work(database: Database, keyring: Keyring) -> None:
        await keyring.authenticate(here)
        async with database.write(site.one) as tx:
            await keyring.revoke(tx, here.split("_")[2])
        with pytest.raises(UnauthenticatedError):
            await keyring.authenticate(here)
        await keyring.authenticate(elsewhere)
        tenants.revoke_key(site.owner, "one", elsewhere.split("_")[2])
        await keyring.authenticate(elsewhere)
        site.clock.now_s += 1.0
        with pytest.raises(UnauthenticatedError):
            await keyring.authenticate(elsewhere)

    site.run(work)


def test_a_lookup_that_a_revocation_overtakes_is_not_kept(site: Site) -> None:
    token = site.key("one")

    class Slow(Database):
        overtaken = asyncio.Event()
        looked_up = asyncio.Event()

        async def query(self, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
            rows = await super().query(*arguments, **options)
            self.looked_up.set()
            await self.overtaken.wait()
            return rows

    async def work(_: Database, __: Keyring) -> None:
        database = Slow(site.serve_dsn)
        keyring = Keyring(database, HMAC_KEY, clock_s=site.clock)
        await database.open()
        lookup = asyncio.create_task(keyring.authenticate(token))
        await database.looked_up.wait()
        async with database.write(site.one) as tx:
            await keyring.revoke(tx, token.split("_")[2])
        database.overtaken.set()
        await lookup
        with pytest.raises(UnauthenticatedError):
            await keyring.authenticate(token)
        await database.close()

    site.run(work)


def test_keys_are_made_listed_and_revoked_within_one_tenant(site: Site) -> None:
    async def work(database: Database, keyring: Keyring) -> None:
        async with database.write(site.two) as tx:
            key_id, token = await keyring.create(tx, "line 1", ["ingest"])
        assert (await keyring.authenticate(token)).tenant == site.two
        async with database.write(site.one) as tx:
            assert key_id not in [key.key_id for key in await keyring.list_keys(tx)]
            with pytest.raises(NotFoundError, match=key_id):
                await keyring.revoke(tx, key_id)
        async with database.write(site.two) as tx:
            await keyring.revoke(tx, key_id)
            with pytest.raises(NotFoundError):
                await keyring.revoke(tx, key_id)
            (listed,) = await keyring.list_keys(tx)
        assert (listed.key_id, listed.name, listed.scopes) == (key_id, "line 1", ["ingest"])
        assert listed.revoked is not None

    site.run(work)


def test_a_rolled_back_revocation_changes_nothing(site: Site) -> None:
    token = site.key("one")

    async def work(database: Database, keyring: Keyring) -> None:
        with suppress(ZeroDivisionError):
            async with database.write(site.one) as tx:
                await keyring.revoke(tx, token.split("_")[2])
                raise ZeroDivisionError
        site.clock.now_s += 10
        await keyring.authenticate(token)

    site.run(work)


@pytest.mark.parametrize(
    ("name", "scopes"), [("", ["read"]), ("a\nb", ["read"]), ("x" * 101, ["read"]), ("a", [])]
)
def test_bad_keys_are_refused(site: Site, name: str, scopes: list[str]) -> None:
    async def work(database: Database, keyring: Keyring) -> None:
        async with database.write(site.one) as tx:
            await keyring.create(tx, name, scopes)

    with pytest.raises(InvalidError):
        site.run(work)


def test_tenants_have_unique_names_of_one_form(site: Site) -> None:
    with pytest.raises(ConflictError):
        tenants.create_tenant(site.owner, "one")
    for name in ("", "A", "-a", "a" * 64, "a\0", "ä"):
        with pytest.raises(InvalidError):
            tenants.create_tenant(site.owner, name)
    assert [tenant.name for tenant in tenants.list_tenants(site.owner)] == ["one", "two"]
    for unknown in ("three", "platform", "a\0"):
        with pytest.raises(NotFoundError):
            tenants.find_tenant(site.owner, unknown)


def test_acts_and_refusals_are_audited_apart(site: Site, tmp_path: Path) -> None:
    done = [AuditEntry("k", "id", "twin.put", f"t{n}", "ok", "a" * 32) for n in range(3)]
    refused = AuditEntry("k", "id", "twin.put", "t\0\ud800", "ScopeMissing", "b" * 32)

    async def work(database: Database, _: Keyring) -> None:
        refusals = Refusals(database, Spool(tmp_path))
        async with database.write(site.two) as tx:
            await record(tx, done)
            # The head is locked here: a refusal does not wait for it.
            await asyncio.wait_for(refusals.record(site.two, refused), 5)
        await refusals.record(PLATFORM, refused)
        assert Spool(tmp_path).is_empty()
        async with database.read(site.two) as read:
            rows = await list_audit(read, 4)
            older = await list_audit(read, 2, AuditFilter(before=rows[1].number))
        assert sorted(row.target for row in rows) == ["t0", "t1", "t2", "t\N{REPLACEMENT CHARACTER}?"]
        assert [row.number for row in older] == [row.number for row in rows[2:4]]
        async with database.read(PLATFORM) as read:
            actions = [row.action for row in await list_audit(read, 100)]
        assert actions.count("tenant.create") == 2
        assert actions.count("twin.put") == 1

    site.run(work)


def test_a_rolled_back_act_leaves_no_entry(site: Site) -> None:
    async def work(database: Database, _: Keyring) -> None:
        with suppress(ZeroDivisionError):
            async with database.write(site.one) as tx:
                await record(tx, [AuditEntry("k", None, "never", "x", "ok", "")])
                raise ZeroDivisionError
        async with database.read(site.one) as read:
            assert "never" not in [row.action for row in await list_audit(read, 100)]

    site.run(work)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET result = 'no'", "DELETE FROM audit", "TRUNCATE audit"]
)
def test_not_even_the_owner_changes_the_trail(site: Site, statement: str) -> None:
    with pytest.raises(psycopg.Error, match="append-only"):
        site.owner.execute(statement)
