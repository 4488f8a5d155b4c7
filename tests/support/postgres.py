"""Fixtures on a real PostgreSQL: one server a session, one database a test module."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from gemel.store.migrate import migrate
from gemel.store.server import BundledServer

__all__ = ["FAST", "Dsns", "cluster", "data_dir", "database", "fresh_database", "template"]

PREFIX = "gemel-test-"
TEMPLATE = "gemel_template"
MEMORY = Path("/dev/shm")
# For tests that are not about crashes: nothing has to reach a disk.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Dsns(NamedTuple):
    """One database, as its owner and as the role that serves."""

    owner: str
    serve: str


@pytest.fixture(scope="session")
def cluster() -> Iterator[BundledServer]:
    """A running server without durability, in memory where the machine has /dev/shm."""
    base = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    server = BundledServer(folder, changes=FAST)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(cluster: BundledServer) -> str:
    """The name of a database with all migrations and no rows beyond theirs."""
    cluster.create_database(TEMPLATE)
    migrate(cluster.owner_dsn(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="module")
def database(cluster: BundledServer, template: str) -> Iterator[Dsns]:
    """A migrated database of the module's own, as (owner_dsn, serve_dsn)."""
    with fresh_database(cluster, template) as dsns:
        yield dsns


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A path for a data directory of the test's own; a server left running in it is stopped."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        path = Path(folder, "data")
        try:
            yield path
        finally:
            BundledServer(path).stop()


@contextmanager
def fresh_database(cluster: BundledServer, template: str = "template0") -> Iterator[Dsns]:
    """Make a database as a copy of a template, and drop it at the end."""
    name = f"test_{uuid4().hex[:12]}"
    _execute(cluster, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
    try:
        yield Dsns(cluster.owner_dsn(name), cluster.serve_dsn(name))
    finally:
        _execute(cluster, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _execute(cluster: BundledServer, command: LiteralString, *names: str) -> None:
    with psycopg.connect(cluster.owner_dsn("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL(command).format(*map(sql.Identifier, names)))


def _sweep(base: Path) -> None:
    """Stop and delete what earlier test sessions that were killed left behind."""
    for folder in base.glob(f"{PREFIX}*-*"):
        try:
            os.kill(int(folder.name.removeprefix(PREFIX).split("-")[0]), 0)
        except ProcessLookupError:
            BundledServer(folder).stop()
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, PermissionError):
            continue
