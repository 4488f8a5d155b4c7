"""The operator's way in: this machine's database, as its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gemel.base.errors import EnvironmentFaultError, GemelError
from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    import psycopg

    from gemel.app import Operator

__all__ = ["Act", "acting", "database_fault", "database_faults", "owner", "recorded", "refusals"]


class Act(NamedTuple):
    """What an operator does, for the platform's audit trail."""

    action: str
    target: str


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
def owner(local: LocalOptions, act: Act | None = None) -> Iterator[psycopg.Connection]:
    """Connect to that database as its owner, in one transaction. Raises as `acting` does.

    Where the block refuses an act that is named, the audit trail tells; one that is done the block records.
    """
    import psycopg

    with (
        acting(local) as found,
        refusals(found.owner_dsn, act),
        psycopg.connect(found.owner_dsn) as connection,
    ):
        yield connection


@contextmanager
def recorded(found: Operator, act: Act | None) -> Iterator[None]:
    """Leave an entry of the block's act in the audit trail, done or refused; None is an act that changes nothing."""
    import psycopg

    from gemel.security.audit import record_operator_act

    with refusals(found.owner_dsn, act):
        yield
    if act is not None:
        with psycopg.connect(found.owner_dsn) as connection:
            record_operator_act(connection, *act)


@contextmanager
def refusals(owner_dsn: str, act: Act | None) -> Iterator[None]:
    """Leave an entry in the audit trail where the block refuses an act: its result is the error's code."""
    import psycopg

    from gemel.security.audit import record_operator_act

    try:
        yield
    except GemelError as error:
        # Told all the same where there is no trail, as in a database that has no schema yet.
        with suppress(psycopg.Error):
            if act is not None:
                with psycopg.connect(owner_dsn) as connection:
                    record_operator_act(connection, *act, error.code)
        raise
