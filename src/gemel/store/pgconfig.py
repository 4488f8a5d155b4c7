"""The configuration of the bundled PostgreSQL: each setting with its reason, rendered as files."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

__all__ = [
    "LOCKS_MIN",
    "SETTINGS",
    "locks_per_transaction",
    "render_access",
    "render_settings",
    "render_users",
]

MAP = "gemel"
LOCKS_MIN = 2048

SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("listen_addresses", "", "only the Unix socket: nothing of the database is on the network"),
    ("port", "5432", "part of the socket's name; the folder is what is unique"),
    ("unix_socket_permissions", "0700", "beside the folder's own 0700"),
    ("max_connections", "60", "one serving pool, its change feeds and a few tools"),
    (
        "max_locks_per_transaction",
        str(LOCKS_MIN),
        "a read of all history locks each of its weeks: 3,000 since 1970",
    ),
    ("shared_buffers", "128MB", "hot state fits; the rest is the file cache's, on a laptop too"),
    ("huge_pages", "off", "not worth it at this size, and often not to be had in a container"),
    ("work_mem", "8MB", "sorts of a history page stay in memory, sixty at once still fit a small machine"),
    ("maintenance_work_mem", "128MB", "index builds of closed sample parts"),
    ("fsync", "on", "what was acknowledged is durable"),
    ("synchronous_commit", "on", "what was acknowledged is durable"),
    ("full_page_writes", "on", "a torn page after a power cut can be mended"),
    ("max_wal_size", "512MB", "bounds crash recovery: redoing 430 MB took 2 s; fewer checkpoints cost less"),
    ("min_wal_size", "256MB", "recycled segments are cheaper than new ones that must be zeroed"),
    ("wal_compression", "off", "no lz4 in this build; pglz made bulk writes 10-15% slower for 20% less WAL"),
    ("checkpoint_completion_target", "0.9", "spread the writes: no latency peaks at a checkpoint"),
    ("random_page_cost", "1.1", "solid-state disks; the default 4 turns away from indexes too early"),
    ("jit", "off", "queries are short: compiling costs more than it saves"),
    ("autovacuum_naptime", "10s", "state rows are updated all the time; a minute is too long between looks"),
    ("autovacuum_vacuum_scale_factor", "0.05", "vacuum state tables at 5% dead rows, not at 20%"),
    ("autovacuum_max_workers", "2", "leave the processors of a small machine to ingest"),
    ("client_connection_check_interval", "1s", "a killed client's long query, and its locks, end within 1 s"),
    ("idle_in_transaction_session_timeout", "10min", "a forgotten transaction must not stop vacuum for ever"),
    ("timezone", "UTC", "all times are UTC inside"),
    ("log_timezone", "UTC", "all times are UTC inside"),
    ("datestyle", "iso, ymd", "one unambiguous form"),
    ("lc_messages", "C", "the log is the same on every machine"),
    ("lc_monetary", "C", "not used; the same everywhere"),
    ("lc_numeric", "C", "a decimal point everywhere"),
    ("lc_time", "C", "not used; the same everywhere"),
    ("default_text_search_config", "pg_catalog.simple", "no language is assumed"),
    ("log_destination", "stderr", "goes to postgres.log of the data directory"),
    ("logging_collector", "off", "one process less; the log is moved aside at a start when it is large"),
    ("log_line_prefix", "%m [%p] ", "time and process"),
    ("log_checkpoints", "off", "a line every few seconds under load says nothing new"),
    ("log_lock_waits", "on", "a wait of over a second for a lock is worth a line"),
)


def render_settings(changes: Mapping[str, str]) -> str:
    """Return the text of postgresql.conf: SETTINGS, with `changes` in place or at the end."""
    lines = ["# Written by gemel at each start; ALTER SYSTEM is the place for changes of your own.", ""]
    known = {name for name, _, _ in SETTINGS}
    for name, value, why in SETTINGS:
        lines.append(f"{name} = {_quote(changes.get(name, value))}  # {why}")
    lines += [f"{name} = {_quote(value)}" for name, value in changes.items() if name not in known]
    return "\n".join(lines) + "\n"


def render_access() -> str:
    """Return the text of pg_hba.conf: the socket only, and only for accounts that pg_ident.conf maps.

    The kernel tells who is at the other end, so that not even a way into the socket's folder is enough.
    """
    return f"# Written by gemel at each start.\nlocal all all peer map={MAP}\n"


def render_users(account: str) -> str:
    """Return the text of pg_ident.conf: the operating system account `account` may be every role."""
    name = account.replace('"', '""')
    return f'# Written by gemel at each start.\n{MAP} "{name}" all\n'


def locks_per_transaction(dsn: str) -> int:
    """Return what a running server has as max_locks_per_transaction."""
    with psycopg.connect(dsn) as connection:
        (value,) = connection.execute("SHOW max_locks_per_transaction").fetchone() or ("0",)
    return int(value)


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
