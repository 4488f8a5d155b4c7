"""For a platform whose head takes every plain number, in rows of three, and packs at once: put it on PYTHONPATH."""

from __future__ import annotations

from gemel.history import heading, packing

__all__: list[str] = []

heading.BATCH_MIN = heading.BUCKET_MIN = 1
heading.BLOCK_MAX = 3
packing.EVERY_S = 0.05
packing.ROWS_MAX = 2
packing.pack_heads.__defaults__ = (2, 1)
