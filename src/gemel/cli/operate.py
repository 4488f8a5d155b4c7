"""The operator's way in: this machine's database, as its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemel.base.errors import EnvironmentFaultError
from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    import psycopg

    from gemel.app import Operator

__all__ = ["acting", "database_fault", "database_faults", "owner"]


def database_fault(error: Exception) -> EnvironmentFaultError:
    """Return what the database's driver says as an error of ours (DatabaseFailed)."""
    said = " ".join(str(error).split()) or type(error).__name__
    return EnvironmentFaultError(
        "DatabaseFailed",
        f"The database cannot be used: {said}",
        "`gemel doctor` says more; check GEMEL_DATABASE_URL where it is set.",
    )


@contextmanager
def database_faults() -> Iterator[None]:
    """Raise EnvironmentFaultError (DatabaseFailed) where the block loses or does not get its connection."""
    import psycopg

    try:
        yield
    except psycopg.OperationalError as error:
        raise database_fault(error) from error


@contextmanager
def acting(local: LocalOptions, *, migrated: bool = True) -> Iterator[Operator]:
    """Give access to the data directory's database, started for as long as it is needed.

    Raises EnvironmentFaultError (DatabaseFailed) where the database is not to be had.
    """
    from gemel.app import operator

    with database_faults(), operator(local.settings(), migrated=migrated) as found:
        yield found


@contextmanager
def owner(local: LocalOptions) -> Iterator[psycopg.Connection]:
    """Connect to that database as its owner, in one transaction. Raises as `acting` does."""
    import psycopg

    with acting(local) as found, psycopg.connect(found.owner_dsn) as connection:
        yield connection
