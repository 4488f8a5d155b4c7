"""How many seeds each kind of fault is tried with, and a table of what was survived."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

SURVIVED = pytest.StashKey[dict[str, Counter[str]]]()
SEEDS = 2
"""Of each kind where nothing else is said: what every change is tested with, and of kinds that take long one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seeds", type=int, default=SEEDS, help="runs of each kind of fault")


def pytest_configure(config: pytest.Config) -> None:
    survived: dict[str, Counter[str]] = defaultdict(Counter)
    config.stash[SURVIVED] = survived


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    seeds = metafunc.config.getoption("--fault-seeds")
    for name, count in (("fault_seed", seeds), ("costly_seed", 1 if seeds == SEEDS else seeds)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, range(count))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts to the process that prints them."""
    handed = getattr(session.config, "workeroutput", None)
    if handed is not None:
        handed["survived"] = {kind: dict(counts) for kind, counts in session.config.stash[SURVIVED].items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what workers hand over."""
    for kind, counts in getattr(node, "workeroutput", {}).get("survived", {}).items():
        node.config.stash[SURVIVED][kind] += Counter(counts)


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> dict[str, Counter[str]]:
    """What runs of each kind came through, by name."""
    return request.config.stash[SURVIVED]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    kinds = config.stash[SURVIVED]
    if not kinds:
        return
    # Blows are counted by the names of their functions, which say two words.
    names = list(dict.fromkeys(name for counts in kinds.values() for name in counts if "_" not in name))
    terminalreporter.section("survived")
    terminalreporter.write_line("".join([f"{'kind':<12}", *(f"{name:>16}" for name in names)]))
    for kind, counts in kinds.items():
        terminalreporter.write_line("".join([f"{kind:<12}", *(f"{counts[name]:>16,}" for name in names)]))
    for kind, counts in kinds.items():
        blows = [
            f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(counts.items()) if "_" in name
        ]
        terminalreporter.write_line(f"{kind:<12}{', '.join(blows)}")
