from __future__ import annotations

import psycopg


def test_a_module_gets_a_migrated_database_of_its_own(database: tuple[str, str]) -> None:
    owner, serve = database
    with psycopg.connect(owner) as connection:
        assert connection.execute("SELECT count(*) FROM schema_migration").fetchone() != (0,)
    with psycopg.connect(serve) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("gemel_serve",)
