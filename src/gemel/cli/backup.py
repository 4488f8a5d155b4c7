"""`gemel backup` and `gemel restore`: the whole database and its keys as one file."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from gemel.base.errors import ConflictError
from gemel.base.settings import load_settings
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.operate import Act, acting, recorded
from gemel.cli.options import LocalOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(
        app,
        "backup",
        ("gemel backup plant.gemel", "while a server runs, or not"),
        panel=Panel.OPERATE,
    )(backup)
    command(
        app,
        "restore",
        ("gemel restore plant.gemel --data ~/gemel-copy", "into a new data directory"),
        ("gemel restore plant.gemel --replace", "in place of what is there"),
        panel=Panel.OPERATE,
    )(restore)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; an existing file is replaced.")],
    local: LocalOptions,
) -> None:
    """Write one consistent state of everything, keys too, to a file that only you can read."""
    from gemel.history.cold_weeks import read_cold_weeks
    from gemel.store.backup import backup as write

    with acting(local) as found, recorded(found, Act("database.backup", str(file.resolve()))):
        manifest = write(found.owner_dsn, found.install, found.data_dir, file)
        cold = read_cold_weeks(found.owner_dsn)
    left = {"files": len(cold), "bytes": sum(week.bytes for week in cold)}
    bytes_in_all = sum(member.bytes for member in manifest.members.values())
    if local.as_json:
        output.print_json(
            {"file": str(file), "created": manifest.created, "bytes": bytes_in_all, "leftOut": left}
        )
    else:
        output.note(f"Wrote {file}: {bytes_in_all / 1e6:,.1f} MB, as of {manifest.created}.")
        if cold:
            where = local.settings().cold_store
            output.note(
                f"Not in it: {len(cold)} files of frozen weeks, {left['bytes'] / 1e6:,.1f} MB, in {where}. "
                "Copy them, too."
            )


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gemel backup` wrote.")],
    local: LocalOptions,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the data that is there.")] = False,
) -> None:
    """Put a backup back, all of it or nothing; no server may run on the data directory."""
    from gemel.security.audit import record_migrations
    from gemel.store.archive import opened_archive
    from gemel.store.backup import restore as put_back
    from gemel.store.migrate import migrate
    from gemel.store.server import DirectoryLock

    settings = local.settings()
    holder = DirectoryLock(settings.data_dir).holder()
    if not (settings.database_url or (settings.data_dir / "postgres").exists()):
        # A file that is no backup must not leave a database behind where there was none.
        with opened_archive(file):
            pass
    act = Act("database.restore", str(file.resolve()))
    with acting(local, migrated=False) as found, recorded(found, act):
        if holder is not None:
            raise ConflictError(
                "DataDirectoryInUse",
                f"Process {holder.pid} serves the data directory {settings.data_dir}.",
                "Stop it first, or restore into another directory with --data.",
            )
        manifest = put_back(found.owner_dsn, found.install, found.data_dir, file, replace=replace)
        record_migrations(found.owner_dsn, migrate(found.owner_dsn))
    if local.as_json:
        output.print_json({"file": str(file), "created": manifest.created, "gemel": manifest.gemel})
    else:
        place = (
            ""
            if load_settings().data_dir == settings.data_dir
            else f" --data {quote(str(settings.data_dir))}"
        )
        output.note(f"Restored {file}, as of {manifest.created}. Start it with `gemel up{place}`.")
