"""Sources as rows: described, started and stopped, held by one process at a time, and how they go.

Owns the table `source`. Who holds a source and how it is doing is written beside the tenant's head, as the cursors
of routes are: no reader orders by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import psycopg

from gemel.base.clock import from_us, to_us
from gemel.base.errors import ConflictError, GemelError, InvalidError, NotFoundError
from gemel.history.ordering import OUTCOMES
from gemel.ingest.positions import forget_positions
from gemel.ingest.requests import IngestResult
from gemel.observe.exposition import SourceState
from gemel.sources.contracts import forget_contracts, keep_contract
from gemel.sources.definition import Definition
from gemel.sources.drift import forget_drift
from gemel.store.database import Database, ReadTransaction, Row, WriteTransaction

__all__ = [
    "COUNTS",
    "Held",
    "Holder",
    "PushRow",
    "Report",
    "SourceRow",
    "State",
    "Texts",
    "Waiting",
    "check_held",
    "check_pushed",
    "claim",
    "count_batch",
    "count_pushed",
    "fail_pushed",
    "find_pushed",
    "free_sources",
    "get_source",
    "list_sources",
    "part_name",
    "put_source",
    "release",
    "remove_source",
    "renew",
    "report",
    "set_wanted",
    "source_states",
    "waiting_sources",
]

State = Literal["starting", "running", "waiting", "stopped", "failed"]
SOURCES_MAX: Final = 64
COUNTS: Final = ("batches", "events", *OUTCOMES, "quarantined")
COLUMNS = f"""
name, kind, definition, mapping, contract, contract_label, version, wanted, starts, created, changed, state, since,
failures, next_try, error_code, error, {", ".join(COUNTS)}, last_batch,
coalesce(lease_until > clock_timestamp(), false)"""
LIST = f'SELECT {COLUMNS} FROM source WHERE tenant = current_tenant() ORDER BY name COLLATE "C"'
GET = f"SELECT {COLUMNS} FROM source WHERE tenant = current_tenant() AND name = %s"
COUNT = "SELECT count(*) FROM source WHERE tenant = current_tenant() AND name <> %s"
PUT = """
INSERT INTO source (tenant, name, kind, definition, mapping, contract, contract_label, version, wanted, created,
                    changed, state, since)
VALUES (current_tenant(), %s, %s, %s, %s, %s, %s, 1, 'stopped', %s, %s, 'stopped', %s)
ON CONFLICT (tenant, name) DO UPDATE SET kind = excluded.kind, definition = excluded.definition,
    mapping = excluded.mapping, contract = excluded.contract, contract_label = excluded.contract_label,
    version = source.version + 1, changed = excluded.changed,
    state = CASE source.wanted WHEN 'started' THEN 'starting' ELSE 'stopped' END, since = excluded.since,
    failures = 0, next_try = NULL, error_code = NULL, error = NULL"""
START = """
UPDATE source SET wanted = 'started', starts = starts + 1, state = 'starting', since = %s, failures = 0,
    next_try = NULL, error_code = NULL, error = NULL
WHERE tenant = current_tenant() AND name = %s"""
STOP = """
UPDATE source SET wanted = 'stopped', since = CASE WHEN lease_until > clock_timestamp() THEN since ELSE %s END,
    state = CASE WHEN lease_until > clock_timestamp() THEN state ELSE 'stopped' END, next_try = NULL
WHERE tenant = current_tenant() AND name = %s"""
REMOVE = "DELETE FROM source WHERE tenant = current_tenant() AND name = %s"

WAITING = """
SELECT s.tenant, t.name, s.name FROM source AS s JOIN tenant AS t ON t.tenant = s.tenant
WHERE s.wanted = 'started' AND s.state <> 'failed'
  AND (s.lease_until IS NULL OR s.lease_until < clock_timestamp())"""
STATES = """
SELECT tenant, name, kind, CASE WHEN state IN ('running', 'waiting') AND lease_until < clock_timestamp()
                                THEN 'starting' ELSE state END
