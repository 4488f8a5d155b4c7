"""Units of DTDL models (`degreeCelsius`, `cubicMetrePerHour`) as pint reads them."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from gemel.mapping.units import is_unit

__all__ = ["pint_unit"]

WHOLE: Final = {
    "degreeCelsius": "degC",
    "degreeFahrenheit": "degF",
    "gForce": "standard_gravity",
    "poundPerSquareInch": "psi",
    "revolutionPerMinute": "rpm",
    "degreeOfArc": "degree",
    "minuteOfArc": "arcminute",
    "secondOfArc": "arcsecond",
    "millimetresOfMercury": "mmHg",
    "inchesOfMercury": "inHg",
    "inchesOfWater": "inH2O",
    "massPound": "pound",
    "percent": "percent",
    "unity": "dimensionless",
}
WORDS: Final = re.compile(r"[A-Z]?[a-z]+")


@cache
def pint_unit(unit: str) -> str | None:
    """Return a model's unit, by its term or DTMI, as pint reads it; None where pint has no such unit."""
    term = unit.rpartition(":")[2].partition(";")[0]
    text = WHOLE.get(term) or _spelled([word.lower() for word in WORDS.findall(term)])
    return text if is_unit(text) else None


def _spelled(words: list[str]) -> str:
    """Return the words of a unit as a product: `square` and `cubic` before a word, `squared` after it."""
    parts: list[str] = []
    power, divides = "", False
    for word in words:
        if word == "per":
            divides = True
        elif word == "reciprocal":
            parts.append("1")
            divides = True
        elif word in ("square", "cubic"):
            power = "**2" if word == "square" else "**3"
        elif word == "squared":
            parts[-1] += "**2"
        else:
            parts += [("/" if divides else "*") if parts else "", word + power]
            power = ""
    return "".join(parts)
