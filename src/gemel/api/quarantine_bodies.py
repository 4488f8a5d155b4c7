"""What is asked of quarantine over HTTP: which events, and what is to become of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec
from litestar.params import QueryParameter

from gemel.api.durations import parse_moment_us
from gemel.api.params import From, To
from gemel.base.errors import InvalidError
from gemel.graph.jsonpatch import OPERATIONS_MAX, parse_operations
from gemel.ingest.mending import as_held, patched
from gemel.ingest.replay import Wanted
from gemel.ingest.selection import Selection
from gemel.mapping.mapper import Mapper
from gemel.mapping.mending import remapped

__all__ = [
    "INT64_MAX",
    "NAMING",
    "ReplayBody",
    "SelectionBody",
    "given_selection",
]

INT64_MAX = 2**63 - 1
PAGE_MAX = 1000
MAPPING_CHARS_MAX = 256 << 10

Code = Annotated[str | None, QueryParameter(name="code", description="Only events of this error code.")]
Source = Annotated[
    str | None, QueryParameter(name="source", description="Only events that name this source.")
]
ReadFrom = Annotated[
    str | None,
    QueryParameter(
        name="readFrom",
        description="Only events that this source of ours brought, or a request under this name.",
    ),
]

NAMING = {
    "anyOf": [
        {"required": [name], "properties": {name: {"type": kind}}}
        for name, kind in (
            ("numbers", "array"),
            *((name, "string") for name in ("code", "source", "readFrom", "from", "to")),
        )
    ]
}
Number = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class _Selected(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    numbers: list[Number] | None = None
    code: str | None = None
    source: str | None = None
    read_from: str | None = None
    from_: Time | None = msgspec.field(name="from", default=None)
    to: Time | None = None

    def selection(self, after: int | None = None, upto: int | None = None) -> Selection:
        """Return which events are meant; raise InvalidError (InvalidArgument) where nothing names them."""
        if (self.numbers, self.code, self.source, self.read_from, self.from_, self.to) == (None,) * 6:
            raise InvalidError(
                "InvalidArgument", "Nothing is selected.", "Give numbers, code, source, readFrom, from or to."
            )
        given = given_selection(self.code, self.source, self.read_from, self.from_, self.to)
        return replace(given, numbers=self.numbers, after=after, upto=upto)

    def told(self) -> str:
        """Return what was asked for, as the audit trail says it."""
        return msgspec.json.encode(self).decode()


class SelectionBody(_Selected):
    """Which quarantined events: by number, code, source, what brought them, and time of receipt; all must hold."""


class ReplayBody(_Selected):
    """Which events to offer again, and how.

    `patch` is a JSON Patch that is applied to each before. With `mapping`, messages that did not fit their mapping or
    broke their contract go through that one: the name of a stored mapping, of its version `mappingVersion` or the
    newest, or with `mappingText` a mapping as text, whose file's name it is. `dryRun` only says what would become of
    each; with `models`, as if the twins of some models had others, by model id. `limit` is how many events at most,
    and `after` and `upto` bound their numbers, so that a long replay is done in pages: `next` says where to go on.
    """

    patch: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=OPERATIONS_MAX)] | None = (
        None
    )
    mapping: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    mapping_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    mapping_text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAPPING_CHARS_MAX)] | None = None
    dry_run: bool = False
    models: dict[str, str] | None = None
    after: Number | None = None
    upto: Number | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] | None = None

    def told(self) -> str:
        """Return what was asked for, without the text of the mapping."""
        return msgspec.json.encode(msgspec.structs.replace(self, mapping_text=None)).decode()

    def wanted(self, mapper: Mapper | None) -> Wanted:
        """Return what is wanted; raise InvalidError (InvalidArgument, JsonPatchInvalid, LimitExceeded)."""
        if (self.mapping_text or self.mapping_version) and self.mapping is None:
            raise InvalidError(
                "InvalidArgument", "mappingText and mappingVersion are of mapping.", "Give its name."
            )
        if mapper is not None and self.patch is not None:
            raise InvalidError("InvalidArgument", "patch and mapping are both given.", "Give one of them.")
        if self.models and not self.dry_run:
            raise InvalidError(
                "InvalidArgument",
                "models is for a dry run alone.",
                "Upgrade the twins with POST /v1/models/upgrade, then replay.",
            )
        mend = as_held if self.patch is None else patched(parse_operations(self.patch))
        if mapper is not None:
            mend = remapped(mapper)
        # A dry run answers for each event, so it has a limit also where none is given.
        limit = PAGE_MAX if self.limit is None and self.dry_run else self.limit
        chosen = self.selection(self.after, self.upto)
        label = None if mapper is None else mapper.mapping.label
        return Wanted(chosen, mend, limit, self.dry_run, self.models or {}, label)


def given_selection(
    code: Code = None, source: Source = None, read_from: ReadFrom = None, from_: From = None, to: To = None
) -> Selection:
    """Return a selection as parameters name it; raise InvalidError (InvalidArgument)."""
    return Selection(
        code=code,
        source=source,
        read_from=read_from,
        from_us=None if from_ is None else parse_moment_us("from", from_),
        to_us=None if to is None else parse_moment_us("to", to),
    )
