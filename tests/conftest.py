"""Fixtures for every test: see tests/support."""

pytest_plugins = ["support.postgres"]
