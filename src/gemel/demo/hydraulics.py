"""Where the pump curve meets the system curve: steady flow of parallel pumps through one valve.

Pump, by the affinity laws (Gülich, *Centrifugal Pumps*): ``H = H0 s² - a q²`` at a speed fraction ``s``.
System: ``H = static + k Q²``, where ``k`` is pipe friction plus the valve, ``1 / Cv²``.
Flows are in m³/s, heads in metres of water.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["GRAVITY_M_S2", "WATER_KG_M3", "Duty", "PumpCurve", "solve_duty", "valve_resistance"]

GRAVITY_M_S2 = 9.81
WATER_KG_M3 = 1000.0

VALVE_CV_OPEN = 0.0098  # m³/s at 1 m of head
VALVE_RANGEABILITY = 30.0
VALVE_SHUT_DEG = 1.0  # the seat seals below this angle
HALVINGS = 48  # of a head interval below 100 m: far below a micrometre


@dataclass(frozen=True, slots=True)
class PumpCurve:
    """A pump at one moment: head at no flow and full speed, fall of head with flow, speed fraction."""

    shutoff_head_m: float
    fall_s2_m5: float
    speed: float

    def flow_at(self, head_m: float) -> float:
        """Return the flow in m³/s against a head; zero behind the shut check valve."""
        spare_m = self.shutoff_head_m * self.speed**2 - head_m
        return math.sqrt(spare_m / self.fall_s2_m5) if spare_m > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Duty:
    """The duty point: the head all pumps share, and the flow of each."""

    head_m: float
    flows_m3_s: tuple[float, ...]


def valve_resistance(angle_deg: float) -> float:
    """Return the head loss of the valve per flow squared (s²/m⁵) at an angle; infinite when shut.

    Equal-percentage trim: ``Cv = Cv_open R^(x - 1)`` for the open fraction ``x`` (IEC 60534-2-4).
    """
    if angle_deg < VALVE_SHUT_DEG:
        return math.inf
    cv = VALVE_CV_OPEN * math.pow(VALVE_RANGEABILITY, angle_deg / 90.0 - 1.0)
    return 1.0 / (cv * cv)


def solve_duty(pumps: Sequence[PumpCurve], static_head_m: float, resistance_s2_m5: float) -> Duty:
    """Return the head at which the pumps together deliver what the system takes.

    Supply falls and demand rises with the head, so halving the interval finds the one crossing.
    """
    low = static_head_m
    high = max([low] + [pump.shutoff_head_m * pump.speed**2 for pump in pumps])
    if math.isinf(resistance_s2_m5):
        return Duty(high, tuple(0.0 for _ in pumps))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        demand = math.sqrt((middle - static_head_m) / resistance_s2_m5)
        if sum(pump.flow_at(middle) for pump in pumps) > demand:
            low = middle
        else:
            high = middle
    return Duty(high, tuple(pump.flow_at(high) for pump in pumps))
