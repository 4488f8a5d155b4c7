from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from gemel.store.roles import ensure_roles
from gemel.store.server import BundledServer
from support.postgres import fresh_database

STATE = """
SELECT r.rolname::text, r.rolcanlogin, r.rolsuper OR r.rolbypassrls OR r.rolcreaterole,
       array(SELECT m.roleid::regrole::text || m.inherit_option || m.set_option
             FROM pg_auth_members m WHERE m.member = r.oid)
FROM pg_roles r WHERE rolname IN ('gemel_serve', 'gemel_copy') ORDER BY 1"""
WANTED = [("gemel_copy", False, False, []), ("gemel_serve", True, False, ["gemel_copyfalsetrue"])]


def ensure(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        ensure_roles(connection)


def state(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(STATE).fetchall()


def drop(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS gemel_serve; DROP ROLE IF EXISTS gemel_copy")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledServer]:
    """A server of the module's own: roles belong to the whole of it."""
    server = BundledServer(tmp_path_factory.mktemp("roles") / "data", changes={"fsync": "off"})
    server.start()
    yield server
    server.stop()


def test_roles_are_made_once_whoever_comes_first(cluster: BundledServer) -> None:
    with fresh_database(cluster) as one, fresh_database(cluster) as two:
        for _ in range(5):
            drop(one.owner)
            with ThreadPoolExecutor(8) as callers:
                for outcome in [callers.submit(ensure, d.owner) for d in (one, two) * 4]:
                    outcome.result()
            assert state(one.owner) == WANTED
        ensure(one.owner)
        assert state(one.owner) == WANTED


def test_the_serving_role_copies_only_when_it_says_so(cluster: BundledServer) -> None:
    with fresh_database(cluster) as dsns:
        ensure(dsns.owner)
        with psycopg.connect(dsns.owner, autocommit=True) as connection:
            connection.execute("CREATE TABLE leaf (n int); GRANT INSERT ON leaf TO gemel_copy")
        with psycopg.connect(dsns.serve, autocommit=True) as connection:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("INSERT INTO leaf VALUES (1)")
            connection.execute("SET ROLE gemel_copy")
            connection.execute("INSERT INTO leaf VALUES (1)")


def test_an_owner_with_createrole_is_enough(cluster: BundledServer) -> None:
    with fresh_database(cluster) as dsns:
        drop(dsns.owner)
        with psycopg.connect(dsns.owner, autocommit=True) as connection:
            connection.execute("CREATE ROLE landlord LOGIN CREATEROLE")
        landlord = psycopg.conninfo.make_conninfo(dsns.owner, user="landlord")
        ensure(landlord)
        ensure(landlord)
        assert state(dsns.owner) == WANTED
        with psycopg.connect(landlord, autocommit=True) as connection:
            connection.execute("SET ROLE gemel_serve")
            connection.execute("RESET ROLE")
            connection.execute("SET ROLE gemel_copy")
