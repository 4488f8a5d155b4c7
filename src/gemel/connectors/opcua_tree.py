"""What an OPC UA server has: its variables by browse path below Objects, with their types, units and history.

Source: OPC 10000-3 (address space), OPC 10000-8 (engineering units).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from asyncua import ua

from gemel.base.errors import InvalidError
from gemel.connectors.opcua_link import Link, faults
from gemel.connectors.opcua_picks import Called, Pick

__all__ = ["Names", "Variable", "attributes", "browse", "find_variables", "read_names"]

AT_ONCE: Final = 100
DEPTH_MAX: Final = 20
VISITS_MAX: Final = 200_000
VARIABLES_MAX: Final = 20_000
SERVER: Final = ua.NodeId(ua.ObjectIds.Server)
OBJECTS: Final = ua.NodeId(ua.ObjectIds.ObjectsFolder)
PROPERTY: Final = ua.NodeId(ua.ObjectIds.HasProperty)
NSU: Final = re.compile(r"nsu=([^;]+);(.+)", re.DOTALL)
HISTORY_READ: Final = 4
CURRENT_READ: Final = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Names:
    """The server's namespaces: numbers of them may be others after its next start, their URIs are not."""

    uris: tuple[str, ...]

    def text(self, node: ua.NodeId) -> str:
        """Return a node id with the URI of its namespace: `nsu=urn:plant;s=Speed`."""
        number = node.NamespaceIndex
        bare = ua.NodeId(node.Identifier, 0, None if number else node.NodeIdType).to_string()
        return f"nsu={self.uris[number]};{bare}" if 0 < number < len(self.uris) else node.to_string()

    def node(self, text: str) -> ua.NodeId:
        """Read a node id, with a namespace by URI or number. Raises InvalidError (SourceInvalid)."""
        try:
            found = NSU.fullmatch(text)
            if found is None:
                return ua.NodeId.from_string(text)
            bare = ua.NodeId.from_string(found[2])
            return ua.NodeId(bare.Identifier, self.uris.index(found[1]))
        except (ua.UaError, ValueError) as error:
            message = f"The source's connection.nodes: {text[:80]!r} is no node id of this server."
            hint = f"It has the namespaces {', '.join(self.uris[1:])}."
            raise InvalidError("SourceInvalid", message, hint) from error


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: its id, the path to it, what its values are called, and how they are to be monitored.

    `id` is its text with the URI of its namespace; `data_type` the node id of its type, `unit` how the server shows
    its engineering unit and `unit_id` the number of that; `history` whether old values can be read.
    """

    node: ua.NodeId
    id: str
    path: tuple[str, ...]
    called: Called
    pick: Pick
    data_type: ua.NodeId
    many: bool
    history: bool
    unit: str | None = None
    unit_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    node: ua.NodeId
    path: tuple[str, ...]
    called: Called
    pick: Pick


@dataclass(frozen=True, slots=True)
class _Step:
    """A node on the way: the names that lead to it, and the nodes."""

    node: ua.NodeId
    path: tuple[str, ...]
    above: frozenset[ua.NodeId]


async def read_names(link: Link) -> Names:
    """Return the server's namespaces."""
    with faults(link.url):
        return Names(tuple(await link.client.get_namespace_array()))


async def find_variables(link: Link, names: Names, picks: Sequence[Pick]) -> tuple[list[Variable], list[str]]:
    """Return the readable variables that are picked, each once, and the picks that nothing fits.

    Raises as Link's methods do, InvalidError (SourceInvalid, LimitExceeded).
    """
    found: dict[ua.NodeId, _Found] = {}
    for pick in picks:
        if pick.node is not None:
            node = names.node(pick.node)
            found.setdefault(node, _Found(node, (), Called("", ()), pick))
    patterns = [pick for pick in picks if pick.node is None]
    if patterns:
        async for each in _walk(link, patterns):
            found.setdefault(each.node, each)
    if len(found) > VARIABLES_MAX:
        raise InvalidError(
            "LimitExceeded", f"The source picks more than {VARIABLES_MAX} nodes.", "Pick fewer."
        )
    variables = await _described(link, names, list(found.values()))
    fitting = {variable.pick.text for variable in variables}
    return variables, [pick.text for pick in picks if pick.text not in fitting]


async def browse(
    link: Link, nodes: Sequence[ua.NodeId], reference: int, *, classes: int = 0, inverse: bool = False
) -> list[list[ua.ReferenceDescription]]:
    """Return the references of nodes, of a type or what is derived from it; to node classes, where they are given."""
    found: list[list[ua.ReferenceDescription]] = []
    direction = ua.BrowseDirection.Inverse if inverse else ua.BrowseDirection.Forward
    for some in _parts(nodes):
        wanted = [
            ua.BrowseDescription(
                node, direction, ua.NodeId(reference), True, classes, ua.BrowseResultMask.All
            )
            for node in some
        ]
        view = ua.ViewDescription(Timestamp=ua.get_win_epoch())
        with faults(link.url):
            results = await link.client.uaclient.browse(ua.BrowseParameters(view, 0, wanted))
            found += [await _continued(link, result) for result in results]
    return found