FROM source WHERE wanted = 'started' ORDER BY tenant, name LIMIT 256"""
FREE = "UPDATE source SET lease_until = NULL WHERE lease_until IS NOT NULL"
CLAIM = """
UPDATE source SET holder = %s, lease_until = clock_timestamp() + %s * interval '1 second'
WHERE tenant = current_tenant() AND name = %s AND wanted = 'started' AND state <> 'failed'
  AND (lease_until IS NULL OR lease_until < clock_timestamp())
RETURNING definition, mapping, contract, version, starts"""
RENEW = """
UPDATE source SET lease_until = clock_timestamp() + %s * interval '1 second'
WHERE tenant = current_tenant() AND name = %s AND holder = %s AND lease_until IS NOT NULL
RETURNING wanted, version, starts"""
RELEASE = """
UPDATE source SET lease_until = NULL, holder = NULL,
    state = CASE WHEN wanted = 'stopped' THEN 'stopped' ELSE state END,
    since = CASE WHEN wanted = 'stopped' THEN clock_timestamp() ELSE since END
WHERE tenant = current_tenant() AND name = %s AND holder = %s"""
# A description that came meanwhile is not judged by how the one before it went.
REPORT = """
UPDATE source SET since = CASE state WHEN %s THEN since ELSE clock_timestamp() END, state = %s, failures = %s,
    next_try = clock_timestamp() + %s * interval '1 second', error_code = %s, error = %s
WHERE tenant = current_tenant() AND name = %s AND holder = %s AND version = %s AND starts = %s"""
CHECK = """
SELECT true FROM source
WHERE tenant = current_tenant() AND name = %s AND holder = %s AND lease_until IS NOT NULL AND version = %s"""
KEEP = f"""
UPDATE source SET batches = batches + 1, last_batch = %s,
    {", ".join(f"{name} = {name} + %s" for name in COUNTS[1:])}
WHERE tenant = current_tenant() AND name = %s AND holder = %s"""

PUSHED = """
SELECT name, definition, mapping, contract, version, starts, wanted, state, error
FROM source WHERE tenant = current_tenant() AND name = %s AND kind = 'push'"""
CHECK_PUSHED = """
SELECT true FROM source
WHERE tenant = current_tenant() AND name = %s AND version = %s AND starts = %s AND wanted = 'started'
  AND state <> 'failed'"""
KEEP_PUSHED = f"""
UPDATE source SET batches = batches + 1, last_batch = %s,
    {", ".join(f"{name} = {name} + %s" for name in COUNTS[1:])}
WHERE tenant = current_tenant() AND name = %s"""
FAIL_PUSHED = """
UPDATE source SET since = clock_timestamp(), state = 'failed', failures = 1, next_try = NULL, error_code = %s,
    error = %s
WHERE tenant = current_tenant() AND name = %s AND version = %s AND starts = %s AND state <> 'failed'"""


class Texts(msgspec.Struct, frozen=True):
    """A description as it was given: its YAML, and the files of mapping and contract that it names, if it does."""

    definition: str
    mapping: str | None = None
    contract: str | None = None


class SourceRow(msgspec.Struct, frozen=True):
    """A source as its row says; times in µs since the epoch. `held` says whether a process has it now.

    `contract` is the name and version of its contract, if it has one.
    """

    name: str
    kind: str
    texts: Texts
    contract: str | None
    version: int
    wanted: str
    created_us: int
    changed_us: int
    state: State
    since_us: int
    failures: int
    next_try_us: int | None
    error_code: str | None
    error: str | None
    counts: dict[str, int]
    last_batch_us: int | None
    held: bool


class PushRow(msgspec.Struct, frozen=True):
    """A source that is pushed to: its description, of which version and start, and whether it takes anything."""

    name: str
    texts: Texts
    version: int
    starts: int
    wanted: str = "started"
    state: str = "starting"
    error: str | None = None


class Holder(msgspec.Struct, frozen=True):
    """Who reads a source: the tenant and the source, this process's name, and for how long each renewal holds."""

    tenant: int
    source: str
    holder: str
    lease_s: float


