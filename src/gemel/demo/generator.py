"""The demo's pumping station as a seeded simulation: same seed and same steps, same readings.

A tank is filled by a restless inflow and emptied by a duty pump, and by the standby pump when that is not
enough, through a throttling valve. Water is conserved: stored = filled - pumped - spilled, always.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from gemel.demo.hydraulics import GRAVITY_M_S2, WATER_KG_M3, solve_duty, valve_resistance
from gemel.demo.machine import LINE_VOLTAGE_V, PumpSet

__all__ = ["Balance", "Readings", "Station", "Value"]

Value = bool | int | float | str
Readings = dict[str, dict[str, Value]]

STEP_S_MAX = 0.1  # longer steps are split, so that fill and control stay in step

TANK_AREA_M2, TANK_HEIGHT_M = 1.13, 2.5
START_LEVEL_M, ASSIST_LEVEL_M, STOP_LEVEL_M = 1.5, 1.9, 0.7
STATIC_LIFT_M = 8.0  # from the tank's floor to the outfall
PIPE_RESISTANCE_S2_M5 = 15_000.0

INFLOW_MEAN_M3_S, INFLOW_SPREAD_M3_S, INFLOW_MEMORY_S = 0.0085, 0.0025, 40.0
VALVE_DEG_S = 9.0
VALVE_HOLD_S = 25.0  # how long the plant's own throttling keeps one angle, on average
VALVE_RANGE_DEG = (50.0, 90.0)

METER_ZERO_M3_S, METER_SHARE = 2e-5, 0.005  # noise of a flow meter: at rest, and as a share of the flow


@dataclass(slots=True)
class Balance:
    """Water that passed since the start, and what is in the tank, in m³."""

    initial: float
    filled: float = 0.0
    pumped: float = 0.0
    spilled: float = 0.0
    stored: float = 0.0


@dataclass(slots=True)
class Station:
    """A pumping station; `step` moves it on and reads its sensors."""

    seed: int
    pumps: tuple[PumpSet, PumpSet] = field(init=False)
    balance: Balance = field(init=False)
    valve_deg: float = 70.0
    commanded_deg: float = 70.0
    inflow_m3_s: float = INFLOW_MEAN_M3_S
    outflow_m3_s: float = 0.0
    header_m: float = STATIC_LIFT_M
    duty: int = 0
    held: bool = False
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 — a simulation, not a secret
        warm_c = self._random.uniform(35.0, 45.0)
        self.pumps = (PumpSet(wear=0.1, motor_c=warm_c), PumpSet(wear=0.45, motor_c=warm_c - 8.0))
        volume = TANK_AREA_M2 * (START_LEVEL_M - self._random.uniform(0.02, 0.04))
        self.balance = Balance(initial=volume, stored=volume)

    @property
    def level_m(self) -> float:
        """The water level above the tank's floor."""
        return self.balance.stored / TANK_AREA_M2

    def command_valve(self, angle_deg: float) -> None:
        """Hold the valve at an angle (0 shut, 90 open) instead of the plant's own throttling."""
        self.held = True
        self.commanded_deg = min(90.0, max(0.0, angle_deg))

    def step(self, dt_s: float) -> Readings:
        """Move the station on by dt and return twin → path → value, as its sensors show them."""
        parts = max(1, math.ceil(dt_s / STEP_S_MAX))
        for _ in range(parts):
            self._advance(dt_s / parts)
        return self._read()

    def _advance(self, dt_s: float) -> None:
        self._move_inflow(dt_s)
        self._move_valve(dt_s)
        self._control()
        for pump in self.pumps:
            pump.spin(dt_s)
        resistance = PIPE_RESISTANCE_S2_M5 + valve_resistance(self.valve_deg)
        duty = solve_duty([pump.curve() for pump in self.pumps], STATIC_LIFT_M - self.level_m, resistance)
        for pump, flow in zip(self.pumps, duty.flows_m3_s, strict=True):
            pump.load(flow, duty.head_m, dt_s)
        self.header_m = duty.head_m + self.level_m
        self._fill(sum(duty.flows_m3_s), dt_s)

    def _move_inflow(self, dt_s: float) -> None:
        # Ornstein–Uhlenbeck, with its exact update, so that the spread does not depend on the step.
        keep = math.exp(-dt_s / INFLOW_MEMORY_S)
        jitter = INFLOW_SPREAD_M3_S * math.sqrt(1.0 - keep**2) * self._random.gauss(0.0, 1.0)
        mean = INFLOW_MEAN_M3_S
        self.inflow_m3_s = max(0.0, mean + (self.inflow_m3_s - mean) * keep + jitter)

    def _move_valve(self, dt_s: float) -> None:
        if not self.held and self._random.random() < dt_s / VALVE_HOLD_S:
            self.commanded_deg = float(round(self._random.uniform(*VALVE_RANGE_DEG)))
        travel = VALVE_DEG_S * dt_s
        self.valve_deg += min(travel, max(-travel, self.commanded_deg - self.valve_deg))

    def _control(self) -> None:
        lead, standby = self.pumps[self.duty], self.pumps[1 - self.duty]
        if self.level_m <= STOP_LEVEL_M and lead.running:
            lead.command(run=False)
            standby.command(run=False)
            self.duty = 1 - self.duty  # take turns, so that both wear alike
        elif self.level_m >= START_LEVEL_M:
            lead.command(run=True)
            if self.level_m >= ASSIST_LEVEL_M:
                standby.command(run=True)

    def _fill(self, pumped_m3_s: float, dt_s: float) -> None:
        water = self.balance
        filled = self.inflow_m3_s * dt_s
        pumped = min(pumped_m3_s * dt_s, water.stored + filled)
        spilled = max(0.0, water.stored + filled - pumped - TANK_AREA_M2 * TANK_HEIGHT_M)
        water.stored += filled - pumped - spilled
        water.filled += filled
        water.pumped += pumped
        water.spilled += spilled
        self.outflow_m3_s = pumped / dt_s if dt_s > 0 else 0.0

    def _read(self) -> Readings:
        level_m = self.level_m + self._random.gauss(0.0, 0.0005)
        head_bar = WATER_KG_M3 * GRAVITY_M_S2 * self.header_m / 1e5
        readings: Readings = {
            "station": {
                "dutyPump": f"pump-{self.duty + 1}",
                "pumpsRunning": sum(pump.running for pump in self.pumps),
                "power": round(sum(pump.power_w for pump in self.pumps) / 1000.0, 4),
            },
            "inlet-meter": self._meter(self.inflow_m3_s, self.balance.filled),
            "tank": {
                "level": round(level_m, 4),
                "volume": round(level_m * TANK_AREA_M2, 4),
                "overflowing": self.level_m >= TANK_HEIGHT_M,
            },
        }
        for number, pump in enumerate(self.pumps, start=1):
            readings[f"pump-{number}"] = self._read_pump(pump)
            readings[f"bearing-{number}"] = self._read_bearing(pump)
        readings["gauge"] = {"pressure": round(head_bar + self._random.gauss(0.0, 0.002), 4)}
        readings["valve"] = {"angle": round(self.valve_deg, 2), "commandedAngle": self.commanded_deg}
        readings["outlet-meter"] = self._meter(self.outflow_m3_s, self.balance.pumped)
        return readings

    def _meter(self, flow_m3_s: float, total_m3: float) -> dict[str, Value]:
        noise = self._random.gauss(0.0, METER_ZERO_M3_S + METER_SHARE * flow_m3_s)
        return {"flow": round((flow_m3_s + noise) * 1000.0, 3), "totalVolume": round(total_m3, 6)}

    def _read_pump(self, pump: PumpSet) -> dict[str, Value]:
        voltage_v = LINE_VOLTAGE_V + self._random.gauss(0.0, 1.2)
        return {
            "running": pump.running,
            "starts": pump.starts,
            "head": round(pump.head_m, 3),
            "motor.temperature": round(pump.motor_c + self._random.gauss(0.0, 0.03), 3),
            "motor.power": round(pump.power_w / 1000.0, 4),
            "motor.speed": round(pump.speed_rpm, 1),
            "motor.current": round(pump.current_a(voltage_v), 3),
            "motor.voltage": round(voltage_v, 2),
        }

    def _read_bearing(self, pump: PumpSet) -> dict[str, Value]:
        spread = math.exp(self._random.gauss(0.0, 0.06))
        return {
            "vibration": round(pump.vibration_g(self.level_m) * spread, 5),
            "temperature": round(pump.bearing_c + self._random.gauss(0.0, 0.03), 3),
            "frictionTorque": round(pump.friction_torque_nm, 5),
        }
