"""Types of twins that the pure tests of the graph share."""

from __future__ import annotations

import pytest

from gemel.models import ModelSet, TwinType, compile_twin_type, parse
from support.graph import MODELS, PUMP, PUMP2


@pytest.fixture(scope="session")
def models() -> ModelSet:
    return parse(MODELS)


@pytest.fixture(scope="session")
def pump(models: ModelSet) -> TwinType:
    return compile_twin_type(models, PUMP)


@pytest.fixture(scope="session")
def pump2(models: ModelSet) -> TwinType:
    return compile_twin_type(models, PUMP2)
