"""The bodies of requests and answers as types: for the OpenAPI page and, where used, for decoding."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from gemel.graph.jsonpatch import OPERATIONS_MAX
from gemel.graph.names import ID_PATTERN
from gemel.models.dtmi import DTMI_PATTERN

__all__ = [
    "AuditView",
    "IncomingRelationship",
    "JsonPatch",
    "KeyView",
    "Listed",
    "ModelData",
    "NewKeyBody",
    "NewKeyRequest",
    "NewKeyView",
    "NewRelationship",
    "NewTwin",
    "Paged",
    "QueryBody",
    "QueryPage",
    "QueryRequest",
    "Relationship",
    "Time",
    "TwinBody",
]

T = TypeVar("T")

Time = Annotated[str, msgspec.Meta(description="RFC 3339 with Z.", extra_json_schema={"format": "date-time"})]


class Paged(msgspec.Struct, Generic[T]):
    """A page of a list; `nextLink` gives the next, and is null on the last."""

    value: list[T]
    nextLink: str | None = None  # noqa: N815  (the name on the wire)


class Listed(msgspec.Struct, Generic[T]):
    """A list."""

    value: list[T]


class ModelData(msgspec.Struct, omit_defaults=True):
    """A model and what the service knows of it; `model` is its DTDL, as uploaded."""

    id: str
    displayName: dict[str, str]  # noqa: N815
    description: dict[str, str]
    uploadTime: Time  # noqa: N815
    decommissioned: bool
    model: dict[str, Any] | None = None


class TwinBody(msgspec.Struct):
    """A twin: `$dtId`, `$etag`, `$lifecycle`, `$metadata` (model and times), its properties and components."""

    dt_id: str = msgspec.field(name="$dtId")
    etag: str = msgspec.field(name="$etag")
    lifecycle: str = msgspec.field(name="$lifecycle")
    metadata: dict[str, Any] = msgspec.field(name="$metadata")


class ModelNamed(msgspec.Struct):
    """Names the model of a twin."""

    model: Annotated[str, msgspec.Meta(pattern=f"^{DTMI_PATTERN}$")] = msgspec.field(name="$model")


class NewTwin(msgspec.Struct):
    """A twin to be: its model, and its properties and components as the model has them."""

    metadata: ModelNamed = msgspec.field(name="$metadata")


class NewRelationship(msgspec.Struct):
    """A relationship to be, and its properties."""

    target_id: Annotated[str, msgspec.Meta(pattern=f"^{ID_PATTERN}$")] = msgspec.field(name="$targetId")
    name: str = msgspec.field(name="$relationshipName")


class Relationship(msgspec.Struct):
    """A relationship from one twin to another, and its properties."""

    relationship_id: str = msgspec.field(name="$relationshipId")
    source_id: str = msgspec.field(name="$sourceId")
    target_id: str = msgspec.field(name="$targetId")
    name: str = msgspec.field(name="$relationshipName")
    etag: str = msgspec.field(name="$etag")


class IncomingRelationship(msgspec.Struct):
    """A relationship seen from its target."""

    relationship_id: str = msgspec.field(name="$relationshipId")
    source_id: str = msgspec.field(name="$sourceId")
    name: str = msgspec.field(name="$relationshipName")
    link: str = msgspec.field(name="$relationshipLink")


Pointer = Annotated[
    str, msgspec.Meta(pattern="^(/([^/~]|~[01])*)*$", description="A JSON Pointer (RFC 6901).")
]


class AddOperation(msgspec.Struct, tag_field="op", tag="add"):
    """Set a value, or insert one into an array (RFC 6902)."""

    path: Pointer
    value: Any


class ReplaceOperation(msgspec.Struct, tag_field="op", tag="replace"):
    """Set a value that is there (RFC 6902)."""

    path: Pointer
    value: Any


class RemoveOperation(msgspec.Struct, tag_field="op", tag="remove"):
    """Take a value away (RFC 6902)."""

    path: Pointer


JsonPatch = Annotated[
    list[AddOperation | ReplaceOperation | RemoveOperation],
    msgspec.Meta(min_length=1, max_length=OPERATIONS_MAX),
]


Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class QueryRequest(msgspec.Struct, omit_defaults=True):
    """A query, or the token that continues one; the token wins. `asOf` and `knownAt`: at a moment of the past."""

    query: str | None = None
    continuationToken: str | None = None  # noqa: N815
    asOf: Moment | None = None  # noqa: N815
    knownAt: Moment | None = None  # noqa: N815


QueryBody = Annotated[
    QueryRequest,
    msgspec.Meta(
        extra_json_schema={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("query", "continuationToken")
            ]
        }
    ),
]


class QueryPage(msgspec.Struct):
    """Some rows; the token continues, and is null at the end."""

    value: list[dict[str, Any]]
    continuationToken: str | None = None  # noqa: N815


class KeyView(msgspec.Struct, rename="camel"):
    """What may be shown of a key."""

    key_id: str
    name: str
    scopes: list[Literal["read", "write", "ingest", "admin"]]
    created: Time
    revoked: Time | None


class NewKeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A key to be made: what it is for, and what it may do."""

    name: str
    scopes: list[str]


NewKeyBody = Annotated[
    NewKeyRequest,
    msgspec.Meta(
        extra_json_schema={
            "properties": {"scopes": {"items": {"enum": ["read", "write", "ingest", "admin"]}, "minItems": 1}}
        }
    ),
]


class NewKeyView(msgspec.Struct, rename="camel"):
    """A new key; `key` is the bearer token, shown only in this answer."""

    key_id: str
    key: str
    name: str
    scopes: list[Literal["read", "write", "ingest", "admin"]]


class AuditView(msgspec.Struct, rename="camel"):
    """One act or refusal: `result` is "ok" or an error code."""

    number: int
    at: Time
    tenant: str
    actor: str
    key_id: str | None
    action: str
    target: str
    result: str
    trace_id: str
