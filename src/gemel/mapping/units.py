"""Unit conversion worked out once per column, as a factor and an offset."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from gemel.base.errors import InvalidError

if TYPE_CHECKING:
    import pint

__all__ = ["Conversion", "conversion", "is_unit"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """`value * factor + offset`, in doubles; factor and offset are the exact ones, rounded once."""

    factor: float
    offset: float


@cache
def conversion(unit: str, to: str) -> Conversion | None:
    """Return how values in `unit` become values in `to`, or None where they stay as they are.

    Units are written as pint reads them (`degF`, `L/min`, `m/s^2`, `%`). Scales with an offset are taken as
    points on the scale. A `g` that is to become an acceleration is standard gravity, not the gram.

    Raises InvalidError (MappingInvalid) where a unit is unknown, the two do not measure the same thing, or
    the conversion is not a factor and an offset (dB and other logarithmic units).
    """
    if unit == to:
        return None
    import pint

    given, target = _parsed(unit, unit, to), _parsed(to, unit, to)
    if unit == "g" and target.is_compatible_with("m/s^2"):
        given = _registry().Unit("standard_gravity")
    try:
        zero, one = (_registry().Quantity(Fraction(point), given).to(target).magnitude for point in (0, 1))
    except pint.DimensionalityError as error:
        problem = "they measure different things"
        raise _fault(unit, to, problem, "Mend `unit` or `to`.") from error
    except (pint.PintError, TypeError, ValueError) as error:
        problem = "this is not a conversion by a factor and an offset"
        raise _fault(unit, to, problem, "Convert it before, or store it as it is.") from error
    factor = one - zero
    if factor == 1 and zero == 0:
        return None
    return Conversion(float(factor), float(zero))


def is_unit(text: str) -> bool:
    """Whether pint reads a text as a unit."""
    try:
        _parsed(text, text, text)
    except InvalidError:
        return False
    return True


def _parsed(text: str, unit: str, to: str) -> Any:
    try:
        return _registry().parse_units(text)
    except Exception as error:  # pint's parser lets whatever goes wrong in it out, assertions too
        hint = "Write units as pint does: degC, L/min, m/s^2, kPa."
        raise _fault(unit, to, f"{text!r} is not a unit", hint) from error


@cache
def _registry() -> pint.UnitRegistry[Any]:
    """Make pint's registry on first use (0.3 s), with definitions as fractions so that factors are exact."""
    import pint

    return pint.UnitRegistry(non_int_type=Fraction)


def _fault(unit: str, to: str, problem: str, hint: str) -> InvalidError:
    return InvalidError("MappingInvalid", f"unit {unit!r} does not become {to!r}: {problem}.", hint)
