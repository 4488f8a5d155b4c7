"""The operator's way in: the owner's connection to this machine's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    import psycopg

__all__ = ["owner"]


@contextmanager
def owner(local: LocalOptions) -> Iterator[psycopg.Connection]:
    """Connect as the owner to the data directory's database, started for as long as it is needed.

    Raises EnvironmentFaultError (DatabaseFailed) where the database is not to be had.
    """
    import psycopg

    from gemel.app import operator
    from gemel.base.errors import EnvironmentFaultError

    with operator(local.settings()) as acting:
        try:
            connection = psycopg.connect(acting.owner_dsn)
        except psycopg.OperationalError as error:
            raise EnvironmentFaultError(
                "DatabaseFailed", f"The database cannot be reached: {error}.", "Check GEMEL_DATABASE_URL."
            ) from error
        with connection:
            yield connection
