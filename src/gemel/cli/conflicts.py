"""What a refused creation means at the command line, where nobody has sent a header."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gemel.base.errors import PreconditionError

__all__ = ["absent"]


@contextmanager
def absent(message: str, hint: str) -> Iterator[None]:
    """Raise PreconditionError in these words where the block finds that what it would create is there."""
    try:
        yield
    except PreconditionError as error:
        raise PreconditionError(error.code, message, hint) from error
