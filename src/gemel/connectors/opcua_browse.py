"""A look at an OPC UA server: its variables, and the draft of a source that reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from asyncua import Client, ua
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gemel.base.errors import InvalidError
from gemel.connectors.opcua import Login
from gemel.connectors.opcua_link import connect, faults
from gemel.connectors.opcua_picks import parse_pick
from gemel.connectors.opcua_tree import Variable, find_variables, read_names
from gemel.connectors.opcua_types import read_types
from gemel.sources.permits import Place

__all__ = ["Endpoint", "Sight", "draft_source", "look", "look_at_endpoints"]

UNITS: Final = {
    "A97": "hPa",
    "AMP": "A",
    "BAR": "bar",
    "C62": "1",
    "CEL": "degC",
    "CMQ": "cm^3",
    "CMT": "cm",
    "D61": "arcminute",
    "DD": "deg",
    "FAH": "degF",
    "GRM": "gram",
    "HTZ": "Hz",
    "HUR": "hour",
    "JOU": "J",
    "KEL": "kelvin",
    "KGM": "kg",
    "KGS": "kg/s",
    "KHZ": "kHz",
    "KMH": "km/h",
    "KPA": "kPa",
    "KVT": "kV",
    "KWH": "kWh",
    "KWT": "kW",
    "L2": "L/min",
    "LTR": "L",
    "MBR": "mbar",
    "MIN": "minute",
    "MMT": "mm",
    "MPA": "MPa",
    "MQH": "m^3/h",
    "MQS": "m^3/s",
    "MTK": "m^2",
    "MTQ": "m^3",
    "MTR": "m",
    "MTS": "m/s",
    "NEW": "N",
    "NU": "N*m",
    "OHM": "ohm",
    "P1": "%",
    "PAL": "Pa",
    "RPM": "rpm",
    "SEC": "s",
    "VLT": "V",
    "WTT": "W",
}
"""Units by their code of UNECE Recommendation 20, of which the number of a unit is made, as pint reads them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A variable as it is shown; `unit` as the server shows it, `pint` as mappings write it, where that is known."""

    path: tuple[str, ...]
    id: str
    type: str
    unit: str | None
    pint: str | None
    history: bool
    thing: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A way to be connected that a server offers; `certificate` is its own, in PEM."""

    policy: str
    mode: str
    certificate: str | None


async def look(login: Login, place: Place, patterns: Sequence[str]) -> tuple[list[Sight], list[str]]:
    """Return the readable variables that patterns fit, by path, and the patterns that nothing fits.

    Raises InvalidError (SourceInvalid, LimitExceeded), UnavailableError (SourceUnavailable, SecretMissing).
    """
    try:
        picks = [parse_pick(text, 0, 1) for text in patterns]
    except ValueError as error:
        message = f"A pattern {error}."
        raise InvalidError("InvalidArgument", message, 'As in "Plant/*/Speed", or "Plant/{*}/**".') from error
    link = await connect(login, place, None)
    try:
        variables, unfit = await find_variables(link, await read_names(link), picks)
        types = await read_types(link, {variable.data_type for variable in variables})
    finally:
        await link.close()
    names = types.names
    return sorted((_sight(each, names) for each in variables), key=lambda each: each.path), unfit


async def look_at_endpoints(login: Login) -> list[Endpoint]:
    """Return how a server can be connected to. Raises UnavailableError (SourceUnavailable)."""
    with faults(login.url):
        found = await Client(login.url, timeout=login.timeout_s).connect_and_get_server_endpoints()
    return [
        Endpoint(
            (endpoint.SecurityPolicyUri or "").rpartition("#")[2],
            ua.MessageSecurityMode(endpoint.SecurityMode).name.rstrip("_"),
            _pem(endpoint.ServerCertificate),
        )
        for endpoint in found
    ]


def draft_source(name: str, connection: dict[str, Any], sights: Sequence[Sight]) -> str:
    """Return a description that reads variables, with a mapping that stores each under a name like its own."""
    values: dict[str, Sight] = {}
    for sight in sights:
        values.setdefault(_path(sight.names), sight)
    lines = [f"name: {name}", "kind: opcua", "connection:"]
    lines += [f"  {key}: {_text(value)}" for key, value in connection.items()]
    lines += ["  nodes:"]
    lines += [f"    - {_text(pattern)}" for pattern in sorted({_pattern(sight) for sight in sights})]
    lines += [
        "mapping:",
        "  version: 2",
        f"  source: {name}",
        "  time: {path: time, format: iso}",
        "  twins:",
        "    - twin: '{thing}'",
        "      quality: quality",
        "      values:",
    ]
    for target, sight in values.items():
        unit = f", in {sight.pint or sight.unit}" if sight.unit else ""
        lines.append(f"        {target}: {_text(_place(sight.names))}   # {sight.type}{unit}")
    return "\n".join(lines) + "\n"


def _sight(variable: Variable, names: dict[ua.NodeId, str]) -> Sight:
    title = names[variable.data_type] + ("[]" if variable.many else "")
    return Sight(
        path=variable.path,
        id=variable.id,
        type=title,
        unit=variable.unit,
        pint=_unit(variable.unit_id),
        history=variable.history,
        thing=variable.called.thing,
        names=variable.called.names,
    )


def _unit(number: int | None) -> str | None:
    """Return the unit of a number, which is the letters of its UNECE code."""
    if number is None or not 0 < number < 1 << 31:
        return None
    return UNITS.get(number.to_bytes(4, "big").strip(b"\0").decode("ascii", "replace"))


def _pattern(sight: Sight) -> str:
    """Return the pattern of a variable and its likes: any thing in the place of its own."""
    depth = len(sight.path) - len(sight.names) - 1
    if depth < 0:
        return sight.id
    return "/".join([*sight.path[:depth], "{*}", *sight.names])


def _path(names: Sequence[str]) -> str:
    """Return names as a path of a twin: each as a name of DTDL, small at its beginning."""
    parts = []
    for name in names:
        words = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "value"
        words = words[0].lower() + words[1:]
        parts.append(words if words[0].isalpha() else f"v{words}")
    return ".".join(parts)


def _place(names: Sequence[str]) -> str:
    plain = re.compile(r"[A-Za-z_]\w*", re.ASCII)
    parts = [name if plain.fullmatch(name) else '"' + name.replace('"', '\\"') + '"' for name in names]
    return ".".join(["values", *parts])


def _text(value: Any) -> str:
    """Return a value in YAML, of which JSON is a part; a plain word as it is."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value, re.ASCII)
    if plain and value.lower() not in {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}:
        return str(value)
    return msgspec.json.encode(value).decode()


def _pem(der: bytes | None) -> str | None:
    if not der:
        return None
    # What stands behind the first is its chain.
    size = int.from_bytes(der[2:4], "big") + 4
    try:
        return x509.load_der_x509_certificate(der[:size]).public_bytes(Encoding.PEM).decode()
    except ValueError:
        return None
