"""One pump set over time: speed, friction wear, heat and vibration. Temperatures in °C, heads in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gemel.demo.hydraulics import GRAVITY_M_S2, WATER_KG_M3, PumpCurve

__all__ = ["AMBIENT_C", "LINE_VOLTAGE_V", "PumpSet", "approach"]

AMBIENT_C = 18.0
FULL_SPEED_RPM = 2900.0
LINE_VOLTAGE_V = 400.0
POWER_FACTOR = 0.85

SHUTOFF_HEAD_M = 18.0
HEAD_FALL_S2_M5 = 30_600.0
BEST_FLOW_M3_S = 0.014
DISC_FRICTION_W = 650.0  # at full speed, whatever the flow
HYDRAULIC_EFFICIENCY = 0.78
MOTOR_EFFICIENCY = 0.86
SPIN_UP_S, SPIN_DOWN_S = 0.8, 1.6

MOTOR_HEAT_J_K = 4000.0
MOTOR_COOLING_W_K, FAN_COOLING_W_K = 3.0, 5.0

BEARING_HEAT_J_K = 220.0
BEARING_COOLING_W_K, BEARING_TO_MOTOR_W_K = 1.0, 0.5
BEARING_LOAD_N, BEARING_RADIUS_M = 2000.0, 0.02
FRICTION_NEW, FRICTION_WORN = 0.0015, 0.0045  # coefficients of a new and of a worn-out rolling bearing
WEAR_PER_S = 1e-5  # faster than life, so that an hour of demo shows it
CAVITATION_LEVEL_M = 0.9


def approach(value: float, target: float, dt_s: float, time_constant_s: float) -> float:
    """Return a first-order lag's value after dt, exactly: no overshoot, however long the step."""
    return target + (value - target) * math.exp(-dt_s / time_constant_s)


@dataclass(slots=True)
class PumpSet:
    """A pump, its motor and its drive-end bearing; `wear` runs from 0 (new) to 1 (worn out)."""

    wear: float
    motor_c: float = AMBIENT_C
    bearing_c: float = AMBIENT_C
    running: bool = False
    starts: int = 0
    speed: float = 0.0
    flow_m3_s: float = 0.0
    head_m: float = 0.0
    power_w: float = 0.0

    def command(self, run: bool) -> None:
        """Start or stop; a start is counted once."""
        self.starts += run and not self.running
        self.running = run

    def curve(self) -> PumpCurve:
        """Return the head curve at the present speed; worn rings lose up to a tenth of the head."""
        return PumpCurve(SHUTOFF_HEAD_M * (1.0 - 0.1 * self.wear), HEAD_FALL_S2_M5, self.speed)

    def spin(self, dt_s: float) -> None:
        """Let the shaft follow the command."""
        lag_s = SPIN_UP_S if self.running else SPIN_DOWN_S
        self.speed = approach(self.speed, float(self.running), dt_s, lag_s)
        if not self.running and self.speed < 0.002:
            self.speed = 0.0

    def load(self, flow_m3_s: float, head_m: float, dt_s: float) -> None:
        """Take the duty point of this step: power drawn, heat made, wear done."""
        self.flow_m3_s = flow_m3_s
        self.head_m = head_m if self.speed else 0.0
        lift_w = WATER_KG_M3 * GRAVITY_M_S2 * flow_m3_s * self.head_m / HYDRAULIC_EFFICIENCY
        friction_w = self.friction_torque_nm * self.shaft_rad_s
        self.power_w = (lift_w + DISC_FRICTION_W * self.speed**3 + friction_w) / MOTOR_EFFICIENCY
        cooling_w_k = MOTOR_COOLING_W_K + FAN_COOLING_W_K * self.speed
        motor_target_c = AMBIENT_C + self.power_w * (1.0 - MOTOR_EFFICIENCY) / cooling_w_k
        self.motor_c = approach(self.motor_c, motor_target_c, dt_s, MOTOR_HEAT_J_K / cooling_w_k)
        paths_w_k = BEARING_COOLING_W_K + BEARING_TO_MOTOR_W_K
        inflow_w = friction_w + BEARING_COOLING_W_K * AMBIENT_C + BEARING_TO_MOTOR_W_K * self.motor_c
        self.bearing_c = approach(self.bearing_c, inflow_w / paths_w_k, dt_s, BEARING_HEAT_J_K / paths_w_k)
        self.wear = min(1.0, self.wear + WEAR_PER_S * self.speed * (1.0 + 2.0 * self.wear) * dt_s)

    def vibration_g(self, level_m: float) -> float:
        """Return the bearing's vibration (RMS, g): wear, cavitation and running off the best point add up."""
        if self.speed == 0.0:
            return 0.002
        off_best = (self.flow_m3_s / self.speed - BEST_FLOW_M3_S) / BEST_FLOW_M3_S
        cavitation = max(0.0, CAVITATION_LEVEL_M - level_m)
        return 0.002 + self.speed**2 * (0.05 + 0.45 * self.wear**2 + 0.08 * off_best**2 + 0.4 * cavitation)

    @property
    def shaft_rad_s(self) -> float:
        """The shaft's angular speed."""
        return self.speed_rpm * math.tau / 60.0

    @property
    def speed_rpm(self) -> float:
        """The shaft's speed in revolutions per minute."""
        return FULL_SPEED_RPM * self.speed

    @property
    def friction_torque_nm(self) -> float:
        """The bearing's friction torque while it turns (Coulomb friction at the load's radius)."""
        friction = FRICTION_NEW + (FRICTION_WORN - FRICTION_NEW) * self.wear
        return friction * BEARING_LOAD_N * BEARING_RADIUS_M if self.speed else 0.0

    def current_a(self, voltage_v: float) -> float:
        """Return the phase current (A) at a line voltage (V)."""
        return self.power_w / (math.sqrt(3.0) * voltage_v * POWER_FACTOR)
