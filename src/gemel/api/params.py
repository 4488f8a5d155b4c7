"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from gemel.api.call import AnyRequest
from gemel.base.errors import InvalidError
from gemel.graph.names import ID_PATTERN
from gemel.models.dtmi import DTMI_PATTERN

__all__ = [
    "ID_SCHEMA",
    "MODEL_ID_SCHEMA",
    "MOMENT_SCHEMA",
    "TEXT_SCHEMA",
    "Component",
    "From",
    "Limit",
    "ModelId",
    "PageSize",
    "RelationshipId",
    "To",
    "Token",
    "TwinId",
    "checked_text",
    "next_link",
]

ID_SCHEMA = {"pattern": f"^{ID_PATTERN}$"}
MODEL_ID_SCHEMA = {"pattern": f"^{DTMI_PATTERN}$"}
MOMENT_SCHEMA = {"format": "date-time"}

TwinId = Annotated[str, PathParameter(description="The id of the twin.", schema_extra=ID_SCHEMA)]
RelationshipId = Annotated[
    str, PathParameter(description="The id of the relationship, unique on its twin.", schema_extra=ID_SCHEMA)
]
Component = Annotated[str, PathParameter(description="The component, by its dotted path.")]
ModelId = Annotated[
    str, PathParameter(description="The id of the model: a DTMI.", schema_extra=MODEL_ID_SCHEMA)
]
PageSize = Annotated[
    int | None,
    HeaderParameter(
        name="max-items-per-page",
        description="How many items a page has at most.",
        schema_extra={"minimum": 1},
    ),
]
Token = Annotated[
    str | None, QueryParameter(name="continuationToken", description="From a `nextLink`; go on from there.")
]
From = Annotated[
    str | None,
    QueryParameter(name="from", description="Since then: RFC 3339.", schema_extra=MOMENT_SCHEMA),
]
To = Annotated[
    str | None,
    QueryParameter(name="to", description="Up to then, exclusive: RFC 3339.", schema_extra=MOMENT_SCHEMA),
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="How many items at most.")]


TEXT_LENGTH_MAX = 1024
TEXT_SCHEMA = {"minLength": 1, "maxLength": TEXT_LENGTH_MAX}


def checked_text(name: str, value: str) -> str:
    """Return a header's text; raise InvalidError (InvalidArgument) unless it is printable and not endless."""
    if not 0 < len(value) <= TEXT_LENGTH_MAX or not value.isprintable():
        raise InvalidError(
            "InvalidArgument", f"{name} must have 1 to {TEXT_LENGTH_MAX} printable characters."
        )
    return value


def next_link(request: AnyRequest, token: str | None) -> str | None:
    """Return the link to the next page: this request's own path and query with another token."""
    if token is None:
        return None
    query = request.scope["query_string"].decode("latin-1")
    kept = [
        (name, value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name != "continuationToken"
    ]
    return f"{request.scope['raw_path'].decode('latin-1')}?{urlencode([*kept, ('continuationToken', token)])}"
