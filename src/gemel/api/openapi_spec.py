"""The OpenAPI 3.1 description of an application, made from what its routes declare and from their signatures."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

import msgspec
from litestar import Litestar
from litestar.enums import ParamType
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from gemel import __version__
from gemel.api.conditions import READER
from gemel.api.failures import FailureBody
from gemel.api.routing import API_VERSIONS, JSON, RouteInfo, info_of, parameters_of

__all__ = ["build_spec"]

REF = "#/components/schemas/{name}"
FAILURES = {
    400: "The request is wrong; the code and message say where.",
    401: "No bearer token, or one that does not hold.",
    403: "The key lacks the scope that this route needs.",
    404: "There is no such thing for this tenant.",
    409: "It clashes with what is there.",
    412: "The If-Match or If-None-Match condition does not hold.",
    413: "The body is over the size limit.",
    415: "The content type is not taken here.",
    429: "Too much at once; nothing of it was kept. Try again after Retry-After.",
    500: "A defect of ours; the log has it under the trace id.",
    503: "The database is not ready. Try again after Retry-After.",
}
DESCRIPTION = """\
A digital twin platform: the Azure Digital Twins data plane at the root, and events, history, changes, quarantine
and keys under /v1. Send `Authorization: Bearer KEY`; every route names the scope that its key needs.
"""
NOT_MODIFIED = {
    "description": "It is as the etag that was sent has it.",
    "headers": {"ETag": {"description": "Its etag.", "schema": {"type": "string"}}},
}
API_VERSION = {
    "name": "api-version",
    "in": "query",
    "required": False,
    "description": "For clients of the service that this replaces, which published these; all are served alike.",
    "schema": {"type": "string", "enum": list(API_VERSIONS)},
    "example": "2023-10-31",
}
CONSTRAINTS = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength"}
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


class _Schemas:
    """Collects the named types of a description."""

    def __init__(self) -> None:
        self._kinds: list[Any] = []

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type, by reference where it has a name."""
        if kind is bytes:
            return {"type": "string", "format": "binary"}
        self._kinds.append(kind)
        (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
        return dict(schema)

    def components(self) -> dict[str, Any]:
        """Return the schemas that references point to, by name."""
        _, components = msgspec.json.schema_components(self._kinds, ref_template=REF)
        return dict(sorted(components.items()))


def build_spec(app: Litestar) -> dict[str, Any]:
    """Return the description of every route that declares itself, JSON-like and in a fixed order."""
    schemas = _Schemas()
    failure = schemas.of(FailureBody)
    paths: dict[str, dict[str, Any]] = {}
    for route, handler, info in sorted(_routes(app), key=lambda each: (each[0].path_format, each[0].path)):
        method = next(iter(handler.http_methods))
        paths.setdefault(route.path_format, {})[method.lower()] = _operation(route, handler, info, schemas)
    tags = sorted({tag for path in paths.values() for each in path.values() for tag in each["tags"]})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gemel",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "responses": {str(status): _failure(status, failure) for status in FAILURES},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "gk_…"}},
        },
    }


def _routes(app: Litestar) -> Iterator[tuple[HTTPRoute, HTTPRouteHandler, RouteInfo]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                info = info_of(handler)
                if info is not None:
                    yield route, handler, info


def _operation(
    route: HTTPRoute, handler: HTTPRouteHandler, info: RouteInfo, schemas: _Schemas
) -> dict[str, Any]:
    summary, _, more = (handler.fn.__doc__ or "").strip().partition("\n\n")
    method = next(iter(handler.http_methods))
    operation: dict[str, Any] = {
        "operationId": handler.fn.__name__,
        "tags": list(handler.tags or []),
        "summary": " ".join(summary.split()),
        "description": " ".join([*more.split(), *_scope_text(info)]),
        "security": [] if info.scope is None else [{"bearer": [str(info.scope)]}],
        "parameters": _parameters(route, handler, info, schemas),
        "responses": _responses(
            handler.status_code, info, takes_body=method in BODY_METHODS, schemas=schemas
        ),
    }
    if info.scope is not None:
        operation["x-gemel-scope"] = str(info.scope)
    if READER.keys() <= handler.resolve_dependencies().keys():
        operation["responses"]["304"] = NOT_MODIFIED
    if info.body:
        operation["requestBody"] = {
            "required": True,
            "content": _content(info.body, info.body_example, schemas),
        }
    return operation


def _scope_text(info: RouteInfo) -> list[str]:
    scope = "Open to all." if info.scope is None else f"Needs the scope `{info.scope}`."
    return [scope, *([f"Audited as `{info.action}`."] if info.action else [])]


def _responses(status: int, info: RouteInfo, *, takes_body: bool, schemas: _Schemas) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if info.headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in info.headers.items()
        }
    if info.answer:
        success["content"] = _content(info.answer, info.answer_example, schemas)
    failures = {500, *info.failures}
    if info.scope is not None:
        failures |= {400, 401, 403, 503}
    if takes_body:
        failures |= {413, 415, 429}
    refs = {str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(failures)}
    return {str(status): success, **refs}


def _content(kinds: Mapping[str, Any], example: Any, schemas: _Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for media_type, kind in kinds.items():
        entry: dict[str, Any] = {"schema": schemas.of(kind)}
        if example is not None:
            shown = _as_kind(example, kind)
            if shown is not None:
                entry["example"] = shown
        content[media_type] = entry
    return content


def _as_kind(example: Any, kind: Any) -> Any:
    """Return the example in the form that a type takes: an array, or lines of text, of the one that is given."""
    if kind is bytes:
        return None
    if get_origin(kind) is list and not isinstance(example, list):
        return [example]
    if kind is str and not isinstance(example, str):
        return msgspec.json.encode(example).decode()
    return example


def _parameters(
    route: HTTPRoute, handler: HTTPRouteHandler, info: RouteInfo, schemas: _Schemas
) -> list[dict[str, Any]]:
    found = [
        _parameter(name, field, route, schemas)
        for name, field in parameters_of(handler).items()
        if isinstance(field.kwarg_definition, ParameterKwarg)
    ]
    if info.scope is not None and not route.path.startswith(("/v1/", "/metrics")):
        found.append(API_VERSION)
    return found


def _parameter(name: str, field: FieldDefinition, route: HTTPRoute, schemas: _Schemas) -> dict[str, Any]:
    kwarg = field.kwarg_definition
    if not isinstance(kwarg, ParameterKwarg):
        raise TypeError(f"{route.path}: {name} is not a parameter.")
    schema = schemas.of(_without_none(field.annotation))
    schema |= {
        told: getattr(kwarg, name) for name, told in CONSTRAINTS.items() if getattr(kwarg, name) is not None
    }
    schema |= kwarg.schema_extra or {}
    if field.has_default and field.default is not None:
        schema["default"] = field.default
    in_path = kwarg.param_type is ParamType.PATH
    return {
        "name": name if in_path else kwarg.name or name,
        "in": kwarg.param_type.value,
        "required": in_path or not field.has_default,
        "description": kwarg.description or "",
        "schema": schema,
    }


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        rest = [each for each in get_args(kind) if each is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _failure(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = {
        "x-ms-error-code": {"description": "The code of the body.", "schema": {"type": "string"}}
    }
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    return {
        "description": FAILURES[status],
        "headers": headers,
        "content": {JSON: {"schema": schema}},
    }