class Held(msgspec.Struct, frozen=True):
    """A source that was taken: its description, and of which version and start that is."""

    by: Holder
    texts: Texts
    version: int
    starts: int


class Report(msgspec.Struct, frozen=True):
    """How a source goes: its state, failures in a row, when it is tried again, and what is wrong."""

    state: State
    failures: int = 0
    next_s: float | None = None
    error_code: str | None = None
    error: str | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A source that should be read and is not."""

    tenant: int
    tenant_name: str
    source: str


def part_name(source: str, part: str = "", shared: str | None = None) -> str:
    """Return under which name the position of a source's part is kept; without one, how all of them begin.

    Sources that share their parts under a name keep them there.
    """
    return f"source:{source}/{part}" if shared is None else f"shared:{shared}/{part}"


async def put_source(tx: WriteTransaction, definition: Definition, texts: Texts) -> SourceRow:
    """Describe a source, or describe it anew: one that is started goes on by the new description.

    Raises InvalidError: LimitExceeded, ContractVersionTooLow.
    """
    count = await tx.row(COUNT, (definition.name,))
    if count is not None and count[0] >= SOURCES_MAX:
        raise InvalidError("LimitExceeded", f"A tenant has at most {SOURCES_MAX} sources.")
    now = from_us(tx.stamp())
    label = None
    if definition.contract is not None:
        await keep_contract(tx, definition.name, definition.contract)
        label = definition.contract.contract.label
    given = (texts.definition, texts.mapping, texts.contract, label)
    await tx.execute(PUT, (definition.name, definition.kind, *given, now, now, now))
    return await get_source(tx, definition.name)


async def list_sources(tx: ReadTransaction) -> list[SourceRow]:
    """Return the tenant's sources by name."""
    return [_source(row) for row in await tx.rows(LIST)]


async def get_source(tx: ReadTransaction, name: str) -> SourceRow:
    """Return one source. Raises NotFoundError (SourceNotFound)."""
    row = await tx.row(GET, (name,)) if "\0" not in name else None
    if row is None:
        raise NotFoundError("SourceNotFound", f"There is no source named {name[:80]!r}.")
    return _source(row)


async def set_wanted(tx: WriteTransaction, name: str, wanted: Literal["started", "stopped"]) -> SourceRow:
    """Start a source, or stop it; starting one that failed tries it again. Raises NotFoundError (SourceNotFound)."""
    await get_source(tx, name)
    await tx.execute(START if wanted == "started" else STOP, (from_us(tx.stamp()), name))
    return await get_source(tx, name)


async def remove_source(tx: WriteTransaction, name: str) -> None:
    """Forget a source and how far it was read; what it brought stays. Raises NotFoundError (SourceNotFound)."""
    await get_source(tx, name)
    await tx.execute(REMOVE, (name,))
    await forget_positions(tx, part_name(name))
    await forget_contracts(tx, name)
    await forget_drift(tx, name)


def waiting_sources(owner: psycopg.Connection) -> list[Waiting]:
    """Return the sources of all tenants that should be read and that nobody reads; on the owner's connection."""
    return [Waiting(*row) for row in owner.execute(WAITING).fetchall()]


def source_states(owner: psycopg.Connection) -> tuple[SourceState, ...]:
    """Return how the sources of all tenants go that are started, the first 256; on the owner's connection."""
    return tuple(SourceState(*row) for row in owner.execute(STATES).fetchall())


def free_sources(owner: psycopg.Connection) -> None:
    """Let sources be taken at once that a server held which is no more; on the owner's connection."""
    owner.execute(FREE)


async def claim(database: Database, by: Holder) -> Held | None:
    """Take a source that nobody reads, for as long as the lease is renewed; None where there is none to take."""
    rows = await database.query(by.tenant, CLAIM, (by.holder, by.lease_s, by.source), read_only=False)
    if not rows:
        return None
    *texts, version, starts = rows[0]
    return Held(by, Texts(*texts), version, starts)