async def attributes(link: Link, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds) -> list[Any]:
    """Return an attribute of nodes; None of those that do not have it, or do not show it."""
    found: list[Any] = []
    for some in _parts(nodes):
        with faults(link.url):
            values = await link.client.uaclient.read_attributes(list(some), attribute)
        for value in values:
            good = value.StatusCode is None or value.StatusCode.is_good()
            found.append(value.Value.Value if good and value.Value is not None else None)
    return found


async def _continued(link: Link, result: ua.BrowseResult) -> list[ua.ReferenceDescription]:
    """Return all references of a result, those too that it did not hold itself."""
    references = list(result.References or ())
    point = result.ContinuationPoint
    while point:
        (more,) = await link.client.uaclient.browse_next(ua.BrowseNextParameters(False, [point]))
        references += more.References or ()
        point = more.ContinuationPoint
    return references


async def _walk(link: Link, patterns: Sequence[Pick]) -> AsyncIterator[_Found]:
    """Yield what patterns fit, level by level; nothing is looked at that they cannot lead to."""
    level = [_Step(OBJECTS, (), frozenset())]
    visits = 0
    into_server = any(pick.levels[0] == "Server" for pick in patterns)
    while level:
        visits += len(level)
        if visits > VISITS_MAX:
            message = f"{link.url} has more than {VISITS_MAX} nodes that the patterns may lead to."
            raise InvalidError("LimitExceeded", message, "Begin them with names, as in Plant/Line1/**.")
        kinds = ua.NodeClass.Object | ua.NodeClass.Variable
        hierarchy = ua.ObjectIds.HierarchicalReferences
        answers = await browse(link, [step.node for step in level], hierarchy, classes=kinds)
        below: list[_Step] = []
        for step, references in zip(level, answers, strict=True):
            for inner, reference in _inner(step, references, into_server=into_server):
                if reference.NodeClass == ua.NodeClass.Variable:
                    for pick in patterns:
                        called = pick.fits(inner.path)
                        if called is not None:
                            yield _Found(inner.node, inner.path, called, pick)
                            break
                if len(inner.path) < DEPTH_MAX and any(pick.may_lead(inner.path) for pick in patterns):
                    below.append(inner)
        level = below


def _inner(
    step: _Step, references: Sequence[ua.ReferenceDescription], *, into_server: bool
) -> Iterator[tuple[_Step, ua.ReferenceDescription]]:
    """Yield what stands below a node, without its properties, and without what it stands below itself."""
    above = step.above | {step.node}
    for reference in references:
        target = _local(reference.NodeId)
        is_property = reference.ReferenceTypeId == PROPERTY
        if is_property or target in above or (target == SERVER and not into_server):
            continue
        yield _Step(target, (*step.path, reference.BrowseName.Name or ""), above), reference


async def _described(link: Link, names: Names, found: Sequence[_Found]) -> list[Variable]:
    nodes = [each.node for each in found]
    ids = ua.AttributeIds
    types = await attributes(link, nodes, ids.DataType)
    ranks = await attributes(link, nodes, ids.ValueRank)
    levels = await attributes(link, nodes, ids.UserAccessLevel)
    titles = await attributes(link, nodes, ids.BrowseName)
    units = await _units(link, nodes)
    variables = []
    for each, data_type, rank, level, title, unit in zip(
        found, types, ranks, levels, titles, units, strict=True
    ):
        if data_type is None or not (level or 0) & CURRENT_READ:
            continue
        path, called = each.path, each.called
        if not path:
            name = title.Name or "" if title is not None else ""
            path, called = (name,), Called(names.text(each.node), (name,))
        variables.append(
            Variable(
                node=each.node,
                id=names.text(each.node),
                path=path,
                called=called,
                pick=each.pick,
                data_type=data_type,
                many=(rank if rank is not None else -1) >= 0,
                history=bool(level & HISTORY_READ),
                unit=unit[0] if unit else None,
                unit_id=unit[1] if unit else None,
            )
        )
    return variables


async def _units(link: Link, nodes: Sequence[ua.NodeId]) -> list[tuple[str, int] | None]:
    """Return the engineering units of variables: as shown, and as a number."""
    answers = await browse(link, nodes, ua.ObjectIds.HasProperty, classes=ua.NodeClass.Variable)
    places: dict[int, ua.NodeId] = {}
    for index, references in enumerate(answers):
        for reference in references:
            if reference.BrowseName.Name == "EngineeringUnits":
                places[index] = _local(reference.NodeId)
    values = await attributes(link, list(places.values()), ua.AttributeIds.Value)
    found: list[tuple[str, int] | None] = [None] * len(nodes)
    for index, value in zip(places, values, strict=True):
        if isinstance(value, ua.EUInformation):
            found[index] = (value.DisplayName.Text or "", int(value.UnitId))
    return found


def _local(node: Any) -> ua.NodeId:
    """Return an expanded node id as the node id that it is on its own server."""
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, AT_ONCE)):
        yield some
