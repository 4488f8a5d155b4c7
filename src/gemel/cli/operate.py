"""The operator's way in: this machine's database, as its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    import psycopg

    from gemel.app import Operator

__all__ = ["acting", "owner"]


@contextmanager
def acting(local: LocalOptions, *, migrated: bool = True) -> Iterator[Operator]:
    """Give access to the data directory's database, started for as long as it is needed.

    Raises EnvironmentFaultError (DatabaseFailed) where the database is not to be had.
    """
    import psycopg

    from gemel.app import operator
    from gemel.base.errors import EnvironmentFaultError

    try:
        with operator(local.settings(), migrated=migrated) as found:
            yield found
    except psycopg.OperationalError as error:
        raise EnvironmentFaultError(
            "DatabaseFailed",
            f"The database does not do its part: {str(error).strip()}.",
            "`gemel doctor` says more; check GEMEL_DATABASE_URL where it is set.",
        ) from error


@contextmanager
def owner(local: LocalOptions) -> Iterator[psycopg.Connection]:
    """Connect to that database as its owner, in one transaction. Raises as `acting` does."""
    import psycopg

    with acting(local) as found, psycopg.connect(found.owner_dsn) as connection:
        yield connection
