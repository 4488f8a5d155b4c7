"""The demo: a simulated pumping station, the pump rig's assets, a live view and the paced replay of files."""