async def renew(database: Database, held: Held) -> Literal["ours", "changed", "stopped", "lost"]:
    """Hold a source for longer; say whether it is still this process's, and wanted as it was taken."""
    by = held.by
    rows = await database.query(by.tenant, RENEW, (by.lease_s, by.source, by.holder), read_only=False)
    if not rows:
        return "lost"
    wanted, *taken = rows[0]
    if wanted == "stopped":
        return "stopped"
    return "ours" if taken == [held.version, held.starts] else "changed"


async def release(database: Database, by: Holder) -> None:
    """Let another process have the source at once."""
    await database.query(by.tenant, RELEASE, (by.source, by.holder), read_only=False)


async def report(database: Database, held: Held, told: Report) -> None:
    """Keep how a source goes, unless it is another's by now or described anew."""
    by = held.by
    what = (told.state, told.state, told.failures, told.next_s, told.error_code, told.error)
    key = (by.source, by.holder, held.version, held.starts)
    await database.query(by.tenant, REPORT, (*what, *key), read_only=False)


async def check_held(tx: WriteTransaction, held: Held) -> None:
    """Raise ConflictError (SourceLost) where a source is another's by now, described anew, or gone."""
    by = held.by
    if await tx.row(CHECK, (by.source, by.holder, held.version)) is None:
        raise ConflictError("SourceLost", f"The source {by.source} is read by another process, or anew.")


async def count_batch(tx: WriteTransaction, by: Holder, result: IngestResult) -> None:
    """Count a batch of a source in its commit."""
    counts: Sequence[int] = [getattr(result, name) for name in COUNTS[1:]]
    await tx.execute(KEEP, (from_us(tx.recorded_us), *counts, by.source, by.holder))


async def find_pushed(database: Database, tenant: int, name: str) -> PushRow | None:
    """Return the source of kind push of a name, None where there is none."""
    rows = await database.query(tenant, PUSHED, (name,))
    if not rows:
        return None
    found, definition, mapping, contract, *rest = rows[0]
    return PushRow(found, Texts(definition, mapping, contract), *rest)


async def check_pushed(tx: WriteTransaction, row: PushRow) -> bool:
    """Whether a source still takes what is pushed to it as it was described and started then."""
    return await tx.row(CHECK_PUSHED, (row.name, row.version, row.starts)) is not None


async def count_pushed(tx: WriteTransaction, name: str, result: IngestResult) -> None:
    """Count what was pushed to a source in its commit."""
    counts: Sequence[int] = [getattr(result, each) for each in COUNTS[1:]]
    await tx.execute(KEEP_PUSHED, (from_us(tx.recorded_us), *counts, name))


async def fail_pushed(database: Database, tenant: int, row: PushRow, error: GemelError) -> None:
    """Keep that a source takes nothing more, and why."""
    text = f"{error.message} {error.hint or ''}".strip()
    key = (row.name, row.version, row.starts)
    await database.query(tenant, FAIL_PUSHED, (error.code, text, *key), read_only=False)


def _source(row: Row) -> SourceRow:
    name, kind, definition, mapping, contract, label, version, wanted, _starts, *rest = row
    created, changed, state, since, failures, next_try, code, error, *counted, last, held = rest
    # Nobody has it, so that nothing runs or waits: it is about to be taken.
    idle = state in {"running", "waiting"} and not held
    return SourceRow(
        name=name,
        kind=kind,
        texts=Texts(definition, mapping, contract),
        contract=label,
        version=version,
        wanted=wanted,
        created_us=to_us(created),
        changed_us=to_us(changed),
        state="starting" if idle else state,
        since_us=to_us(since),
        failures=failures,
        next_try_us=None if next_try is None else to_us(next_try),
        error_code=code,
        error=error,
        counts=dict(zip(COUNTS, counted, strict=True)),
        last_batch_us=None if last is None else to_us(last),
        held=held,
    )
