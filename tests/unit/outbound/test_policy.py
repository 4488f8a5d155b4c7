"""Whom the platform may call: a table of addresses, of URL tricks, and of what an operator may allow."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import InvalidError
from gemel.outbound.addresses import why_not_public
from gemel.outbound.policy import OutboundPolicy
from gemel.outbound.target import parse_target

REFUSED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "cloud",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "reserved",
    "192.0.2.1": "documentation",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.9": "documentation",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "reserved",  # the old IPv4-compatible form of 127.0.0.1
    "::ffff:127.0.0.1": "loopback",
    "::ffff:10.0.0.1": "private",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:0:127.0.0.1": "reserved",
    "64:ff9b::127.0.0.1": "loopback",
    "64:ff9b::10.0.0.1": "private",
    "64:ff9b:1::1": "reserved",
    "100::1": "reserved",
    "2001::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "loopback",
    "2002:c0a8:101::1": "private",
    "3fff::1": "documentation",
    "5f00::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}
PUBLIC = ("8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "169.253.1.1", "2606:4700::1111")
CARRYING_PUBLIC = ("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1")


@pytest.mark.parametrize(("text", "why"), REFUSED.items())
def test_addresses_that_are_not_public(text: str, why: str) -> None:
    assert why in str(why_not_public(ipaddress.ip_address(text)))
    with pytest.raises(InvalidError, match="GEMEL_OUTBOUND_ALLOW") as caught:
        OutboundPolicy().check("a.example", 443, [text])
    assert caught.value.code == "OutboundRefused"
    assert "a.example" in caught.value.message


@pytest.mark.parametrize("text", [*PUBLIC, *CARRYING_PUBLIC])
def test_addresses_that_are_public(text: str) -> None:
    OutboundPolicy().check("a.example", 443, [text])


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if why_not_public(address) is None:
        assert address.is_global or getattr(address, "sixtofour", None) or "64:ff9b::" in str(address)
        assert not address.is_private
        assert not address.is_multicast


def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    with pytest.raises(InvalidError, match=r"10\.0\.0\.1 is private"):
        OutboundPolicy().check("a.example", 443, ["8.8.8.8", "10.0.0.1", "1.1.1.1"])


@pytest.mark.parametrize(
    ("allow", "host", "port", "address", "allowed"),
    [
        ("hooks.example.com", "hooks.example.com", 80, "10.0.0.1", True),
        ("HOOKS.example.com.", "hooks.example.com", 80, "10.0.0.1", True),
        ("hooks.example.com:8443", "hooks.example.com", 8443, "10.0.0.1", True),
        ("hooks.example.com:8443", "hooks.example.com", 443, "10.0.0.1", False),
        ("hooks.example.com", "evil.hooks.example.com", 80, "10.0.0.1", False),
        ("example.com", "notexample.com", 80, "10.0.0.1", False),
        ("10.0.0.0/8", "a.example", 80, "10.200.0.1", True),
        ("10.0.0.0/8", "a.example", 80, "192.168.0.1", False),
        ("10.0.0.0/8", "a.example", 80, "::ffff:10.0.0.1", True),
        ("10.1.2.3", "a.example", 80, "10.1.2.3", True),
        ("10.1.2.3:8443", "10.1.2.3", 8443, "10.1.2.3", True),
        ("10.1.2.3:8443", "10.1.2.3", 80, "10.1.2.3", False),
        ("fd00::/8", "a.example", 80, "fd00::7", True),
        ("[::1]:8080", "::1", 8080, "::1", True),
        ("[::1]:8080", "::1", 8081, "::1", False),
        ("::1", "::1", 1, "::1", True),
        (" a.example , 127.0.0.0/8 ", "localhost", 80, "127.0.0.1", True),
        ("127.0.0.0/8", "localhost", 80, "::1", False),
        ("", "localhost", 80, "127.0.0.1", False),
    ],
)
def test_what_an_operator_allows(allow: str, host: str, port: int, address: str, allowed: bool) -> None:
    policy = OutboundPolicy.parse(allow)
    if allowed:
        policy.check(host, port, [address])
    else:
        with pytest.raises(InvalidError):
            policy.check(host, port, [address])


@pytest.mark.parametrize(
    "entry",
    ["http://a.example", "a b", "10.0.0.1/8", "10.0.0.0/33", "a.example:0", "a:99999", "[::1", "*.a.b"],
)
def test_entries_that_are_none_of_them_are_named(entry: str) -> None:
    with pytest.raises(InvalidError) as caught:
        OutboundPolicy.parse(f"good.example,{entry}")
    assert caught.value.code == "InvalidArgument"
    assert repr(entry) in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "/path",
        "//a.example/x",
        "ftp://a.example/",
        "file:///etc/passwd",
        "gopher://a.example/",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://user@a.example/",
        "http://user:password@a.example/",
        "http://a.example@127.0.0.1/",
        "http://a.example\\@127.0.0.1/",
        "http://a.example /",
        "http://a.example/\r\nX: y",
        "http://a.example/\x00",
        "http://a.example:0/",
        "http://a.example:99999/",
        "http://a.example:-1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1.1/",
        "http://1.2.3.4.5/",
        "http://127.0.0.0x1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1",
        "http://a..b/",
        "http://-/",
        "http://" + "a" * 64 + ".example/",
        "http://a.example/" + "x" * 9000,
        "http://１２７.0.0.1/",
    ],
)
def test_urls_that_are_not_called(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_target(url)
    assert caught.value.code == "OutboundRefused"
    assert "password" not in caught.value.message.replace("a user or password", "")


@pytest.mark.parametrize(
    ("url", "origin", "host", "port", "path"),
    [
        ("http://a.example", "http://a.example", "a.example", 80, "/"),
        ("HTTPS://A.Example.:443/x?y=1#z", "https://a.example", "a.example", 443, "/x?y=1"),
        ("http://a.example:8080/%2e%2e/", "http://a.example:8080", "a.example", 8080, "/%2e%2e/"),
        ("http://[::1]:80/", "http://[::1]", "::1", 80, "/"),
        ("http://[2001:DB8::1]:81/", "http://[2001:db8::1]:81", "2001:db8::1", 81, "/"),
        ("http://127.0.0.1/", "http://127.0.0.1", "127.0.0.1", 80, "/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example", "xn--bcher-kva.example", 443, "/"),
    ],
)
def test_urls_that_are_called(url: str, origin: str, host: str, port: int, path: str) -> None:
    target = parse_target(url)
    assert (target.origin, target.host, target.port, target.path) == (origin, host, port, path)


@pytest.mark.parametrize(
    ("url", "location", "to"),
    [
        ("http://a.example/x/y", "z", "http://a.example/x/z"),
        ("http://a.example/x?secret=1", "/z", "http://a.example/z"),
        ("http://a.example/", "https://b.example/", "https://b.example/"),
        ("http://a.example/", "//b.example/", "http://b.example/"),
        ("https://a.example/", "http://a.example/", None),
        ("https://a.example/", "file:///etc/passwd", None),
        ("http://a.example/", "http://user:pw@b.example/", None),
        ("http://a.example/", "http://0x7f.1/", None),
    ],
)
def test_redirects(url: str, location: str, to: str | None) -> None:
    if to is None:
        with pytest.raises(InvalidError):
            parse_target(url).redirected(location)
    else:
        target = parse_target(url).redirected(location)
        assert target.origin + target.path == to
