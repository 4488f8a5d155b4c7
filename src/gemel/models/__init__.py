"""DTDL: the language of models, without input or output."""

from gemel.models.changes import Change
from gemel.models.diff import diff_models, diff_sets
from gemel.models.drawing import to_svg
from gemel.models.dtmi import Dtmi, parse_dtmi
from gemel.models.errors import ModelError, ModelParsingError
from gemel.models.graph import graph_of, to_mermaid
from gemel.models.interfaces import (
    Command,
    Component,
    Content,
    Interface,
    Payload,
    Property,
    Relationship,
    Telemetry,
)
from gemel.models.model_set import ModelSet
from gemel.models.parser import parse
from gemel.models.schemas import Array, Enum, EnumEntry, Field, Geospatial, Map, Object, Primitive, Schema
from gemel.models.search import Hit, search_models
from gemel.models.twin_type import Slot, TwinType, compile_twin_type
from gemel.models.values import validate_value

__all__ = [
    "Array",
    "Change",
    "Command",
    "Component",
    "Content",
    "Dtmi",
    "Enum",
    "EnumEntry",
    "Field",
    "Geospatial",
    "Hit",
    "Interface",
    "Map",
    "ModelError",
    "ModelParsingError",
    "ModelSet",
    "Object",
    "Payload",
    "Primitive",
    "Property",
    "Relationship",
    "Schema",
    "Slot",
    "Telemetry",
    "TwinType",
    "compile_twin_type",
    "diff_models",
    "diff_sets",
    "graph_of",
    "parse",
    "parse_dtmi",
    "search_models",
    "to_mermaid",
    "to_svg",
    "validate_value",
]
