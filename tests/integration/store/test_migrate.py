"""Migrations: from empty and from each earlier version to the same schema, once, whoever else migrates too."""

from __future__ import annotations

import threading

import psycopg
import pytest

from gemel.base.errors import EnvironmentFaultError
from gemel.store.migrate import applied, available, migrate
from gemel.store.server import BundledServer
from support.postgres import fresh_database

SCHEMA = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public'
UNION ALL SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT tablename, policyname, array_to_string(roles, ','), qual, with_check FROM pg_policies
UNION ALL SELECT table_name, privilege_type, grantee, '', '' FROM information_schema.table_privileges
WHERE table_schema = 'public'
UNION ALL SELECT proname, pg_get_functiondef(oid), '', '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1, 2, 3, 4, 5"""


def schema_of(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(SCHEMA.encode()).fetchall()


def test_every_earlier_version_ends_at_the_same_schema(cluster: BundledServer) -> None:
    names = [step.name for step in available()]
    with fresh_database(cluster) as fresh:
        assert migrate(fresh.owner) == names
        assert migrate(fresh.owner) == []
        expected = schema_of(fresh.owner)
    for done in range(len(names)):
        with fresh_database(cluster) as older:
            if done:
                assert migrate(older.owner, upto=names[done - 1]) == names[:done]
            assert migrate(older.owner) == names[done:]
            assert applied(older.owner) == names
            assert schema_of(older.owner) == expected


def test_several_at_once_apply_each_migration_once(cluster: BundledServer) -> None:
    with fresh_database(cluster) as dsns:
        done: list[str] = []
        threads = [threading.Thread(target=lambda: done.extend(migrate(dsns.owner))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [step.name for step in available()]


def test_a_newer_database_is_refused_and_not_touched(cluster: BundledServer) -> None:
    with fresh_database(cluster) as dsns:
        migrate(dsns.owner)
        with psycopg.connect(dsns.owner) as connection:
            connection.execute("INSERT INTO schema_migration (name) VALUES ('9999_from_the_future')")
        with pytest.raises(EnvironmentFaultError, match="9999_from_the_future"):
            migrate(dsns.owner)


def test_every_table_has_its_tenant_first_and_forced_row_level_security(cluster: BundledServer) -> None:
    with fresh_database(cluster) as dsns:
        migrate(dsns.owner)
        with psycopg.connect(dsns.owner) as connection:
            tables = connection.execute(
                "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition "
                "AND relname <> 'schema_migration'"
            ).fetchall()
            assert len(tables) >= 17
            assert [row for row in tables if not (row[1] and row[2])] == []
            keys = connection.execute(
                "SELECT indrelid::regclass::text, a.attname FROM pg_index i JOIN pg_attribute a "
                "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE indisunique "
                "AND indrelid::regclass::text = ANY(%s)",
                ([row[0] for row in tables if row[0] != "tenant"],),
            ).fetchall()
            assert {name for _, name in keys} == {"tenant"}
