"""How many seeds each kind of fault is tried with, and a table of what was survived."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

SURVIVED = pytest.StashKey[dict[str, Counter[str]]]()
SEEDS = 4
"""Of each kind where nothing else is said: what every change is tested with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seeds", type=int, default=SEEDS, help="runs of each kind of fault")


def pytest_configure(config: pytest.Config) -> None:
    survived: dict[str, Counter[str]] = defaultdict(Counter)
    config.stash[SURVIVED] = survived


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault_seed" in metafunc.fixturenames:
        metafunc.parametrize("fault_seed", range(metafunc.config.getoption("--fault-seeds")))


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> dict[str, Counter[str]]:
    """What runs of each kind came through, by name."""
    return request.config.stash[SURVIVED]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    kinds = config.stash[SURVIVED]
    if not kinds:
        return
    names = list(dict.fromkeys(name for counts in kinds.values() for name in counts))
    terminalreporter.section("survived")
    terminalreporter.write_line("".join([f"{'kind':<12}", *(f"{name:>16}" for name in names)]))
    for kind, counts in kinds.items():
        terminalreporter.write_line("".join([f"{kind:<12}", *(f"{counts[name]:>16,}" for name in names)]))
