"""Back up a database and the keys beside it into one file, and restore them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import gemel
from gemel.base.clock import iso_us, now_us
from gemel.base.errors import ConflictError, EnvironmentFaultError
from gemel.store import migrate
from gemel.store.archive import Archive, Manifest, opened_archive, written_archive
from gemel.store.roles import ensure_roles

__all__ = ["KEYS", "backup", "restore"]

DUMP = "database.dump"
KEYS = ("hmac.key", "default.key")
# Else events of what is restored would have ids that others had.
WITHOUT = "--exclude-table-data=public.generation"
SWAP_ATTEMPTS = 3

SEES_ALL = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
# Tables of which row-level security would hide rows from the owner, and so from its backup.
HIDDEN = """
SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid)
FROM pg_class c
WHERE c.relrowsecurity AND c.relkind IN ('r', 'p')
  AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
  AND NOT EXISTS (
    SELECT FROM pg_policy p
    WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('*', 'r')
      AND pg_get_expr(p.polqual, p.polrelid) = 'true'
      AND (SELECT oid FROM pg_roles WHERE rolname = current_user) = ANY (p.polroles))"""
NOT_EMPTY = """
SELECT EXISTS (
    SELECT FROM pg_class c
    WHERE c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))"""
POLICIES_OF = """
SELECT p.polname, n.nspname, c.relname
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (SELECT oid FROM pg_roles WHERE rolname = %s) = ANY (p.polroles)"""
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY (%s)"


def backup(dsn: str, install: Path, data_dir: Path, file: Path) -> Manifest:
    """Write one consistent state of the database, and the keys of `data_dir`, to `file` (mode 0600).

    `dsn` is the owner's; `install` is `binaries.locate()`. The server goes on serving meanwhile; an existing
    `file` is replaced when the new one is whole. Raises EnvironmentFaultError (CommandFailed).
    """
    schema = migrate.applied(dsn)
    created_us = now_us()
    with psycopg.connect(dsn) as connection:
        owner = connection.info.user
        bypass = _truth(connection, SEES_ALL)
        if not bypass:
            _refuse_hidden(connection)
    options = [
        "--format=custom",
        "--compress=gzip:1",
        WITHOUT,
        *([] if bypass else ["--enable-row-security"]),
    ]
    with written_archive(file, created_us // 1_000_000) as archive:
        with _program(install, "pg_dump", dsn, options) as output:
            archive.add(DUMP, output)
        for name in KEYS:
            with suppress(FileNotFoundError), (data_dir / name).open("rb") as key:
                archive.add(name, key)
        manifest = Manifest(gemel.__version__, schema, owner, iso_us(created_us), dict(archive.members))
        archive.finish(manifest)
    return manifest


def restore(dsn: str, install: Path, data_dir: Path, file: Path, *, replace: bool = False) -> Manifest:
    """Put back what `backup` wrote: the whole database or nothing of it, then the keys (mode 0600).

    `dsn` is the owner's, of an existing database, served by nobody. One that has tables is refused unless
    `replace`; then the backup goes into a new database, which takes the other's name and place when it is
    whole. The caller migrates afterwards, which begins another generation. Raises InvalidError
    (FileUnreadable, BackupInvalid), ConflictError (OperationNotAllowed), EnvironmentFaultError (DatabaseTooOld,
    CommandFailed).
    """
    with opened_archive(file) as archive:
        _refuse_newer(archive.manifest)
        with psycopg.connect(dsn, autocommit=True) as connection:
            name, occupied = connection.info.dbname, _truth(connection, NOT_EMPTY)
            if occupied and not replace:
                raise ConflictError(
                    "OperationNotAllowed",
                    f"The database {name} is not empty; nothing was restored.",
                    "Restore into an empty one, or ask to replace what is there (--replace).",
                )
        if occupied:
            _restore_beside(dsn, name, install, archive)
        else:
            _restore_into(dsn, install, archive)
        for name in KEYS:
            if name in archive.manifest.members:
                _write_key(data_dir / name, archive.stream(name).read())
        return archive.manifest


def _restore_into(dsn: str, install: Path, archive: Archive) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection, _stand_in(connection, archive.manifest.owner):
        ensure_roles(connection)
        options = ["--single-transaction", "--no-owner"]
        with _program(install, "pg_restore", dsn, options) as stdin:
            copyfileobj(archive.stream(DUMP), stdin, 1 << 20)
        # The dump has no statistics, and without them the first queries are planned blindly.
        connection.execute("ANALYZE")


def _restore_beside(dsn: str, name: str, install: Path, archive: Archive) -> None:
    fresh, old = (f"{name}_{word}_{uuid4().hex[:8]}" for word in ("restore", "replaced"))
    # From another database, as none can rename the one it is in.
    elsewhere = make_conninfo(dsn, dbname="template1" if name == "postgres" else "postgres")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        _database(connection, "CREATE DATABASE {} TEMPLATE template0", fresh)
        try:
            _restore_into(make_conninfo(dsn, dbname=fresh), install, archive)
            _swap(connection, name, fresh, old)
        except BaseException:
            _database(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", fresh)
            raise
        _database(connection, "DROP DATABASE {} WITH (FORCE)", old)


def _swap(connection: psycopg.Connection, name: str, fresh: str, old: str) -> None:
    for left in reversed(range(SWAP_ATTEMPTS)):
        try:
            with suppress(errors.InsufficientPrivilege):  # then whoever it is must go by themselves
                connection.execute(TERMINATE, ([name, fresh],))
            with connection.transaction():
                _database(connection, "ALTER DATABASE {} RENAME TO {}", name, old)
                _database(connection, "ALTER DATABASE {} RENAME TO {}", fresh, name)
        except errors.ObjectInUse as error:
            if left == 0:
                message = f"The database {name} could not be replaced: {error}"
                raise EnvironmentFaultError(
                    "CommandFailed", message, "Stop everything that uses it."
                ) from error
        else:
            return


@contextmanager
def _stand_in(connection: psycopg.Connection, owner: str) -> Iterator[None]:
    """Let a role of the former owner's name exist while its policies are restored, then take them over."""
    me = connection.info.user
    if owner == me:
        yield
        return
    role = sql.Identifier(owner)
    present = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (owner,)).fetchone()
    if present is None:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    try:
        yield
        for policy, schema, table in connection.execute(POLICIES_OF, (owner,)).fetchall():
            alter = sql.SQL("ALTER POLICY {} ON {} TO CURRENT_USER")
            connection.execute(alter.format(sql.Identifier(policy), sql.Identifier(schema, table)))
    finally:
        if present is None:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


