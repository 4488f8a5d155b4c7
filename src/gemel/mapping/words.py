"""Names of fields taken apart: words, abbreviations written out, and the unit that a name ends in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Name", "alike", "name_of"]

WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
ABBREVIATIONS: Final = {
    "acc": "acceleration",
    "accel": "acceleration",
    "amb": "ambient",
    "avg": "average",
    "bat": "battery",
    "batt": "battery",
    "cnt": "count",
    "cur": "current",
    "curr": "current",
    "dev": "device",
    "freq": "frequency",
    "hum": "humidity",
    "lat": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "lvl": "level",
    "mot": "motor",
    "pos": "position",
    "pow": "power",
    "pres": "pressure",
    "press": "pressure",
    "pwr": "power",
    "qty": "quantity",
    "rh": "humidity",
    "spd": "speed",
    "sts": "status",
    "temp": "temperature",
    "tmp": "temperature",
    "vel": "velocity",
    "vib": "vibration",
    "vol": "volume",
    "volt": "voltage",
}
UNITS: Final = {
    ("c",): "degC",
    ("degc",): "degC",
    ("deg", "c"): "degC",
    ("celsius",): "degC",
    ("f",): "degF",
    ("degf",): "degF",
    ("deg", "f"): "degF",
    ("fahrenheit",): "degF",
    ("k",): "kelvin",
    ("kelvin",): "kelvin",
    ("pa",): "Pa",
    ("hpa",): "hPa",
    ("kpa",): "kPa",
    ("mpa",): "MPa",
    ("bar",): "bar",
    ("mbar",): "mbar",
    ("psi",): "psi",
    ("rpm",): "rpm",
    ("hz",): "Hz",
    ("khz",): "kHz",
    ("v",): "V",
    ("mv",): "mV",
    ("kv",): "kV",
    ("a",): "A",
    ("ma",): "mA",
    ("amps",): "A",
    ("w",): "W",
    ("kw",): "kW",
    ("mw",): "MW",
    ("wh",): "Wh",
    ("kwh",): "kWh",
    ("pct",): "percent",
    ("percent",): "percent",
    ("l",): "L",
    ("lpm",): "L/min",
    ("l", "min"): "L/min",
    ("m", "3", "h"): "m^3/hour",
    ("mm", "s"): "mm/s",
    ("m", "s"): "m/s",
    ("m", "s", "2"): "m/s^2",
    ("mps",): "m/s",
    ("kmh",): "km/hour",
    ("mph",): "mph",
    ("g",): "g",
    ("kg",): "kg",
    ("mm",): "mm",
    ("cm",): "cm",
    ("m",): "m",
    ("ms",): "ms",
    ("s",): "s",
    ("sec",): "s",
    ("nm",): "N*m",
    ("lux",): "lux",
}
FUZZY: Final = 0.82
LONGEST: Final = 3


class Name(NamedTuple):
    """A name's words, in lower case and written out, and the unit that it ends in, as pint reads it."""

    words: tuple[str, ...]
    unit: str | None


def name_of(text: str, *, with_unit: bool = True) -> Name:
    """Take a name apart: `motorTemp_degF` is (motor, temperature) in degF."""
    words = [word.lower() for word in WORD.findall(text)]
    unit = None
    if with_unit:
        for length in range(min(LONGEST, len(words)), 0, -1):
            # `kPa` and `degF` come apart as words, and are one unit all the same.
            found = UNITS.get(tuple(words[-length:])) or UNITS.get(("".join(words[-length:]),))
            # A name that is nothing but a unit is of what it measures: `rpm`.
            if found is not None and (length < len(words) or len(words[0]) > 2):
                unit = "mW" if text.endswith("mW") else found
                words = words[:-length] if length < len(words) else words
                break
    return Name(tuple(ABBREVIATIONS.get(word, word) for word in words), unit)


def alike(one: Sequence[str], other: Sequence[str]) -> float:
    """Return how alike two names are, from 0 to 1: words that both have, and words that are nearly the same."""
    if not one or not other:
        return 0.0
    left, shared = list(other), 0.0
    for word in one:
        best = max(left, key=lambda each: _near(word, each), default=None)
        if best is not None and (near := _near(word, best)) >= FUZZY:
            shared += near
            left.remove(best)
    return 2 * shared / (len(one) + len(other))


def _near(one: str, other: str) -> float:
    if one == other:
        return 1.0
    if min(len(one), len(other)) >= 3 and (one.startswith(other) or other.startswith(one)):
        return 0.85
    return difflib.SequenceMatcher(None, one, other).ratio()
