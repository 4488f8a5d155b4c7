"""`gemel audit`: who did or tried what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.operate import owner
from gemel.cli.options import LocalOptions, ServerOptions
from gemel.cli.rows import Limit, print_rows

if TYPE_CHECKING:
    from gemel.cli.client import Client

__all__ = ["register"]

PAGE = 200
PLATFORM = "platform"
COLUMNS = ("number", "at", "tenant", "actor", "action", "target", "result")


@dataclass(frozen=True, slots=True)
class Trail:
    """Whose trail, where it is not that of the key's own tenant."""

    platform: Annotated[
        bool,
        typer.Option(
            "--platform", help="The platform's: tenants made, operators' acts, unknown keys refused."
        ),
    ] = False
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Another tenant's, as the operator.")
    ] = None

    def name(self) -> str | None:
        """Return whose trail the operator reads, or None for the key's own tenant's over HTTP."""
        if self.platform and self.tenant is not None:
            raise InvalidError("UsageInvalid", "Two trails are asked for.", "Give --platform or --tenant.")
        return PLATFORM if self.platform else self.tenant


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries."""

    action: Annotated[
        str | None,
        typer.Option("--action", metavar="PREFIX", help="Whose action starts so: twin, key.revoke."),
    ] = None
    target: Annotated[
        str | None, typer.Option("--target", metavar="PREFIX", help="Whose target starts so: a twin's id.")
    ] = None
    actor: Annotated[str | None, typer.Option("--actor", help="Of this actor: a key's name.")] = None
    result: Annotated[str | None, typer.Option("--result", help="That ended so: ok, or an error code.")] = (
        None
    )
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Since then, RFC 3339.")] = None
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then, RFC 3339.")] = (
        None
    )
    before: Annotated[
        int | None, typer.Option("--before", min=0, metavar="NUMBER", help="Numbered below: the next page.")
    ] = None

    def params(self) -> dict[str, Any]:
        """Return the parameters of the request, without `before`."""
        given = asdict(self)
        moments = {"from": given.pop("since"), "to": given.pop("until")}
        del given["before"]
        return {name: value for name, value in (given | moments).items() if value is not None}


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "audit",
        ("gemel audit", "the newest acts, refusals too; needs a key of scope admin"),
        ("gemel audit --action twin --target pump-1 --since 2026-01-31T00:00:00Z", "what was done to a twin"),
        ("gemel audit --result ScopeMissing --limit 5000 --json", "refusals, for a script"),
        ("gemel audit --platform --action tenant.create", "what operators did, on this machine's database"),
        panel=Panel.OPERATE,
    )(audit)


def audit(server: ServerOptions, trail: Trail, filters: Filters, limit: Limit = 100) -> None:
    """Show the audit trail, newest first: of the key's tenant, or as the operator of the platform or any tenant."""
    name = trail.name()
    if name is not None:
        found = _read(LocalOptions(server.data, server.as_json), name, filters, limit + 1)
        print_rows(found, limit, server.as_json, _table)
        return
    with server.client() as client:
        print_rows(_entries(client, filters, min(limit + 1, PAGE)), limit, server.as_json, _table)


def _read(local: LocalOptions, name: str, filters: Filters, count: int) -> list[dict[str, Any]]:
    import msgspec

    from gemel.api.durations import parse_moment_us
    from gemel.api.wire import AuditView
    from gemel.security.audit import PLATFORM as PLATFORM_NO
    from gemel.security.audit import record_operator_act
    from gemel.security.tenants import find_tenant
    from gemel.security.trail import AuditFilter, read_trail

    wanted = AuditFilter(
        action=filters.action,
        target=filters.target,
        actor=filters.actor,
        result=filters.result,
        from_us=None if filters.since is None else parse_moment_us("--since", filters.since),
        to_us=None if filters.until is None else parse_moment_us("--until", filters.until),
        before=filters.before,
    )
    with owner(local) as connection:
        number = PLATFORM_NO if name == PLATFORM else find_tenant(connection, name)
        rows = read_trail(connection, number, count, wanted)
        # Reading a trail is an act too, as it is over HTTP.
        record_operator_act(connection, "audit.list", name)
    # As the route shows them.
    return [msgspec.to_builtins(msgspec.convert(row, AuditView, from_attributes=True)) for row in rows]


def _entries(client: Client, filters: Filters, page_size: int) -> Iterator[dict[str, Any]]:
    before = filters.before
    while True:
        page = client.get("/v1/audit", **filters.params(), before=before, limit=page_size)["value"]
        yield from page
        if len(page) < page_size:
            return
        before = page[-1]["number"]


def _table(entries: list[dict[str, Any]]) -> None:
    output.print_table(COLUMNS, [[entry.get(name) for name in COLUMNS] for entry in entries])
