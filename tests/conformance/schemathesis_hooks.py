"""What schemathesis is told of this API beyond its description: one serializer, and which refusals are right.

A description says what is well formed. Whether a twin follows its model, a query its grammar, a patch its
document, or a token an earlier page, is decided by what is stored, and such a request is refused with 400 or 412
rightly. So 400 and 412 are among the statuses that schemathesis expects of well-formed requests, and the check
below holds each of them to the codes that its operation may refuse them with. No check is left out.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import schemathesis

EVERY = {"BodyMalformed"}  # a NUL in a text, which no schema of a whole body can forbid
PATCH = {"JsonPatchInvalid", "ValidationFailed", "LimitExceeded", "PreconditionFailed"}
# Parameters whose value may be well formed and yet of no page, in the future, or the wrong way round.
JUDGED = {"continuationToken", "after", "asOf", "knownAt", "from", "to"}
REFUSALS: dict[str, set[str]] = {
    "add_models": {"DTDLParserError", "InvalidArgument"},
    "update_model": PATCH,
    "put_twin": {"ValidationFailed", "ModelDecommissioned", "PreconditionFailed", "InvalidArgument"},
    "patch_twin": PATCH,
    "patch_component": PATCH,
    "delete_twin": {"RelationshipsNotDeleted", "PreconditionFailed"},
    "put_relationship": {
        "ValidationFailed", "InvalidRelationship", "OperationNotAllowed", "PreconditionFailed", "InvalidArgument",
    },
    "patch_relationship": PATCH,
    "delete_relationship": {"PreconditionFailed"},
    "replay_dead_letters": {"InvalidArgument"},
    "discard_dead_letters": {"InvalidArgument"},
    "send_telemetry": {"ValidationFailed", "InvalidArgument"},
    "send_component_telemetry": {"ValidationFailed", "InvalidArgument"},
    "query_twins": {"SqlQueryError", "BadRequest", "InvalidArgument"},  # also a moment in the future
    "ingest": {"MissingArgument", "InvalidArgument", "ValidationFailed"},  # headers that go together
    "put_mapping": {"MappingInvalid", "InvalidArgument", "LimitExceeded"},  # a schema cannot say what YAML holds
    "push": {"MissingArgument", "InvalidArgument"},  # as ingest
    "describe_source": {"SourceInvalid", "SourceNotAllowed", "MappingInvalid", "InvalidArgument", "LimitExceeded"},
    "try_source": {"SourceInvalid", "SourceNotAllowed", "MappingInvalid", "InvalidArgument", "LimitExceeded"},
    "cost": {"InvalidArgument"},  # a width of buckets, as history has it
    "history": {"MissingArgument", "InvalidArgument", "PathNotInModel"},  # parameters that need each other
    "put_event_route": {"EventRouteEndpointInvalid", "EventRouteFilterInvalid", "EventRouteIdInvalid"},
    "put_endpoint": {"InvalidArgument", "EventRouteEndpointInvalid", "LimitExceeded", "OutboundRefused"},
    "changes": {"InvalidArgument", "ChangesGone"},  # the id of no change
    "discard": {"InvalidArgument"},  # a number written as 4400.0, which JSON Schema calls whole
    "replay": {"InvalidArgument", "JsonPatchInvalid", "ValidationFailed", "ModelDecommissioned"},
    "set_expiry": {"InvalidArgument"},
    "delete_range": {"InvalidArgument", "PathNotInModel"},
    "replace_range": {"InvalidArgument", "PathNotInModel", "ValidationFailed"},
    "explain_values": {"PathNotInModel"},
    "timeline": {"PathNotInModel"},
    "add_import": {"ValidationFailed", "JobLimitReached", "InvalidArgument"},
    "upload_import": {"ValidationFailed", "JobLimitReached", "InvalidArgument"},
    "cancel_import": {"ValidationFailed"},
    "delete_import": {"ValidationFailed"},
    "add_deletion": {"ValidationFailed", "JobLimitReached", "InvalidArgument"},
    "diff": {"MissingArgument"},  # a depth without a twin
    "create_key": {"InvalidArgument"},
    "upgrade_models": {"InvalidArgument", "ValidationFailed"},
    "deprecate_model": {"InvalidArgument"},
    "put_lifecycle": {"InvalidArgument", "PreconditionFailed"},
    "post_index": {"InvalidArgument", "PathNotInModel"},
}  # fmt: skip


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    """Return a body of lines as bytes."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


@schemathesis.hook
def filter_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """Leave out ids with a percent sign: what follows it may be taken for an escape on the way out."""
    return not any("%" in unquote(str(value)) for value in (path_parameters or {}).values())


@schemathesis.check
def refusals_have_a_reason(_context: Any, response: Any, case: Any) -> None:
    """Hold a well-formed request that is refused to the codes that its operation may refuse it with."""
    if (
        response.status_code not in (400, 412)
        or case.meta is None
        or not case.meta.generation.mode.is_positive
    ):
        return
    described = case.operation.definition.raw
    given_by_place = {"path": case.path_parameters or {}, "header": case.headers or {}}
    if not all(_follows(each, given_by_place) for each in described.get("parameters", ())):
        return  # schemathesis now and then takes for well formed what the pattern of an id or etag rules out
    operation = described["operationId"]
    code = response.json()["error"]["code"]
    given = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
    # A NUL is not taken in any parameter.
    unheld = JUDGED & set(given) or "%00" in response.request.url
    judged = {"InvalidArgument"} if unheld else set()
    allowed = REFUSALS.get(operation, set()) | EVERY | judged
    assert code in allowed, f"{operation} refused a well-formed request: {code}"


def _follows(described: dict[str, Any], given_by_place: dict[str, Any]) -> bool:
    value = given_by_place.get(described["in"], {}).get(described["name"])
    pattern = described["schema"].get("pattern")
    if value is None or pattern is None:
        return True
    text = unquote(str(value)) if described["in"] == "path" else str(value)
    return re.fullmatch(pattern.removesuffix("$"), text) is not None
