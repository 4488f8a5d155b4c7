"""`gemel up` on the user's own PostgreSQL, whose owner role is no superuser."""

from __future__ import annotations

import psycopg

from gemel.store.server import BundledServer
from support.command_line import ASSETS, serving

ROLE = "plant_owner"


def own_database(cluster: BundledServer) -> str:
    """Make an ordinary role and its database on a running server; return the URL."""
    with psycopg.connect(cluster.owner_dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {ROLE}")
        admin.execute(f"DROP ROLE IF EXISTS {ROLE}")
        admin.execute(f"CREATE ROLE {ROLE} LOGIN CREATEROLE NOSUPERUSER")
        for role in ("gemel_serve", "gemel_copy"):
            known = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            if known:
                admin.execute(f"GRANT {role} TO {ROLE} WITH ADMIN TRUE")
        admin.execute(f"CREATE DATABASE {ROLE} OWNER {ROLE}")
    parts = psycopg.conninfo.conninfo_to_dict(cluster.owner_dsn(ROLE))
    return f"postgresql://{ROLE}@/{ROLE}?host={parts['host']}&port={parts['port']}"


def test_up_ingest_and_read_back_on_an_own_database(cluster: BundledServer) -> None:
    url = own_database(cluster)
    with serving(GEMEL_DATABASE_URL=url) as site:
        added = site.run("models", "add", str(ASSETS / "pump-rig" / "models.json"), "--json")
        assert added.code == 0, added
        assert (
            site.run("twins", "create", "lab-1", "--model", "dtmi:gemel:demo:Laboratory;1", "--json").code
            == 0
        )
        assert site.run("tenant", "create", "other", "--json").code == 0
        status = site.run("db", "status", "--json")
        assert status.code == 0, status
        doctor = {found["check"]: found for found in site.run("doctor", "--json").json()}
        assert doctor["database locks"]["verdict"] == "ok"
        assert not (site.data / "postgres").exists()
        with psycopg.connect(url) as owner:
            row = owner.execute("SELECT count(*) FROM twin").fetchone()
            assert row == (1,)
            users = owner.execute("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = %s", (ROLE,))
            assert {name for (name,) in users} == {ROLE}
        serve = psycopg.conninfo.make_conninfo(url, options="-c role=gemel_serve")
        with psycopg.connect(serve) as serving_role:
            assert serving_role.execute("SELECT count(*) FROM twin").fetchone() == (0,)
