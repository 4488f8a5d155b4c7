"""A served platform for each test of the past that is told."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from gemel.base.settings import Settings
from support.api_site import MODELS, Site
from support.postgres import Dsns


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(database, Settings())
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def client(site: Site) -> httpx.Client:
    """A client of tenant one with every scope, whose models are there."""
    client = site.client()
    assert client.post("/models", json=MODELS).status_code == 201
    return client


@pytest.fixture(scope="module")
def other(site: Site) -> httpx.Client:
    """A client of tenant two with every scope, whose models are there."""
    other = site.client("two")
    assert other.post("/models", json=MODELS).status_code == 201
    return other
