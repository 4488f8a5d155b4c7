"""A URL to call, read once: what is checked is what is connected to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from gemel.base.errors import InvalidError

__all__ = ["Target", "host_name", "parse_target"]

PORTS = {"http": 80, "https": 443}
URL_CHARS_MAX = 8192
LABEL_CHARS_MAX = 63
NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: scheme, host (lower case, ASCII, without brackets), port, path and query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """The part of the URL that may be told and logged: a path or query may hold a secret."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def redirected(self, location: str) -> Target:
        """Return where a redirect leads. Raises InvalidError (OutboundRefused) where it may not be followed."""
        try:
            target = parse_target(str(httpx.URL(self.origin + self.path).join(location)))
        except (httpx.InvalidURL, ValueError) as error:
            raise _refused(f"{self.origin} redirects to no URL") from error
        if self.scheme == "https" and target.scheme != "https":
            raise _refused(f"{self.origin} redirects to {target.origin}, from https to http")
        return target


def parse_target(url: str) -> Target:
    """Read a URL. Raises InvalidError (OutboundRefused) for what is no plain http or https URL.

    User and password in it are refused, and so are hosts written as one number, in octal or in hexadecimal:
    readers of URLs differ on what they mean.
    """
    if len(url) > URL_CHARS_MAX:
        raise _refused(f"the URL has more than {URL_CHARS_MAX} characters")
    if "\\" in url or any(character.isspace() or ord(character) < 33 for character in url):
        raise _refused("the URL holds white space, control characters or a backslash")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
        port = parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused("it is not a URL") from error
    if parsed.scheme not in PORTS:
        raise _refused("only http and https URLs are called")
    if parsed.userinfo:
        raise _refused("the URL holds a user or password")
    if port is not None and not 0 < port < 65_536:
        raise _refused(f"{port} is no port")
    path = parsed.raw_path.decode("ascii")
    return Target(parsed.scheme, host_name(host), port or PORTS[parsed.scheme], path)


def host_name(host: str) -> str:
    """Return a host's name or address in the one form that it is compared in.

    Raises InvalidError (OutboundRefused) where it is neither.
    """
    if "%" in host:
        raise _refused("addresses with a zone are not called")
    try:
        return str(ip_address(host))
    except ValueError:
        name = host.lower().removesuffix(".")
    if not NAME.match(name) or any(not 0 < len(label) <= LABEL_CHARS_MAX for label in name.split(".")):
        raise _refused("it names no host")
    if NUMBER.match(name.rpartition(".")[2]):
        raise _refused(f"{name} is an address in a form that is not taken; write four decimal numbers")
    return name


def _refused(reason: str) -> InvalidError:
    return InvalidError("OutboundRefused", f"The URL is not called: {reason}.")
