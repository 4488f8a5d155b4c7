"""What every route declares beside its path: scope, audited action, and its bodies for the OpenAPI page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar.handlers import HTTPRouteHandler
from litestar.typing import FieldDefinition

from gemel.security.principal import Scope

__all__ = ["API_VERSIONS", "JSON", "RouteInfo", "info_of", "parameters_of", "route"]

JSON = "application/json"
API_VERSIONS = (
    "2020-10-31",
    "2021-06-30-preview",
    "2022-05-31",
    "2023-02-27-preview",
    "2023-06-30",
    "2023-10-31",
)
"""The versions of the ADT data plane that were published, all of them from the first stable one on."""
OPT = "gemel"


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A route's declaration.

    `scope` None means: open to all. `action` is set for what the audit trail keeps: writes and administrative
    calls. `body` and `answer` are types by media type. `failures` are the statuses that it may answer beside
    those that every route may. `streams`: its body is read as it comes and not held, so that it has no limit here.
    """

    scope: Scope | None
    action: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    body_example: Any = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    answer_example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[int, ...] = ()
    streams: bool = False


def route(tag: str, info: RouteInfo, *, status: int = 200) -> dict[str, Any]:
    """Return the keyword arguments of a Litestar route decorator that declare a route."""
    return {"opt": {OPT: info}, "tags": [tag], "status_code": status}


def info_of(handler: HTTPRouteHandler) -> RouteInfo | None:
    """Return what a route declared, or None for one that declared nothing."""
    info: RouteInfo | None = handler.opt.get(OPT)
    return info


def parameters_of(handler: HTTPRouteHandler) -> dict[str, FieldDefinition]:
    """Return the parameters of a route by their names in Python, those of what it depends on included."""
    provided = handler.resolve_dependencies()
    own = handler.parsed_fn_signature.parameters
    fields = {name: each for name, each in own.items() if name not in provided}
    for each in provided.values():
        fields.update(each.parsed_fn_signature.parameters)
    return fields
