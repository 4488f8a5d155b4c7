"""Fixtures for every test: see tests/support. Property-based tests repeat the same examples, but for `make explore`."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

pytest_plugins = ["support.kafka", "support.postgres"]

# A run that decides must not depend on luck; looking for what nobody thought of is a run of its own.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are cores: tests of brokers, kills and clocks wait for a good part of their time."""
    cores = yield
    return cores if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else cores + 1
