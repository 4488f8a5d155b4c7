"""What a query string may say: parameters that a route would pass over, or take for something else, are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast
from urllib.parse import parse_qsl

from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.types import HTTPScope

from gemel.api.routing import API_VERSIONS, parameters_of
from gemel.base.errors import InvalidError

__all__ = ["check_query", "refuse_null"]

API_VERSION = "api-version"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
MOMENT = ("asOf", "knownAt")
NAME_LENGTH_MAX = 60


def check_query(scope: HTTPScope) -> None:
    """Refuse what a request's query string says and its route would not heed.

    That is another spelling of what is meant, such as `as_of`; a moment where there is no past to be read or a write;
    under `/v1/` any parameter that the route does not have (the data plane's clients may send more than it takes);
    a version that is not served. Raises InvalidError (InvalidArgument).
    """
    query = scope["query_string"]
    if b"%00" in query:
        raise InvalidError("InvalidArgument", "A query parameter holds a NUL character.")
    known = _names(cast("HTTPRouteHandler", scope["route_handler"]))
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    is_own = scope["path"].startswith("/v1/")
    for name, value in given:
        if name not in known.values():
            _check_name(name, known, is_own=is_own, writes=scope["method"] not in READING)
        if name == API_VERSION and value not in API_VERSIONS:
            raise InvalidError(
                "InvalidArgument",
                f"The api-version {value[:40]!r} is not served.",
                f"Use {', '.join(API_VERSIONS[:-1])} or {API_VERSIONS[-1]}, or leave it out.",
            )


def _check_name(name: str, known: Mapping[str, str], *, is_own: bool, writes: bool) -> None:
    said, folded = name[:NAME_LENGTH_MAX], _folded(name)
    if folded in known:
        raise InvalidError(
            "InvalidArgument", f"There is no parameter {said!r} here.", f"Write it {known[folded]}."
        )
    moment = next((each for each in MOMENT if _folded(each) == folded), None)
    if moment is not None and writes:
        raise InvalidError(
            "InvalidArgument",
            f"{moment}: the past can be read, and not written.",
            "Leave it out. A value of the past is sent with its time, a twin or lifecycle with its validFrom.",
        )
    if moment == "asOf" and "from" in known:
        raise InvalidError(
            "InvalidArgument", "asOf: this route tells of a window of time.", "Name it by from and to."
        )
    if moment is not None:
        raise InvalidError(
            "InvalidArgument",
            f"{moment}: this route cannot be asked of a moment.",
            "Leave it out for the present.",
        )
    if is_own:
        names: Sequence[str] = sorted(set(known.values()) - {API_VERSION})
        takes = f"It takes {', '.join(names)}." if names else "It takes none."
        raise InvalidError("InvalidArgument", f"There is no parameter {said!r} here.", takes)


@lru_cache(maxsize=1024)
def _names(handler: HTTPRouteHandler) -> Mapping[str, str]:
    """Return the names of a route's parameters in its query string, by how they are spelt at the least."""
    fields = (field.kwarg_definition for field in parameters_of(handler).values())
    names = [each.name for each in fields if isinstance(each, QueryParameter) and each.name]
    return {_folded(name): name for name in (*names, API_VERSION)}


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").strip()


def refuse_null(scope: HTTPScope) -> None:
    """Refuse the text `null` for a parameter that is not text, which the router would take for its absence.

    Raises InvalidError (InvalidArgument).
    """
    given = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
    if b"null" in scope["query_string"].lower():
        given += parse_qsl(scope["query_string"].decode("latin-1"))
    nulls = {name.lower() for name, value in given if value.lower() == "null"}
    if not nulls:
        return
    handler = cast("HTTPRouteHandler", scope["route_handler"])
    for name, field in parameters_of(handler).items():
        told = getattr(field.kwarg_definition, "name", None) or name
        if told.lower() in nulls and any(
            inner.annotation in (int, float, bool) for inner in field.inner_types
        ):
            raise InvalidError("InvalidArgument", f"{told}: null is not a value.", "Leave it out.")
