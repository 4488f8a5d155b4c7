"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from gemel.api.call import AnyRequest
from gemel.base.errors import InvalidError

__all__ = [
    "Component",
    "IfMatch",
    "IfNoneMatch",
    "Limit",
    "ModelId",
    "PageSize",
    "RelationshipId",
    "Token",
    "TwinId",
    "checked_text",
    "next_link",
]

TwinId = Annotated[str, PathParameter(description="The id of the twin.")]
RelationshipId = Annotated[str, PathParameter(description="The id of the relationship, unique on its twin.")]
Component = Annotated[str, PathParameter(description="The component, by its dotted path.")]
ModelId = Annotated[str, PathParameter(description="The id of the model: a DTMI.")]
IfMatch = Annotated[
    str | None, HeaderParameter(name="If-Match", description="Act only on this version: its etag, or `*`.")
]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="`*`: act only where there is none yet.")
]
PageSize = Annotated[
    int | None, HeaderParameter(name="max-items-per-page", description="How many items a page has at most.")
]
Token = Annotated[
    str | None, QueryParameter(name="continuationToken", description="From a `nextLink`; go on from there.")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="How many items at most.")]


TEXT_LENGTH_MAX = 1024


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
