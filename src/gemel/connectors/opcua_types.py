"""Data types of an OPC UA server: what they are called, and how their structures are taken apart.

Source: OPC 10000-3, 8.48 (StructureDefinition).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asyncua import ua

from gemel.connectors.opcua_link import Link
from gemel.connectors.opcua_tree import attributes, browse
from gemel.connectors.opcua_values import Structure, StructureField, Structures

__all__ = ["Types", "read_types"]

BUILTIN_MAX: Final = 25
STRUCTURE: Final = 22
VARIANT: Final = 24
INT32: Final = 6
ABSTRACT_NUMBERS: Final = (26, 27, 28)
ENUMERATION: Final = 29
TYPES_MAX: Final = 2000


class Types:
    """What was read of data types: the built-in type that each is at bottom, names, and definitions."""

    def __init__(self) -> None:
        self.names: dict[ua.NodeId, str] = {}
        self.bottoms: dict[ua.NodeId, int] = {}
        self.by_type: dict[ua.NodeId, Structure] = {}
        self.of_encoding: dict[ua.NodeId, ua.NodeId] = {}

    @property
    def structures(self) -> Structures:
        """Return what it takes to read values of structures."""
        return Structures(self.by_type, self.of_encoding)


async def read_types(link: Link, data_types: Iterable[ua.NodeId]) -> Types:
    """Read data types and all that their fields need. Raises as Link's methods do."""
    types = Types()
    pending = set(data_types)
    while pending and len(types.bottoms) < TYPES_MAX:
        await _read_bottoms(link, types, pending)
        structures = [each for each in pending if types.bottoms[each] == STRUCTURE]
        definitions = await attributes(link, structures, ua.AttributeIds.DataTypeDefinition)
        needed: set[ua.NodeId] = set()
        known = {}
        for data_type, definition in zip(structures, definitions, strict=True):
            if isinstance(definition, ua.StructureDefinition) and definition.Fields:
                known[data_type] = definition
                needed.update(field.DataType for field in definition.Fields)
        pending = needed - types.bottoms.keys()
        await _read_bottoms(link, types, pending)
        for data_type, definition in known.items():
            types.by_type[data_type] = _structure(definition, types)
            types.of_encoding[definition.DefaultEncodingId] = data_type
    return types


async def _read_bottoms(link: Link, types: Types, wanted: set[ua.NodeId]) -> None:
    """Find the built-in type that each type is derived from, and its name."""
    level = {each: each for each in wanted if each not in types.bottoms}
    fresh = list(level)
    for data_type, title in zip(
        fresh, await attributes(link, fresh, ua.AttributeIds.BrowseName), strict=True
    ):
        types.names[data_type] = (title and title.Name) or data_type.to_string()
    for _ in range(20):
        for data_type, above in list(level.items()):
            bottom = _bottom(above)
            if bottom is not None:
                types.bottoms[data_type] = bottom
                del level[data_type]
        if not level:
            return
        asked = list(level)
        answers = await browse(link, [level[each] for each in asked], ua.ObjectIds.HasSubtype, inverse=True)
        for data_type, references in zip(asked, answers, strict=True):
            if references:
                level[data_type] = ua.NodeId(
                    references[0].NodeId.Identifier, references[0].NodeId.NamespaceIndex
                )
            else:
                types.bottoms[data_type] = VARIANT
                del level[data_type]
    types.bottoms.update(dict.fromkeys(level, VARIANT))


def _bottom(node: ua.NodeId) -> int | None:
    number = node.Identifier
    if node.NamespaceIndex or not isinstance(number, int):
        return None
    if 0 < number <= BUILTIN_MAX:
        return number
    if number == ENUMERATION:
        return INT32
    return VARIANT if number in ABSTRACT_NUMBERS else None


def _structure(definition: ua.StructureDefinition, types: Types) -> Structure:
    union = definition.StructureType == ua.StructureType.Union
    optional = definition.StructureType == ua.StructureType.StructureWithOptionalFields
    fields = []
    for field in definition.Fields:
        bottom = types.bottoms.get(field.DataType, VARIANT)
        # A field of the abstract type Structure comes as an extension object.
        inner = bottom == STRUCTURE and field.DataType != ua.NodeId(STRUCTURE)
        fields.append(
            StructureField(
                name=field.Name or "",
                builtin=None if inner else bottom,
                structure=field.DataType if inner else None,
                many=field.ValueRank >= 0,
                optional=optional and field.IsOptional,
            )
        )
    return Structure(tuple(fields), union)
