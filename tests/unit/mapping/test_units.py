from __future__ import annotations

import pytest

from gemel.base.errors import InvalidError
from gemel.mapping.units import Conversion, conversion


@pytest.mark.parametrize(
    ("unit", "to", "factor", "offset"),
    [
        # Every factor is the double nearest to the exact one: SI Brochure 9, NIST SP 811 appendix B.
        ("degF", "degC", 5 / 9, -160 / 9),
        ("°F", "°C", 5 / 9, -160 / 9),
        ("degC", "K", 1.0, 273.15),
        ("g", "m/s^2", 9.80665, 0.0),
        ("g", "kg", 0.001, 0.0),
        ("L/min", "m^3/h", 0.06, 0.0),
        ("L/min", "L/s", 1 / 60, 0.0),
        ("bar", "Pa", 1e5, 0.0),
        ("psi", "Pa", 6894.757293168362, 0.0),
        ("%", "dimensionless", 0.01, 0.0),
        ("kWh", "J", 3.6e6, 0.0),
        ("mm", "µm", 1000.0, 0.0),
    ],
)
def test_a_conversion_is_exact_to_the_double(unit: str, to: str, factor: float, offset: float) -> None:
    assert conversion(unit, to) == Conversion(factor, offset)


@pytest.mark.parametrize(
    ("unit", "to"), [("degC", "degC"), ("g", "g"), ("bar", "bars"), ("L/min", "l/minute")]
)
def test_what_is_the_same_stays_untouched(unit: str, to: str) -> None:
    assert conversion(unit, to) is None


@pytest.mark.parametrize(
    ("unit", "to", "said"),
    [
        ("parsecond", "m", "'parsecond' is not a unit"),
        ("m", "s", "different things"),
        ("dBm", "mW", "factor and an offset"),
        ("m^", "m", "'m^' is not a unit"),
        ("degC/", "K", "'degC/' is not a unit"),
        ("5", "m", "'5' is not a unit"),
    ],
)
def test_what_cannot_be_converted_says_so(unit: str, to: str, said: str) -> None:
    with pytest.raises(InvalidError, match="MappingInvalid") as caught:
        conversion(unit, to)
    assert said in caught.value.message
