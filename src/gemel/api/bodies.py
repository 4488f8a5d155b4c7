"""JSON in and out, with one error for every way in which a body is malformed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from litestar import Response

from gemel.api.call import AnyRequest
from gemel.api.routing import JSON
from gemel.base.errors import InvalidError

__all__ = ["decode", "empty_answer", "json_answer", "read_json"]

T = TypeVar("T")

# A NUL that is escaped, and not a backslash that is escaped before "u0000": PostgreSQL has no NUL in text.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
JSON_TYPES = re.compile(r"application/([\w.-]+\+)?json", re.ASCII | re.IGNORECASE)


def decode(body: bytes, kind: type[T] | Any = Any) -> Any:
    """Return a JSON body as a type.

    Raises InvalidError: BodyMalformed where it is not JSON in UTF-8, is nested too deeply or holds a NUL,
    InvalidArgument where it is JSON of another shape.
    """
    if b"\\u0000" in body and NUL.search(body):
        raise InvalidError("BodyMalformed", "The body holds a NUL character, which no text here may have.")
    try:
        # First as what it is, so that what a type passes over is looked at, too.
        found = msgspec.json.decode(body)
        return found if kind is Any else msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise InvalidError("InvalidArgument", f"The body is not as this route wants it: {error}.") from error
    except msgspec.DecodeError as error:
        raise InvalidError("BodyMalformed", f"The body is not JSON: {error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidError("BodyMalformed", f"The body is not UTF-8 at byte {error.start}.") from error
    except RecursionError as error:
        raise InvalidError("BodyMalformed", "The body is nested too deeply.") from error


async def read_json(request: AnyRequest, kind: type[T] | Any = Any) -> Any:
    """Return the JSON body of a request as a type; raise as `decode` does.

    Also raises InvalidError (MediaTypeUnsupported) for a content type that is not JSON.
    """
    given = request.headers.get("content-type", JSON).partition(";")[0].strip()
    if not JSON_TYPES.fullmatch(given):
        raise InvalidError(
            "MediaTypeUnsupported", f"Content type {given[:80]!r} is not taken here.", f"Send {JSON}."
        )
    return decode(await request.body(), kind)


def json_answer(value: Any, *, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Return an answer with a JSON body and the status that the route declares."""
    return Response(msgspec.json.encode(value), headers=headers, media_type=JSON)


def empty_answer(headers: Mapping[str, str] | None = None) -> Response[None]:
    """Return an answer of status 204, without a body."""
    return Response(None, status_code=204, headers=headers)
