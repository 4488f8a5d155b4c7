from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import gemel
from gemel.base.errors import ConflictError, EnvironmentFaultError, InvalidError
from gemel.store import migrate
from gemel.store.backup import backup, restore
from gemel.store.binaries import locate
from gemel.store.roles import ensure_roles
from gemel.store.server import BundledServer
from support.postgres import fresh_database

ROWS = """
INSERT INTO tenant (tenant, name) VALUES (1, 'default'), (2, 'other');
INSERT INTO tenant_head (tenant) VALUES (1), (2);
INSERT INTO audit (tenant, actor, action, target, result, trace_id)
SELECT 1 + n % 2, 'me', 'act', 'target ' || n || E' ü\\n', 'ok', n::text FROM generate_series(1, 500) n;
INSERT INTO path (tenant, path_no, path, role)
SELECT 1 + n % 2, n, 'motor.temperature' || n, 'property' FROM generate_series(1, 500) n;
SELECT ensure_sample_week('2020-02-03');
SELECT setval('twin_no', 4242);
"""
TABLES = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1"""
SHAPE = """
SELECT 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), ''
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', tablename, indexname::text, indexdef, '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'policy', tablename, policyname::text, coalesce(qual, ''), coalesce(with_check, '') FROM pg_policies
UNION ALL
SELECT 'security', oid::regclass::text, relrowsecurity::text, relforcerowsecurity::text, ''
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
UNION ALL
SELECT 'right', table_name, grantee::text, privilege_type::text, '' FROM information_schema.role_table_grants
WHERE table_schema = 'public' AND grantee IN ('gemel_serve', 'gemel_copy')
UNION ALL
SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid), prosecdef::text, ''
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'sequence', sequencename::text, coalesce(last_value, 0)::text, max_value::text, '' FROM pg_sequences
ORDER BY 1, 2, 3, 4, 5"""


def content(dsn: str) -> dict[str, object]:
    """Return all that a backup holds: everything but the generation."""
    with psycopg.connect(dsn) as connection:
        found: dict[str, object] = {"shape": connection.execute(SHAPE).fetchall()}
        for (table,) in connection.execute(TABLES).fetchall():
            if table == "generation":
                continue
            query = sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.SQL(table))
            found[table] = connection.execute(query).fetchall()
        return found


def generation(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        ((found,),) = connection.execute("SELECT generation FROM generation").fetchall()
    return str(found)


@pytest.fixture
def filled(cluster: BundledServer, template: str) -> Iterator[str]:
    with fresh_database(cluster, template) as dsns:
        with psycopg.connect(dsns.owner, autocommit=True) as connection:
            connection.execute(ROWS.encode())
        yield dsns.owner


@pytest.fixture
def empty(cluster: BundledServer) -> Iterator[str]:
    with fresh_database(cluster) as dsns:
        yield dsns.owner


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "hmac.key").write_bytes(bytes(range(32)))
    (folder / "default.key").write_text("gml_key")
    return folder


def test_everything_comes_back(filled: str, empty: str, home: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "b.tar", tmp_path / "elsewhere"
    manifest = backup(filled, locate(), home, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (manifest.gemel, manifest.owner) == (gemel.__version__, "gemel_owner")
    assert list(manifest.schema) == migrate.applied(filled) != []
    assert sorted(os.listdir(tmp_path)) == ["b.tar", "data"]

    assert restore(empty, locate(), other, file) == manifest
    before, after = content(filled), content(empty)
    assert after == before
    audit = before["audit"]
    assert isinstance(audit, list)
    assert len(audit) == 500
    for key in ("hmac.key", "default.key"):
        assert (other / key).read_bytes() == (home / key).read_bytes()
        assert stat.S_IMODE((other / key).stat().st_mode) == 0o600
    assert migrate.migrate(empty) == []


def test_each_restore_begins_a_generation_that_lasts(
    filled: str, empty: str, home: Path, tmp_path: Path
) -> None:
    file, first = tmp_path / "b.tar", generation(filled)
    migrate.migrate(filled)
    assert generation(filled) == first
    backup(filled, locate(), home, file)
    assert generation(filled) == first
    found = [first]
    for replace in (False, True, True):
        restore(empty, locate(), home, file, replace=replace)
        migrate.migrate(empty)
        found.append(generation(empty))
        migrate.migrate(empty)
        assert generation(empty) == found[-1]
    # In their order as texts, too: `sequence` begins with it.
    assert len(set(found)) == 4
    assert found == sorted(found)
    with psycopg.connect(make_conninfo(empty, user="gemel_serve"), autocommit=True) as connection:
        assert connection.execute("SELECT generation FROM generation").fetchall() == [(found[-1],)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM generation")


def test_row_security_holds_after_a_restore(filled: str, empty: str, home: Path, tmp_path: Path) -> None:
    backup(filled, locate(), home, tmp_path / "b.tar")
    restore(empty, locate(), home, tmp_path / "b.tar")
    with psycopg.connect(make_conninfo(empty, user="gemel_serve")) as connection:
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (0,)
        connection.execute("SELECT set_config('gemel.tenant', '1', true)")
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (250,)


def test_a_database_with_tables_is_refused_unless_replaced(filled: str, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    backup(filled, locate(), home, file)
    before = content(filled)
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("CREATE TABLE later (x int); INSERT INTO path VALUES (1, 9999, 'p', 'telemetry')")
    (home / "hmac.key").write_bytes(b"another")
    with pytest.raises(ConflictError) as refused:
        restore(filled, locate(), home, file)
    assert refused.value.code == "OperationNotAllowed"
    assert (home / "hmac.key").read_bytes() == b"another"
    assert content(filled) != before

    with psycopg.connect(filled, autocommit=True) as bystander:
        restore(filled, locate(), home, file, replace=True)
        with pytest.raises(psycopg.OperationalError):
            bystander.execute("SELECT 1")
    assert content(filled) == before
    assert (home / "hmac.key").read_bytes() == bytes(range(32))
    with psycopg.connect(filled) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'restore|replaced'")
        assert names.fetchall() == []


def test_a_failed_replacement_leaves_the_old_database(filled: str, home: Path, tmp_path: Path) -> None:
    backup(filled, locate(), home, tmp_path / "b.tar")
    before = content(filled)
    broken = tmp_path / "install"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin/pg_restore").write_text("#!/bin/sh\necho 'disk full' >&2\nexit 1\n")
    (broken / "bin/pg_restore").chmod(0o755)
    with pytest.raises(EnvironmentFaultError, match="pg_restore failed: disk full"):
        restore(filled, broken, home, tmp_path / "b.tar", replace=True)
    assert content(filled) == before
    with psycopg.connect(filled) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'restore|replaced'")
        assert names.fetchall() == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "extra", "absent"])
def test_a_damaged_file_is_refused_before_anything_is_touched(
    filled: str, empty: str, home: Path, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "b.tar"
    backup(filled, locate(), home, file)
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 3] ^= 1
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    elif damage == "text":
        data[:] = b"no tar at all" * 1000
    file.write_bytes(data)
    if damage == "extra":
        with tarfile.open(file, "a") as tar:
            tar.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    if damage == "absent":
        file.unlink()
    with pytest.raises(InvalidError) as refused:
        restore(empty, locate(), home, file)
    assert refused.value.code == ("FileUnreadable" if damage == "absent" else "BackupInvalid")
    assert "shape" in content(empty)
    assert list(content(empty)) == ["shape"]


def test_a_backup_of_a_newer_schema_is_refused(
    filled: str, empty: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(filled, locate(), home, tmp_path / "b.tar")
    monkeypatch.setattr(migrate, "available", list)
    with pytest.raises(EnvironmentFaultError) as refused:
        restore(empty, locate(), home, tmp_path / "b.tar")
    assert refused.value.code == "DatabaseTooOld"


def test_an_owner_without_superuser_rights(
    cluster: BundledServer, filled: str, empty: str, home: Path, tmp_path: Path
) -> None:
    """What the bundled server made goes to a server of the user's own, under another owner, and on."""
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    backup(filled, locate(), home, first)
    role, name = "plain_owner", psycopg.conninfo.conninfo_to_dict(empty)["dbname"]
    with psycopg.connect(cluster.owner_dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN CREATEROLE CREATEDB".encode())
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO {role}'.encode())
        connection.execute(f"GRANT gemel_serve, gemel_copy TO {role} WITH ADMIN OPTION".encode())
    plain = make_conninfo(empty, user=role)
    try:
        with psycopg.connect(plain, autocommit=True) as connection:
            ensure_roles(connection)
        restore(plain, locate(), home, first)
        rows = content(filled)
        found = content(plain)
        assert {t: r for t, r in found.items() if t != "shape"} == {
            t: r for t, r in rows.items() if t != "shape"
        }
        manifest = backup(plain, locate(), home, second)
        assert manifest.owner == role
        restore(plain, locate(), home, second, replace=True)
        assert content(plain) == found
    finally:
        with psycopg.connect(cluster.owner_dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_rows_that_the_owner_may_not_see_stop_a_backup(
    cluster: BundledServer, filled: str, home: Path, tmp_path: Path
) -> None:
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("CREATE ROLE half_blind LOGIN; GRANT pg_read_all_data TO half_blind")
    try:
        with pytest.raises(EnvironmentFaultError, match=r"hides rows of .*audit"):
            backup(make_conninfo(filled, user="half_blind"), locate(), home, tmp_path / "b.tar")
        assert os.listdir(tmp_path) == ["data"]
    finally:
        with psycopg.connect(filled, autocommit=True) as connection:
            connection.execute("DROP OWNED BY half_blind; DROP ROLE half_blind")
