"""How units and values read on a screen: `degreeCelsius` as °C, numbers with digits that fit their size."""

from __future__ import annotations

__all__ = ["format_lag", "format_value", "unit_symbol"]

# The units of the demo's models (DTDL QuantitativeTypes v1); any other shows its DTDL name.
SYMBOLS = {
    "ampere": "A",
    "bar": "bar",
    "cubicMetre": "m³",
    "degreeCelsius": "°C",
    "degreeOfArc": "°",
    "gForce": "g",
    "kilowatt": "kW",
    "litrePerMinute": "L/min",
    "litrePerSecond": "L/s",
    "metre": "m",
    "millimetre": "mm",
    "newtonMetre": "Nm",
    "revolutionPerMinute": "rpm",
    "squareMetre": "m²",
    "volt": "V",
}


def unit_symbol(unit: str | None) -> str:
    """Return the symbol of a DTDL unit, its own name where none is known, and nothing for None."""
    return SYMBOLS.get(unit, unit) if unit else ""


def format_value(value: bool | int | float | str | None) -> str:
    """Return a value as short text: on and off, whole numbers whole, others with about four digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value if len(value) <= 12 else value[:11] + "…"
    if isinstance(value, int):
        return str(value)
    size = abs(value)
    if size >= 1e8 or 0 < size < 1e-4:
        return f"{value:.1e}"
    if size >= 1e5:
        return f"{value:.0f}"
    if size == 0:
        return "0.0"
    digits = 3 if size < 10 else 2 if size < 100 else 1
    return f"{value:.{digits}f}"


def format_lag(lag_ms: float | None) -> str:
    """Return a lag in its natural unit: 12 ms, 1.4 s, 3 min, 2 h."""
    if lag_ms is None:
        return "–"
    if lag_ms < 1000:
        return f"{lag_ms:.0f} ms"
    seconds = lag_ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.0f} h"
