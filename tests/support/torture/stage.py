"""Where runs take place: a folder, and a platform that knows the model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.platform import Platform
from support.torture.world import MODEL

__all__ = ["learn", "open_folder"]


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that the database's account can enter, too."""
    with tempfile.TemporaryDirectory(prefix="gemel-torture-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def learn(platform: Platform) -> None:
    """Tell a platform of the model of all runs."""
    with platform.client() as client:
        client.post("/models", json=[MODEL]).raise_for_status()
