"""Whom this platform may call: the public internet, and what GEMEL_OUTBOUND_ALLOW names beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gemel.base.errors import InvalidError
from gemel.outbound.addresses import plain, why_not_public
from gemel.outbound.target import host_name

__all__ = ["OutboundPolicy"]

VARIABLE = "GEMEL_OUTBOUND_ALLOW"
ENTRY = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:/\[\]]+))(?::([0-9]{1,5}))?")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """What is allowed beside public addresses: networks and host names, each with a port or with any (None)."""

    networks: tuple[tuple[Network, int | None], ...] = ()
    names: frozenset[tuple[str, int | None]] = frozenset()

    @classmethod
    def parse(cls, allow: str) -> OutboundPolicy:
        """Read the setting: host names, `host:port`, addresses and networks (CIDR), separated by commas.

        Raises InvalidError (InvalidArgument) naming the entry that is none of them.
        """
        entries = [part.strip() for part in allow.split(",") if part.strip()]
        networks: list[tuple[Network, int | None]] = []
        names: set[tuple[str, int | None]] = set()
        for entry in entries:
            host, port = _split(entry)
            if isinstance(host, str):
                names.add((host, port))
            else:
                networks.append((host, port))
        return cls(tuple(networks), frozenset(names))

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Raise InvalidError (OutboundRefused) if any address that a host's name leads to may not be called."""
        if (host, port) in self.names or (host, None) in self.names:
            return
        for reason in self._reasons(port, addresses):
            raise InvalidError(
                "OutboundRefused",
                f"{host} is not called: {reason}.",
                f"Let the operator add it to {VARIABLE}, if it is meant to be reached.",
            )

    def _reasons(self, port: int, addresses: Sequence[str]) -> Iterator[str]:
        for text in addresses:
            address = plain(ip_address(text.partition("%")[0]))
            if any(address in network and allowed in {None, port} for network, allowed in self.networks):
                continue
            why = why_not_public(address)
            if why is not None:
                yield f"its address {text} is {why}"


def _split(entry: str) -> tuple[Network | str, int | None]:
    try:
        return ip_network(entry, strict=True), None
    except ValueError:
        match = ENTRY.fullmatch(entry)
    port = int(match[3]) if match and match[3] else None
    if match is None or (port is not None and not 0 < port < 65_536):
        raise _unreadable(entry)
    try:
        return ip_network(match[1] or match[2]), port
    except ValueError:
        if match[1]:
            raise _unreadable(entry) from None
    try:
        return host_name(match[2]), port
    except InvalidError:
        raise _unreadable(entry) from None


def _unreadable(entry: str) -> InvalidError:
    return InvalidError(
        "InvalidArgument",
        f"{VARIABLE}: {entry!r} is no host name, host:port, address or network.",
        "As in GEMEL_OUTBOUND_ALLOW=hooks.example.com,10.1.2.3:8443,192.168.7.0/24.",
    )
