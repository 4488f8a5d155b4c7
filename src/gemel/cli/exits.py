"""Exit codes: what a script may rely on. docs/cli.md is tested against this list."""

from __future__ import annotations

from enum import IntEnum

from gemel.base.errors import GemelError

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    PARTLY = 4
    INTERRUPTED = 130


BY_CODE = {"UsageInvalid": Exit.USAGE, "ServerUnreachable": Exit.UNREACHABLE}


def exit_of(error: GemelError) -> Exit:
    """Return the exit code of a command that ended with an error."""
    return BY_CODE.get(error.code, Exit.FAILED)
