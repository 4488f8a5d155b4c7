"""Which IP addresses are not of the public internet, and why: IANA's registries of special addresses as data.

Sources: the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and what amends it).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["Address", "plain", "why_not_public"]

Address = IPv4Address | IPv6Address

SPECIAL_4 = (
    (IPv4Network("0.0.0.0/8"), "unspecified"),
    (IPv4Network("10.0.0.0/8"), "private"),
    (IPv4Network("100.64.0.0/10"), "shared by carriers (CGNAT)"),
    (IPv4Network("127.0.0.0/8"), "loopback"),
    (IPv4Network("168.63.129.16/32"), "a service of the cloud's host"),
    (IPv4Network("169.254.0.0/16"), "link-local"),
    (IPv4Network("172.16.0.0/12"), "private"),
    (IPv4Network("192.0.0.0/24"), "reserved"),
    (IPv4Network("192.0.2.0/24"), "for documentation"),
    (IPv4Network("192.88.99.0/24"), "reserved"),
    (IPv4Network("192.168.0.0/16"), "private"),
    (IPv4Network("198.18.0.0/15"), "for benchmarks"),
    (IPv4Network("198.51.100.0/24"), "for documentation"),
    (IPv4Network("203.0.113.0/24"), "for documentation"),
    (IPv4Network("224.0.0.0/4"), "multicast"),
    (IPv4Network("240.0.0.0/4"), "reserved"),
)
GLOBAL_6 = IPv6Network("2000::/3")
SPECIAL_6 = (
    (IPv6Network("::/128"), "unspecified"),
    (IPv6Network("::1/128"), "loopback"),
    (IPv6Network("fc00::/7"), "private"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("fec0::/10"), "site-local"),
    (IPv6Network("ff00::/8"), "multicast"),
    (IPv6Network("2001::/23"), "reserved"),
    (IPv6Network("2001:db8::/32"), "for documentation"),
    (IPv6Network("3fff::/20"), "for documentation"),
)
NAT64 = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")


def plain(address: Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped IPv6 one, which reaches the same host; others as they are."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def why_not_public(address: Address) -> str | None:
    """Say why an address is not a host of the public internet, or None.

    An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is judged by that.
    """
    address = plain(address)
    if isinstance(address, IPv4Address):
        return next((why for network, why in SPECIAL_4 if address in network), None)
    if address in NAT64:
        return why_not_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address in SIX_TO_FOUR:
        return why_not_public(IPv4Address(int(address) >> 80 & 0xFFFF_FFFF))
    why = next((why for network, why in SPECIAL_6 if address in network), None)
    return why or (None if address in GLOBAL_6 else "reserved")
