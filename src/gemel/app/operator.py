"""The operator's way in: the database as its owner, started for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gemel.app.first import ensure_directory
from gemel.app.storage import open_storage
from gemel.base.settings import Settings
from gemel.store.binaries import locate
from gemel.store.server import DirectoryLock

__all__ = ["Operator", "operator"]

BUSY_URL = "(an operator's command)"


@dataclass(frozen=True, slots=True)
class Operator:
    """The owner's connection string, the data directory, and the folder of PostgreSQL's programs."""

    owner_dsn: str
    data_dir: Path
    install: Path


@contextmanager
def operator(settings: Settings, *, migrated: bool = True) -> Iterator[Operator]:
    """Give access to the database: of a server that runs, or started here and stopped at the end.

    `migrated` brings a database that this starts to the current schema first. Raises EnvironmentFaultError
    (DatabaseFailed) where it is not to be had.
    """
    storage = open_storage(settings)
    acting = Operator(storage.owner_dsn, settings.data_dir, locate())
    lock = DirectoryLock(settings.data_dir)
    if storage.bundled is None or lock.holder() is not None:
        yield acting
        return
    ensure_directory(settings.data_dir)
    lock.acquire(BUSY_URL)
    try:
        storage.bundled.start()
        storage.bundled.create_database()
        if migrated:
            storage.prepare()
        yield acting
    finally:
        storage.bundled.stop()
        lock.release()
