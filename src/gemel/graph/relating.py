"""What a PUT asks of a relationship, and the rules that it must keep. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gemel.base.clock import iso_us
from gemel.base.errors import InvalidError, NotFoundError
from gemel.base.words import did_you_mean
from gemel.graph.content import Content, parse_time_us, raise_faults
from gemel.history.values import encode
from gemel.models import Relationship, TwinType, validate_value
from gemel.models.model_set import ModelSet

__all__ = [
    "HEADER",
    "VALID_FROM",
    "allowed",
    "check_properties",
    "ends_of",
    "properties_of",
    "property_faults",
    "refuse_loop",
    "start_of",
    "target_not_found",
]

VALID_FROM = "$validFrom"
HEADER = ("$relationshipId", "$sourceId", "$targetId", "$relationshipName", "$etag", VALID_FROM)


def ends_of(body: Any) -> tuple[str, str]:
    """Return the target's id and the name that a body gives. Raises InvalidError (InvalidArgument)."""
    if isinstance(body, dict):
        target_id, name = body.get("$targetId"), body.get("$relationshipName")
        if isinstance(target_id, str) and isinstance(name, str):
            return target_id, name
    message = "A relationship must be an object with $targetId and $relationshipName."
    raise InvalidError("InvalidArgument", message)


def properties_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the properties that a body gives."""
    return {key: value for key, value in body.items() if key not in HEADER}


def refuse_loop(relationship_id: str, source_id: str, target_id: str) -> None:
    """Raise InvalidError (OperationNotAllowed) for a relationship from a twin to itself."""
    if target_id == source_id:
        raise InvalidError(
            "OperationNotAllowed",
            f"The relationship {relationship_id} would lead from {source_id} to itself.",
            "Source and target must be different twins.",
        )


def target_not_found(twin_id: str) -> NotFoundError:
    """Return the error of a relationship to a twin that does not exist."""
    return NotFoundError(
        "TargetTwinNotFound",
        "The target digital twin is invalid or does not exist. Please validate that the target twin is "
        f"valid and ensure that the target twin is not deleted: {twin_id}.",
    )


def allowed(source_type: TwinType, name: str, target_model: str, models: ModelSet) -> Relationship:
    """Return the relationship of a model by its name, if it may lead to twins of another model.

    Raises InvalidError (InvalidRelationship).
    """
    relationship = source_type.relationships.get(name)
    if relationship is None:
        known = ", ".join(sorted(source_type.relationships)) or "none"
        raise InvalidError(
            "InvalidRelationship",
            f"The model {source_type.model} has no relationship named {name}.",
            did_you_mean(name, source_type.relationships) or f"It has {known}.",
        )
    if relationship.target is not None and not models.is_a(target_model, relationship.target):
        raise InvalidError(
            "InvalidRelationship",
            f"The relationship {name} leads to twins of {relationship.target}, and {target_model} is none.",
        )
    return relationship


def check_properties(properties: Any, name: str, relationship: Relationship | None) -> None:
    """Raise InvalidError (ValidationFailed) for properties that a relationship does not have.

    Raises ValueOutOfRange for text that cannot be stored.
    """
    if not properties:
        return
    content = Content()
    for fault in property_faults(properties, name, relationship):
        content.fault(fault)
    raise_faults(content, "Invalid relationship specified")
    encode(properties, "json")


def property_faults(
    properties: Mapping[str, Any], name: str, relationship: Relationship | None
) -> Iterator[str]:
    """Yield what is wrong with the properties of a relationship of this name; one without a definition has none."""
    known = relationship.properties if relationship is not None else {}
    for key, value in properties.items():
        if key not in known:
            yield f"{key} does not appear on the DTDL for relationship {name}."
            continue
        reason = validate_value(known[key].schema, value)
        if reason is not None:
            yield f"{key} on relationship {name}: {reason}"


def start_of(body: Any, stamp_us: int, twins_us: int, floor_us: int) -> int:
    """Return since when a new relationship is, of twins since `twins_us` and an id of another's till `floor_us`.

    Raises InvalidError (InvalidArgument).
    """
    start_us = parse_time_us(body[VALID_FROM])
    if start_us is None:
        raise InvalidError("InvalidArgument", "$validFrom is not an RFC 3339 time with a zone.")
    if start_us > stamp_us:
        raise InvalidError("InvalidArgument", "$validFrom is in the future.")
    if start_us < twins_us:
        message = "$validFrom is before one of the twins was there."
        raise InvalidError("InvalidArgument", message, "Move the twin's own $validFrom back first.")
    if start_us < floor_us:
        message = (
            f"$validFrom is before {iso_us(floor_us)}, when an earlier relationship of this id was deleted."
        )
        raise InvalidError("InvalidArgument", message)
    return start_us
