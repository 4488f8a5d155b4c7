"""Fixtures for every test: see tests/support. Property-based tests repeat the same examples, but for `make explore`."""

from hypothesis import settings

pytest_plugins = ["support.kafka", "support.postgres"]

# A run that decides must not depend on luck; looking for what nobody thought of is a run of its own.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("repeatable")