@contextmanager
def _program(install: Path, name: str, dsn: str, options: list[str]) -> Iterator[IO[bytes]]:
    """Run pg_dump and yield its output, or pg_restore and yield its input.

    An exit status other than 0 raises EnvironmentFaultError (CommandFailed) with what it said.
    """
    parameters: dict[str, Any] = dict(conninfo_to_dict(dsn))
    # Not on the command line, which every account of the machine can read.
    password = parameters.pop("password", None)
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    command = [str(install / "bin" / name), *options, f"--dbname={make_conninfo(**parameters)}"]
    feeds = name == "pg_restore"
    with tempfile.TemporaryFile() as words:
        with subprocess.Popen(  # noqa: S603
            command,
            env=environment,
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feeds else subprocess.PIPE,
            stderr=words,
        ) as process:
            pipe = process.stdin if feeds else process.stdout
            assert pipe is not None
            try:
                # A broken pipe: it ended early, and its exit status and words say why.
                with suppress(BrokenPipeError), pipe:
                    yield pipe
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            words.seek(0)
            raise EnvironmentFaultError(
                "CommandFailed",
                f"{name} failed: {words.read().decode('utf-8', 'replace').strip()}",
                "The bundled programs speak no TLS: for a server that demands it, use its own tools.",
            )


def _refuse_hidden(connection: psycopg.Connection) -> None:
    row = connection.execute(HIDDEN).fetchone()
    if row and row[0]:
        raise EnvironmentFaultError(
            "CommandFailed",
            f"Row-level security hides rows of {row[0]} from {connection.info.user}: none may be lacking.",
            "Back up as the role that ran the migrations, or as one with BYPASSRLS.",
        )


def _refuse_newer(manifest: Manifest) -> None:
    unknown = sorted(set(manifest.schema) - {step.name for step in migrate.available()})
    if unknown:
        raise EnvironmentFaultError(
            "DatabaseTooOld",
            f"The backup, made by gemel {manifest.gemel}, has migrations that this gemel does not know: "
            f"{', '.join(unknown)}.",
            "Restore it with a newer gemel.",
        )


def _write_key(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _database(connection: psycopg.Connection, command: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(command).format(*map(sql.Identifier, names)))


def _truth(connection: psycopg.Connection, query: LiteralString) -> bool:
    row = connection.execute(query).fetchone()
    return bool(row and row[0])
