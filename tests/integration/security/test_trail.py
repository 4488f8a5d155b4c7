"""The trail as it is read: filters, whose it is, and that a filter by action does not read the whole of it."""

from __future__ import annotations

import asyncio
import pwd
from os import geteuid

import psycopg
import pytest

from gemel.base.errors import NotFoundError
from gemel.security import tenants
from gemel.security.audit import PLATFORM, operator_name, record_migrations, record_operator_act
from gemel.security.trail import AuditFilter, list_audit, read_trail
from gemel.store.database import Parameters, ReadTransaction, Row
from support.postgres import Dsns
from support.tenants import open_tenant

FILL = """
INSERT INTO audit (tenant, actor, action, target, result, trace_id)
SELECT %s, 'line', 'events.ingest', 'n' || n, 'ok', '' FROM generate_series(1, 20000) n"""
RARE = """
INSERT INTO audit (tenant, actor, action, target, result, trace_id)
VALUES (%s, 'line', 'key.revoke', 'k1', 'ok', ''), (%s, 'line', 'key.revoke.x', 'l', 'ok', '')"""


def test_an_operators_act_bears_the_name_of_the_user(database: Dsns) -> None:
    assert operator_name() == f"operator:{pwd.getpwuid(geteuid()).pw_name}"
    with psycopg.connect(database.owner) as owner:
        record_operator_act(owner, "history.retain", "platform")
        record_operator_act(owner, "database.restore", "a\0b", "BackupInvalid")
        rows = read_trail(owner, PLATFORM, 2)
    assert [(row.tenant, row.actor, row.action, row.target, row.result) for row in rows] == [
        ("platform", operator_name(), "database.restore", "a\N{REPLACEMENT CHARACTER}b", "BackupInvalid"),
        ("platform", operator_name(), "history.retain", "platform", "ok"),
    ]


def test_migrations_leave_one_entry_and_none_leave_none(database: Dsns) -> None:
    record_migrations(database.owner, ["0001_base", "0002_audit_filters"])
    record_migrations(database.owner, [])
    with psycopg.connect(database.owner) as owner:
        rows = read_trail(owner, PLATFORM, 10, AuditFilter(action="database.migrate"))
    assert [row.target for row in rows] == ["0001_base, 0002_audit_filters"]


def test_what_operators_do_with_keys_is_in_the_trail_of_the_tenant(database: Dsns) -> None:
    with psycopg.connect(database.owner) as owner:
        number = tenants.create_tenant(owner, "of-keys")
        key_id, _ = tenants.create_key(owner, bytes(32), tenants.NewKey("of-keys", "k", ["read"]))
        tenants.revoke_key(owner, "of-keys", key_id)
        rows = read_trail(owner, number, 10)
        made = read_trail(owner, PLATFORM, 1, AuditFilter(action="tenant.create"))
        with pytest.raises(NotFoundError):
            tenants.find_tenant(owner, "platform")
    assert [(row.action, row.target, row.actor) for row in rows] == [
        ("key.revoke", key_id, operator_name()),
        ("key.create", key_id, operator_name()),
    ]
    assert [(row.target, row.actor) for row in made] == [("of-keys", operator_name())]


class Seen(ReadTransaction):
    """A transaction that keeps the statements it is given."""

    statements: list[tuple[str, Parameters]]

    @classmethod
    def of(cls, tx: ReadTransaction) -> Seen:
        """Return the same transaction, seen."""
        seen = cls.__new__(cls)
        vars(seen).update(vars(tx))
        seen.statements = []
        return seen

    async def rows(self, sql: str, parameters: Parameters = (), *, keeps_plan: bool = True) -> list[Row]:
        self.statements.append((sql, parameters))
        return await super().rows(sql, parameters, keeps_plan=keeps_plan)


def test_a_filter_by_action_reads_the_index_and_only_the_tenants_own(database: Dsns) -> None:
    async def work() -> None:
        async with open_tenant(database) as (served, number), open_tenant(database) as (_, other):
            fill(database, number, other)
            async with served.read(number) as tx:
                seen = Seen.of(tx)
                rows = await list_audit(seen, 100, AuditFilter(action="key.revoke"))
                assert [row.action for row in rows] == ["key.revoke.x", "key.revoke"]
                ((sql, parameters),) = seen.statements
                plan = await tx.rows("EXPLAIN " + sql, parameters)
                text = "\n".join(str(line[0]) for line in plan)
                assert "audit_by_action" in text, text
                assert "Seq Scan on audit" not in text, text
                assert len(await list_audit(tx, 100, AuditFilter(target="k"))) == 1
                assert await list_audit(tx, 100, AuditFilter(to_us=0)) == []
                assert len(await list_audit(tx, 30, AuditFilter(actor="line", result="ok", from_us=0))) == 30

    asyncio.run(work())


def fill(database: Dsns, number: int, other: int) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(FILL, (number,))
        owner.execute(RARE, (number, number))
        owner.execute(RARE, (other, other))
        owner.execute("ANALYZE audit")
