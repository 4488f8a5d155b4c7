"""How models hang together: which extends which, has which as a part, and links to which; and that as Mermaid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gemel.models.interfaces import Component, Interface, Relationship
from gemel.models.model_set import ModelSet

__all__ = ["Link", "LinkKind", "ModelGraph", "graph_of", "short_name", "to_mermaid"]


class LinkKind(StrEnum):
    """How one model refers to another."""

    EXTENDS = "extends"
    COMPONENT = "component"
    RELATIONSHIP = "relationship"


@dataclass(frozen=True, slots=True)
class Link:
    """One model refers to another; `names` are the components or relationships that do, none for a base."""

    source: str
    target: str
    kind: LinkKind
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """The DTMIs of models, of those outside of the set that relationships lead to, and all links."""

    models: tuple[str, ...]
    outside: tuple[str, ...]
    links: tuple[Link, ...]


def graph_of(models: ModelSet) -> ModelGraph:
    """The graph of a set of models, in the order of their DTMIs.

    What a model inherits is drawn where it is stated. A relationship without a target leads nowhere.
    """
    ids = sorted(models.ids)
    links = [link for dtmi in ids for link in _links(models.interface(dtmi))]
    outside = {link.target for link in links} - models.ids
    return ModelGraph(tuple(ids), tuple(sorted(outside)), tuple(links))


def _links(interface: Interface) -> Iterator[Link]:
    for base in interface.extends:
        yield Link(interface.id, base, LinkKind.EXTENDS)
    named: dict[tuple[str, LinkKind], list[str]] = {}
    for content in interface.contents.values():
        if content.defined_in != interface.id:
            continue
        if isinstance(content, Component):
            named.setdefault((content.schema, LinkKind.COMPONENT), []).append(content.name)
        elif isinstance(content, Relationship) and content.target is not None:
            named.setdefault((content.target, LinkKind.RELATIONSHIP), []).append(content.name)
    for (target, kind), names in named.items():
        yield Link(interface.id, target, kind, tuple(names))


def short_name(dtmi: str) -> str:
    """The last label of a DTMI and its version: `Pump 1`."""
    path, _, version = dtmi.partition(";")
    return f"{path.rpartition(':')[2]} {version}".rstrip()


def to_mermaid(graph: ModelGraph) -> str:
    """The graph as a Mermaid class diagram (mermaid.js.org/syntax/classDiagram.html)."""
    keys = {dtmi: f"m{number}" for number, dtmi in enumerate((*graph.models, *graph.outside))}
    lines = ["classDiagram"]
    for dtmi, key in keys.items():
        lines.append(f'  class {key}["{short_name(dtmi)}"]')
    lines += [f"  <<elsewhere>> {keys[dtmi]}" for dtmi in graph.outside]
    arrows = {LinkKind.EXTENDS: "--|>", LinkKind.COMPONENT: "*--", LinkKind.RELATIONSHIP: "-->"}
    for link in graph.links:
        label = f" : {', '.join(link.names)}" if link.names else ""
        lines.append(f"  {keys[link.source]} {arrows[link.kind]} {keys[link.target]}{label}")
    return "\n".join(lines) + "\n"
