"""Where runs take place: a folder, and a platform that knows the model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.platform import Platform
from gemel.store.server import BundledServer
from support.torture.world import MODEL

__all__ = ["learn", "open_folder", "two_servers"]

DATABASE = "torture"
KEYS = ("hmac.key", "default.key")


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


@contextmanager
def two_servers(
    cluster: BundledServer, environment: Mapping[str, str]
) -> Iterator[tuple[Platform, Platform]]:
    """Two platforms with the same keys on one database of their own."""
    cluster.create_database(DATABASE)
    environment = {**environment, "GEMEL_DATABASE_URL": cluster.owner_dsn(DATABASE)}
    with open_folder() as folder:
        platforms = [Platform(folder / name / "data", environment) for name in ("one", "two")]
        try:
            for platform in platforms:
                platform.data_dir.mkdir(mode=0o700, parents=True)
                if platform is not platforms[0]:
                    for key in KEYS:
                        shutil.copy(platforms[0].data_dir / key, platform.data_dir / key)
                platform.start()
            yield platforms[0], platforms[1]
        finally:
            for platform in platforms:
                platform.stop()
