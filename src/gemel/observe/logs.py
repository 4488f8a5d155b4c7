"""One stream of log entries, JSON lines or columns for a terminal: without secrets, with the trace id."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import IO, Any

import structlog
from structlog.typing import Processor, WrappedLogger

from gemel.base.errors import InvalidError
from gemel.observe.redact import redact
from gemel.observe.trace import current_trace

__all__ = ["Log", "configure_logs", "get_log"]

Log = structlog.stdlib.BoundLogger
Entry = MutableMapping[str, Any]

LEVELS = ("debug", "info", "warning", "error")


def get_log(name: str) -> Log:
    """Return the log of a part, named as its module."""
    log: Log = structlog.stdlib.get_logger(name)
    return log


def configure_logs(level: str, stream: IO[str] | None = None, *, as_json: bool | None = None) -> None:
    """Send the entries of this process, those of its libraries too, to a stream (stderr).

    `as_json` None means: columns on a terminal, JSON lines elsewhere. Raises InvalidError (InvalidArgument)
    for an unknown level.
    """
    if level not in LEVELS:
        raise InvalidError(
            "InvalidArgument", f"{level!r} is no log level.", f"Levels are: {', '.join(LEVELS)}."
        )
    target = sys.stderr if stream is None else stream
    json_wanted = not target.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
        _redact_entry,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if json_wanted
        else structlog.dev.ConsoleRenderer(colors=target.isatty())
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _add_trace(_: WrappedLogger, __: str, entry: Entry) -> Entry:
    trace = current_trace.get()
    if trace is not None:
        entry.setdefault("trace_id", trace.trace_id)
    return entry


def _redact_entry(_: WrappedLogger, __: str, entry: Entry) -> Entry:
    for name, value in entry.items():
        if not name.startswith("_"):
            entry[name] = redact(value, name)
    return entry
