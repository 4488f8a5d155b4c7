"""The database of a data directory: the bundled server on it, or the one that GEMEL_DATABASE_URL names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from gemel.base.errors import InvalidError
from gemel.base.settings import Settings
from gemel.security.audit import record_migrations
from gemel.store.migrate import migrate
from gemel.store.roles import SERVE_ROLE
from gemel.store.server import BundledServer

__all__ = ["Storage", "open_storage"]


@dataclass(frozen=True, slots=True)
class Storage:
    """Connection strings of the owner and of the serving role; `bundled` is None on the user's own server."""

    owner_dsn: str
    serve_dsn: str
    bundled: BundledServer | None

    def prepare(self) -> list[str]:
        """Start the bundled server, make its database, migrate; return the names of the migrations applied."""
        if self.bundled is not None:
            self.bundled.start()
            self.bundled.create_database()
        applied = migrate(self.owner_dsn)
        record_migrations(self.owner_dsn, applied)
        return applied


def open_storage(settings: Settings) -> Storage:
    """Return the storage that settings name; nothing is started yet.

    On the user's own server the owner's login serves too, with its role set to the serving one. Raises
    InvalidError (InvalidArgument) for a URL that is none.
    """
    if settings.database_url:
        try:
            serve_dsn = make_conninfo(settings.database_url, options=f"-c role={SERVE_ROLE}")
        except psycopg.ProgrammingError as error:
            # The URL itself may hold a password: it is not repeated.
            raise InvalidError(
                "InvalidArgument",
                "GEMEL_DATABASE_URL is not a PostgreSQL URL.",
                "Its form is postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
            ) from error
        return Storage(settings.database_url, serve_dsn, None)
    server = BundledServer(Path(settings.data_dir))
    return Storage(server.owner_dsn(), server.serve_dsn(), server)
