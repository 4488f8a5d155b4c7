"""The Azure Digital Twins Python client, as it is published, against a server: its synchronous and its aio form."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core import DigitalTwinsClient
from azure.digitaltwins.core.aio import DigitalTwinsClient as AsyncDigitalTwinsClient

from gemel.security.certificate import own_files
from support.command_line import Site

__all__ = [
    "BODY",
    "CONTEXT",
    "FORMS",
    "MODELS",
    "PUMP",
    "TANK",
    "Caller",
    "calling",
    "public_methods",
]

CONTEXT = "dtmi:dtdl:context;2"
BODY, PUMP, TANK = "dtmi:clients:Body;1", "dtmi:clients:Pump;1", "dtmi:clients:Tank;1"
MODELS: list[dict[str, Any]] = [
    {
        "@context": CONTEXT,
        "@id": BODY,
        "@type": "Interface",
        "contents": [{"@type": "Property", "name": "weight", "schema": "double"}],
    },
    {
        "@context": CONTEXT,
        "@id": PUMP,
        "@type": "Interface",
        "displayName": {"en": "Pump"},
        "extends": BODY,
        "contents": [
            {"@type": "Property", "name": "label", "schema": "string"},
            {"@type": "Telemetry", "name": "flow", "schema": "double"},
            {"@type": "Component", "name": "body", "schema": BODY},
            {"@type": "Component", "name": "tank", "schema": TANK},
            {
                "@type": "Relationship",
                "name": "feeds",
                "properties": [{"@type": "Property", "name": "length", "schema": "double"}],
            },
        ],
    },
    {
        "@context": CONTEXT,
        "@id": TANK,
        "@type": "Interface",
        "contents": [
            {"@type": "Property", "name": "volume", "schema": "double"},
            {"@type": "Telemetry", "name": "level", "schema": "double"},
        ],
    },
]
FORMS = {"sync": DigitalTwinsClient, "aio": AsyncDigitalTwinsClient}


def public_methods(form: str) -> list[str]:
    """Return the names of what a form of the client offers."""
    members = inspect.getmembers(FORMS[form], callable)
    return [name for name, _ in members if not name.startswith("_")]


class KeyPolicy(SansIOHTTPPolicy[Any, Any]):
    """Sends the key by whatever scheme the URL has; the client's own policy refuses http."""

    def __init__(self, key: str) -> None:
        self._key = key

    def on_request(self, request: Any) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {self._key}"


class KeyCredential:
    """A credential whose token is the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._key, int(time.time()) + 3600)


class AsyncKeyCredential(KeyCredential):
    """The same for aio."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
        return super().get_token(*scopes, **options)


class Caller:
    """Calls methods of a client by name, of either form alike, and keeps which. Lists come whole."""

    def __init__(self, client: Any, runner: asyncio.Runner | None) -> None:
        self.client = client
        self.called: set[str] = set()
        self._runner = runner

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return the answer of a method."""
        self.called.add(method)
        return self.finish(getattr(self.client, method)(*arguments, **options))

    def pages(self, method: str, *arguments: Any, **options: Any) -> list[list[Any]]:
        """Return the items of a list, page by page."""
        self.called.add(method)
        by_page = getattr(self.client, method)(*arguments, **options).by_page()
        if self._runner is None:
            return [list(page) for page in by_page]
        return self._runner.run(_gather_pages(by_page))

    def finish(self, answer: Any) -> Any:
        """Return what an answer of a client comes to: awaited, or gathered from its pages."""
        if self._runner is not None and inspect.isawaitable(answer):
            return self._runner.run(_awaited(answer))
        if self._runner is not None and hasattr(answer, "__aiter__"):
            return self._runner.run(_gather(answer))
        return list(answer) if hasattr(answer, "by_page") else answer


@contextmanager
def calling(form: str, site: Site, key: str = "", **options: Any) -> Iterator[Caller]:
    """Open a client of a site in a form; over https with a credential, over http with a policy.

    `key` is that of the tenant `default` where it is not given; `options` are the client's.
    """
    key = key or (site.data / "default.key").read_text().strip()
    made = {**_access(form, site, key), **options}
    runner = asyncio.Runner() if form == "aio" else None
    client = FORMS[form](site.url, **made)
    try:
        yield Caller(client, runner)
    finally:
        if runner is None:
            client._client.close()
        else:
            runner.run(client.close())
            runner.close()


def _access(form: str, site: Site, key: str) -> dict[str, Any]:
    credential = AsyncKeyCredential(key) if form == "aio" else KeyCredential(key)
    if site.url.startswith("https:"):
        return {"credential": credential, "connection_verify": str(own_files(site.data).certificate)}
    return {"credential": credential, "authentication_policy": KeyPolicy(key)}


async def _awaited(answer: Any) -> Any:
    return await answer


async def _gather(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def _gather_pages(pages: AsyncIterator[AsyncIterator[Any]]) -> list[list[Any]]:
    return [[item async for item in page] async for page in pages]
