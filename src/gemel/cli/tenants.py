"""`gemel tenant`: whose data it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.operate import Act, owner
from gemel.cli.options import LocalOptions

__all__ = ["app"]

app = group("tenant", "Tenants, on this machine's database.")


@command(app, "create", ("gemel tenant create plant-north", "then `gemel key create --tenant plant-north`"))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")],
    local: LocalOptions,
) -> None:
    """Create a tenant; it has no key yet."""
    from gemel.security.tenants import create_tenant

    with owner(local, Act("tenant.create", name)) as connection:
        number = create_tenant(connection, name)
    if local.as_json:
        output.print_json({"tenant": number, "name": name})
    else:
        output.note(f"Created tenant {name}. Make it a key with `gemel key create --tenant {name}`.")


@command(app, "list", ("gemel tenant list", "every tenant and how many live keys it has"))
def list_all(local: LocalOptions) -> None:
    """List tenants."""
    from gemel.security.tenants import list_tenants

    with owner(local) as connection:
        tenants = [asdict(tenant) for tenant in list_tenants(connection)]
    if local.as_json:
        output.print_json(tenants)
    else:
        output.print_table(("tenant", "name", "created", "keys"), [list(t.values()) for t in tenants])
