"""`gemel key`: what callers show to prove who they are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.operate import Act, owner
from gemel.cli.options import LocalOptions

__all__ = ["app"]

app = group("key", "API keys, on this machine's database.")

Tenant = Annotated[str, typer.Option("--tenant", help="The tenant, by name.")]


@command(
    app,
    "create",
    ("gemel key create --name dashboard --scope read", "prints the key, once"),
    ("gemel key create --tenant plant-north --name line-1 --scope ingest --scope read", "for another tenant"),
)
def create(
    local: LocalOptions,
    scopes: Annotated[
        list[str], typer.Option("--scope", help="read, write, ingest or admin; may be given often.")
    ],
    name: Annotated[str, typer.Option("--name", help="What it is for; the audit trail shows it.")],
    tenant: Tenant = "default",
) -> None:
    """Create a key and print it; it is not kept anywhere and cannot be shown again."""
    from gemel.security.hmac_key import load_hmac_key
    from gemel.security.tenants import NewKey, create_key

    with owner(local, Act("key.create", f"{tenant}/{name}")) as connection:
        secret = load_hmac_key(local.settings().data_dir)
        key_id, token = create_key(connection, secret, NewKey(tenant, name, scopes))
    if local.as_json:
        output.print_json({"keyId": key_id, "key": token, "tenant": tenant, "name": name, "scopes": scopes})
        return
    output.note(f"Key {key_id} of {tenant}. It is shown only now:")
    typer.echo(token)


@command(app, "list", ("gemel key list --tenant default", "ids, names and scopes; never the keys"))
def list_all(local: LocalOptions, tenant: Tenant = "default") -> None:
    """List a tenant's keys, revoked ones too."""
    from gemel.security.tenants import list_keys

    with owner(local) as connection:
        keys = list_keys(connection, tenant)
    if local.as_json:
        shown = [asdict(key) for key in keys]
        output.print_json([{"keyId": key.pop("key_id"), **key} for key in shown])
        return
    rows = [(key.key_id, key.name, " ".join(key.scopes), key.created, key.revoked) for key in keys]
    output.print_table(("key", "name", "scopes", "created", "revoked"), rows)


@command(app, "revoke", ("gemel key revoke abcd2345", "servers refuse it within a second"))
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id, as listed.")],
    local: LocalOptions,
    tenant: Tenant = "default",
) -> None:
    """Revoke a key for good."""
    from gemel.security.tenants import revoke_key

    with owner(local, Act("key.revoke", f"{tenant}/{key_id}")) as connection:
        revoke_key(connection, tenant, key_id)
    if local.as_json:
        output.print_json({"keyId": key_id, "tenant": tenant, "revoked": True})
    else:
        output.note(f"Revoked {key_id}.")
