"""What a change or an answer depends on: If-Match and If-None-Match, the same on every route that they fit."""

from __future__ import annotations

from typing import Annotated, Any, cast

from litestar import Response
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter
from litestar.types import HTTPScope

from gemel.api.bodies import json_answer
from gemel.base.errors import InvalidError
from gemel.graph.etag import Conditions, is_known
from gemel.history.moment import LIVE, Moment

__all__ = ["CONDITIONS", "READER", "refuse_conditions", "tagged_answer"]

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


HeldTags = Annotated[
    str | None,
    HeaderParameter(
        name="If-None-Match",
        description="The etags of what you have, or `*`: what is still so is answered with 304, without a body.",
        schema_extra={"pattern": ETAGS},
    ),
]


def given_held(if_none_match: HeldTags = None) -> str | None:
    """Return the If-None-Match header of who reads."""
    return if_none_match


READER = {"held": Provide(given_held, sync_to_thread=False)}
"""What a route that reads a thing with an etag declares among its dependencies, for `tagged_answer`."""


def tagged_answer(body: Any, etag: str, held: str | None, moment: Moment) -> Response[bytes]:
    """Return an answer with its etag; 304 without a body where the reader holds it (RFC 9110, 13.1.2).

    What was so at a moment is always answered whole: a deletion of samples may change it and leave its etag.
    Raises InvalidError (InvalidArgument) for an If-None-Match header that is none.
    """
    if is_known(held, etag) and moment == LIVE:
        return Response(b"", status_code=304, headers={"ETag": etag})
    return json_answer(body, headers={"ETag": etag})


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
