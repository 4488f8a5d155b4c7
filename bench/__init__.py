"""Benchmarks: `python -m bench` prints the figures as a table and writes bench.json."""
