"""Simulators, scenarios, studies and runs; its first modules come with the simulation work."""
