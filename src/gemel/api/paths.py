"""Paths of requests: ids with any character survive, a slash or a percent sign in them too.

An ASGI server gives the path decoded, where an encoded slash looks like a separator. So the raw path is split
first and its segments are decoded then; a slash or percent sign inside one stays escaped until the route has
taken its parameters.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from gemel.base.errors import InvalidError

__all__ = ["routable", "unescape"]


def routable(raw_path: bytes, path: str) -> str:
    """Return the path to route by; `path` is the server's own decoding, used where nothing was encoded.

    Raises InvalidError (InvalidArgument) for a path that is not UTF-8 or holds a NUL.
    """
    if b"%" not in raw_path:
        return path
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in raw_path.split(b"/")]
    except UnicodeDecodeError as error:
        raise InvalidError("InvalidArgument", "The path is not percent-encoded UTF-8.") from error
    if any("\0" in segment for segment in segments):
        raise InvalidError("InvalidArgument", "The path holds a NUL character.")
    return "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in segments)


def unescape(parameter: str) -> str:
    """Return a path parameter as the caller meant it."""
    return parameter.replace("%2F", "/").replace("%25", "%")
