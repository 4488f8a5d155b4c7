"""A connection that was terminated in a transaction: whatever the driver raises, callers are told to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import psycopg
import pytest

from gemel.base.errors import InvalidError, UnavailableError
from gemel.store.database import ReadTransaction, WriteTransaction
from support.postgres import Dsns
from support.tenants import open_tenant

T = TypeVar("T", bound=ReadTransaction)
COPY = "COPY (SELECT 1) TO STDOUT"


async def statement(tx: ReadTransaction) -> None:
    await tx.rows("SELECT 1")


async def pipeline(tx: WriteTransaction) -> None:
    async with tx.connection.pipeline():
        await tx.connection.execute("SELECT 1")
        await tx.connection.execute("SELECT 2")


async def copy(tx: WriteTransaction) -> None:
    async with tx.connection.cursor().copy(COPY) as stream:
        await stream.read()


async def twice(tx: WriteTransaction) -> None:
    with pytest.raises(psycopg.Error):
        await tx.rows("SELECT 1")
    await tx.rows("SELECT 1", ("ä",))


async def text(tx: WriteTransaction) -> None:
    with pytest.raises(psycopg.Error):
        await tx.rows("SELECT 1")
    # As the driver does where it no longer knows the encoding of a connection.
    raise psycopg.NotSupportedError("codec not available in Python: ''")


async def other(tx: WriteTransaction) -> None:
    with pytest.raises(psycopg.Error):
        await tx.rows("SELECT 1")
    raise TypeError("what came of a row that was not there")


async def commit(tx: WriteTransaction) -> None:
    pass


@pytest.mark.parametrize("act", [statement, pipeline, copy, twice, text, other, commit])
def test_it_is_unavailable(database: Dsns, act: Callable[[WriteTransaction], Awaitable[None]]) -> None:
    async def work() -> None:
        async with open_tenant(database) as (db, tenant):
            caught = await raised(database, db.write(tenant), act)
            assert isinstance(caught, UnavailableError)
            assert (caught.code, caught.retry_after_s) == ("DatabaseUnavailable", 1)
            assert isinstance(await raised(database, db.read(tenant), statement), UnavailableError)
            assert isinstance(await raised(database, db.write(tenant), refuse), InvalidError)
            async with db.write(tenant) as tx:
                assert await tx.rows("SELECT 1") == [(1,)]

    asyncio.run(work())


async def refuse(tx: ReadTransaction) -> None:
    raise InvalidError("InvalidArgument", "What was judged before it is still so.")


async def raised(
    dsns: Dsns, opening: AbstractAsyncContextManager[T], act: Callable[[T], Awaitable[None]]
) -> Exception | None:
    """Return what an act raises in a transaction whose connection was terminated."""
    try:
        async with opening as tx:
            terminate(dsns, tx)
            await act(tx)
    except Exception as error:
        return error
    return None


def test_an_error_on_a_connection_that_lives_stays_what_it_is(database: Dsns) -> None:
    async def work() -> None:
        async with open_tenant(database) as (db, tenant):
            for error in (psycopg.NotSupportedError("x"), TypeError("x")):
                with pytest.raises(type(error)):
                    async with db.write(tenant):
                        raise error
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with db.write(tenant) as tx:
                    await tx.rows("SELECT 1 / 0")

    asyncio.run(work())


def terminate(dsns: Dsns, tx: ReadTransaction) -> None:
    """End the server's side of a transaction's connection, and wait until it is gone."""
    pid = tx.connection.info.backend_pid
    with psycopg.connect(dsns.owner, autocommit=True) as owner:
        owner.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
