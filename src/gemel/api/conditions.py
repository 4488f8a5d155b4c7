"""What a change depends on: the headers If-Match and If-None-Match, the same on every route that they fit."""

from __future__ import annotations

from typing import Annotated, cast

from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter
from litestar.types import HTTPScope

from gemel.base.errors import InvalidError
from gemel.graph.etag import Conditions

__all__ = ["CONDITIONS", "refuse_conditions"]

ETAGS = r'^(\*|(W/)?"[^"]*"( *, *(W/)?"[^"]*")*)$'

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="Act only on this version: its etag, or `*` for whichever is there.",
        schema_extra={"pattern": ETAGS},
    ),
]
IfNoneMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-None-Match",
        description="`*`: act only where there is none yet.",
        schema_extra={"enum": ["*"]},
    ),
]


def given_conditions(if_match: IfMatch = None, if_none_match: IfNoneMatch = None) -> Conditions:
    """Return the conditions that a request's headers name; without any, none."""
    return Conditions(if_match, if_none_match)


NAMES = frozenset({b"if-match", b"if-none-match"})

CONDITIONS = {"conditions": Provide(given_conditions, sync_to_thread=False)}
"""What a route that changes a thing with an etag declares as its dependencies, to be given the conditions."""


def refuse_conditions(scope: HTTPScope) -> None:
    """Refuse a change under a condition of what has no entity tag: it would be passed over.

    Raises InvalidError (InvalidArgument).
    """
    named = {name for name, _ in scope["headers"]} & NAMES
    if not named or scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return
    handler = cast("HTTPRouteHandler", scope["route_handler"])
    if CONDITIONS.keys() <= handler.resolve_dependencies().keys():
        return
    raise InvalidError(
        "InvalidArgument",
        f"{b' and '.join(sorted(named)).decode()}: what is written here has no entity tag to be compared with.",
        "Leave it out.",
    )
