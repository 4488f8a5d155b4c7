"""Parts of statements that read what a transaction carries in its settings: left out where it carries nothing."""

from __future__ import annotations

import functools
import re

__all__ = ["when_carried", "without_carried"]

CARRIED = re.compile(r"/\*carried\*/.*?/\*end\*/", re.DOTALL)
TEXTS_MAX = 2_000


def when_carried(sql: str) -> str:
    """Return a part of a statement that is left out where the transaction carries nothing; such do not nest."""
    return f"/*carried*/{sql}/*end*/"


@functools.lru_cache(maxsize=TEXTS_MAX)
def without_carried(sql: str) -> str:
    """Return a statement without the parts that `when_carried` made."""
    return CARRIED.sub("", sql)
