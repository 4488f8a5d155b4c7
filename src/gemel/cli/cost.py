"""`gemel cost`: what is stored of a tenant, and what came and went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.operate import owner
from gemel.cli.options import LocalOptions, ServerOptions

__all__ = ["register"]

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
DAYS = 30
US_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Period:
    """Which traffic."""

    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Since then, RFC 3339. Default: 30 days ago.")
    ] = None
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before then, RFC 3339.")] = None
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="WIDTH", help="Traffic by stretches of time: 1h, 6h, 1d, 1w."),
    ] = None


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "cost",
        ("gemel cost", "what is stored by tier, bytes per sample, and what came and went in 30 days"),
        ("gemel cost --every 1d --from 2026-01-01T00:00:00Z", "traffic day by day"),
        ("gemel cost --all", "every tenant, on this machine's database"),
        panel=Panel.OPERATE,
    )(cost)


def cost(
    server: ServerOptions,
    period: Period,
    every_tenant: Annotated[
        bool, typer.Option("--all", help="Every tenant, as the operator of this machine's database.")
    ] = False,
) -> None:
    """Show how many bytes are stored of a tenant, by tier and by sample, and how many came and went."""
    if every_tenant:
        if period != Period():
            raise InvalidError(
                "UsageInvalid", "--all shows the last 30 days.", "Leave --from, --to and --every out."
            )
        _show_all(LocalOptions(server.data, server.as_json))
        return
    with server.client() as client:
        found = client.get("/v1/cost", **{"from": period.start, "to": period.end, "every": period.every})
    if server.as_json:
        output.print_json(found)
        return
    _stored_table(found)
    _traffic_table(found, by_time=period.every is not None)


def _stored_table(found: dict[str, Any]) -> None:
    tiers = sorted(found["stored"], key=lambda tier: -tier["bytes"])
    rows = [(t["tier"], _size(t["bytes"]), _count(t["samples"]), t["bytesPerSample"]) for t in tiers]
    total = ("together", _size(found["bytes"]), _count(found["samples"]), found["bytesPerSample"])
    output.print_table(("stored", "bytes", "samples", "bytes per sample"), [*rows, total])


def _traffic_table(found: dict[str, Any], *, by_time: bool) -> None:
    if by_time:
        rows = [(_minute(row["time"]), *_volume(row)) for row in found["within"]]
        output.print_table(("time", "channel", "calls", "received", "sent"), rows)
    else:
        output.print_table(
            (f"since {found['from'][:10]}", "calls", "received", "sent"), map(_volume, found["traffic"])
        )


def _volume(row: dict[str, Any]) -> tuple[str, str | None, str, str]:
    return row["channel"], _count(row["calls"]), _size(row["received"]), _size(row["sent"])


def _show_all(local: LocalOptions) -> None:
    from gemel.base.clock import now_us
    from gemel.observe.traffic import Volume
    from gemel.security.tenants import list_tenants
    from gemel.store.sizes import Gauge, all_stored, keep_stored, unowned_bytes
    from gemel.store.traffic import all_traffic

    with owner(local) as connection:
        keep_stored(connection, Gauge().measure(connection) or {})
        stored = all_stored(connection)
        traffic = all_traffic(connection, now_us() - DAYS * US_PER_DAY)
        names = {0: "platform"} | {tenant.tenant: tenant.name for tenant in list_tenants(connection)}
        rest = unowned_bytes(connection)
    rows = []
    for number, name in names.items():
        size = sum(tier.bytes for tier in stored.get(number, []))
        samples = sum(tier.samples or 0 for tier in stored.get(number, []))
        volume = traffic.get(number, Volume())
        rows.append({"tenant": name, "bytes": size, "samples": samples, **volume._asdict()})
    if local.as_json:
        output.print_json({"tenants": rows, "unownedBytes": rest})
        return
    shown = [
        (
            row["tenant"],
            _size(row["bytes"]),
            _count(row["samples"]),
            round(row["bytes"] / row["samples"], 1) if row["samples"] else None,
            _size(row["received"]),
            _size(row["sent"]),
        )
        for row in rows
    ]
    columns = ("tenant", "stored", "samples", "bytes per sample", "received", "sent")
    output.print_table(columns, [*shown, ("of nobody", _size(rest), None, None, None, None)])
    output.note(f"Received and sent in {DAYS} days. Of nobody: empty tables, the catalogue, free space.")


def _size(count: int) -> str:
    """Return a number of bytes with three digits and its unit."""
    value = float(count)
    for unit in UNITS:
        if value < 999.5 or unit == UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _minute(time: str) -> str:
    return time[:16] + "Z"
