"""The API's own description, for machines and as a page that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gemel.api.openapi_spec import build_spec
from gemel.api.routing import JSON, RouteInfo, route

__all__ = ["HANDLERS"]

TAG = "Operation"
HTML = "text/html"
INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


@get("/openapi.json", **route(TAG, RouteInfo(None, answer={JSON: dict[str, Any]})))
async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Describe this API as OpenAPI 3.1."""
    state = request.app.state
    if "openapi" not in state:
        state["openapi"] = msgspec.json.encode(build_spec(request.app))
    return Response(state["openapi"], media_type=JSON)


@get("/", **route(TAG, RouteInfo(None, headers={"Location": "The page."}), status=302))
async def root() -> Response[None]:
    """Lead to the page that shows this API."""
    # Relative, so that it holds below a proxy's own path too.
    return Response(None, status_code=302, headers={"Location": "openapi"})


@get("/openapi", **route(TAG, RouteInfo(None, answer={HTML: str})))
async def openapi_page() -> Response[bytes]:
    """Show this API as a page, on which every route can be tried."""
    page, policy = _page()
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return Response(page, media_type=HTML, headers=headers)


@cache
def _page() -> tuple[bytes, str]:
    """Return the page, and the policy that lets its own script and style run and nothing else."""
    text = resources.files("gemel.api").joinpath("openapi_page.html").read_text("utf-8")
    hashes: dict[str, str] = {}
    for name, source in INLINE.findall(text):
        hashes[name] = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy


HANDLERS: list[HTTPRouteHandler] = [root, openapi_json, openapi_page]
