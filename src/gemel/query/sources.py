"""From the FROM of a query, as written, to its sources and links."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gemel.base.words import nearest
from gemel.query.clauses import Collection, Direction, Hops, Link, Source
from gemel.query.faults import query_fault
from gemel.query.tree import Span

__all__ = ["HOPS_MAX", "SOURCES_MAX", "Edge", "From", "Joined", "Name", "Sources", "build_sources"]

HOPS_MAX = 100
SOURCES_MAX = 100

WAY = re.compile(r"\*\s*(?:(?P<low>[0-9]+)\s*)?(?P<dots>\.\.)?\s*(?P<high>[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Name:
    """A name where it stands; None is one that was left out."""

    text: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Edge:
    """What stands between two nodes of a MATCH: `hops` as written, as `*1..3`."""

    direction: Direction
    variable: Name
    names: tuple[str, ...]
    hops: Name


@dataclass(frozen=True, slots=True)
class Joined:
    """`[OPTIONAL] JOIN target RELATED source.relation [variable]`."""

    target: Name
    source: Name
    relation: str
    variable: Name
    optional: bool
    span: Span


@dataclass(frozen=True, slots=True)
class From:
    """A collection, or the nodes of a MATCH with an edge between each two, and joins after it."""

    collection: Collection
    nodes: tuple[Name, ...]
    edges: tuple[Edge, ...] = ()
    joins: tuple[Joined, ...] = ()
    shortest: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What a FROM means: see `gemel.query.clauses.Query`."""

    sources: tuple[Source, ...]
    links: tuple[Link, ...]
    default: str | None


def build_sources(text: str, written: From) -> Sources:
    """Return the sources and links of a FROM.

    Raises InvalidError (SqlQueryError) for an alias given twice or to two kinds of things, a JOIN from what is no
    twin, hops that there cannot be, and beyond SOURCES_MAX sources.
    """
    return _Builder(text).build(written)


class _Builder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._sources: dict[str, Source] = {}
        self._links: list[Link] = []

    def build(self, written: From) -> Sources:
        if written.collection is Collection.RELATIONSHIPS:
            return self._relationships(written)
        start = first = self._node(written.nodes[0])
        if written.shortest:
            self._check_shortest(written)
        for edge, node in zip(written.edges, written.nodes[1:], strict=True):
            start = self._way(start, edge, node) if written.shortest else self._edge(start, edge, node)
        for joined in written.joins:
            self._join(joined)
        named = [source.name for source in self._sources.values() if source.named]
        default = first if len(self._sources) == 1 else named[0] if len(named) == 1 else None
        return Sources(tuple(self._sources.values()), tuple(self._links), default)

    def _relationships(self, written: From) -> Sources:
        if written.joins:
            place = written.joins[0].span
            suggestion = "Write FROM digitaltwins MATCH (a)-[R]->(b), and join from a or b."
            raise query_fault(self._text, place, "relationships cannot be joined", suggestion)
        name = self._add(written.nodes[0], Collection.RELATIONSHIPS)
        start, end = self._node(Name(None, Span(0, 0))), self._node(Name(None, Span(0, 0)))
        self._links.append(Link(start, end, relationship=name))
        return Sources(tuple(self._sources.values()), tuple(self._links), name)

    def _node(self, name: Name) -> str:
        """Return the twin of a node; an alias that comes again is the same twin."""
        known = self._sources.get(name.text or "")
        if known is None:
            return self._add(name, Collection.TWINS)
        if known.collection is not Collection.TWINS:
            raise self._taken(name, "something else")
        return known.name

    def _edge(self, start: str, edge: Edge, node: Name) -> str:
        hops = self._hops(edge.hops)
        if hops is not None and edge.variable.text is not None:
            problem = f"{edge.variable.text} cannot stand for several relationships"
            raise query_fault(
                self._text,
                edge.variable.span,
                problem,
                "Leave out the variable, or write a node for each hop.",
            )
        relationship = None if hops else self._relationship(edge.variable)
        end = self._node(node)
        self._links.append(Link(start, end, edge.names, edge.direction, relationship, hops))
        return end

    def _check_shortest(self, written: From) -> None:
        if len(written.edges) != 1:
            place = written.nodes[-1].span
            suggestion = "Write SHORTEST (a)-[p:name*..10]->(b), and JOIN from there."
            raise query_fault(self._text, place, "the shortest way is between two twins", suggestion)

    def _way(self, start: str, edge: Edge, node: Name) -> str:
        """Add the shortest way, for which the edge's variable stands."""
        hops = Hops(1, HOPS_MAX) if edge.hops.text is None else self._hops(edge.hops) or Hops(1, 1)
        if hops.least > 1:
            suggestion = f"Write *..{hops.most}: the shortest has what it has."
            raise query_fault(self._text, edge.hops.span, "a shortest way of no fewer hops", suggestion)
        if edge.variable.text in self._sources:
            raise self._taken(edge.variable, "something else")
        path = self._add(edge.variable, Collection.PATHS)
        end = self._node(node)
        self._links.append(Link(start, end, edge.names, edge.direction, None, hops, path=path))
        return end

    def _join(self, joined: Joined) -> None:
        source = self._sources.get(joined.source.text or "")
        if source is None or source.collection is not Collection.TWINS:
            twins = [each.name for each in self._sources.values() if each.collection is Collection.TWINS]
            aliases = [name for name in twins if self._sources[name].named]
            meant = nearest(str(joined.source.text), aliases)
            raise query_fault(
                self._text,
                joined.source.span,
                f"{joined.source.text} is not a twin that stands before it",
                _choice(meant, aliases),
            )
        if joined.target.text in self._sources:
            raise self._taken(joined.target, "something else")
        target = self._add(joined.target, Collection.TWINS)
        relationship = self._relationship(joined.variable)
        link = Link(
            source.name, target, (joined.relation,), Direction.OUT, relationship, None, joined.optional
        )
        self._links.append(link)

    def _relationship(self, variable: Name) -> str:
        if variable.text in self._sources:
            raise self._taken(variable, "something else")
        return self._add(variable, Collection.RELATIONSHIPS)

    def _hops(self, written: Name) -> Hops | None:
        """Return how many hops are meant, None for just one; the lower bound of two does not count itself."""
        if written.text is None:
            return None
        found = WAY.fullmatch(written.text)
        assert found is not None
        low, high = (int(found[name][:9]) if found[name] else None for name in ("low", "high"))
        if not found["dots"]:
            least = most = low or 0
        else:
            least, most = (low or 0) + 1, high or 0
        if least < 1 or most > HOPS_MAX:
            problem = f"a way has 1 to {HOPS_MAX} hops"
            raise query_fault(self._text, written.span, problem, "Write *3 for three, *..3 for up to three.")
        if least > most:
            suggestion = f"For just {most or 1} write *{most or 1}: the lower bound does not count itself."
            if (low or 0) > most:
                suggestion = f"The greater number comes last: *{most}..{low}."
            raise query_fault(
                self._text,
                written.span,
                f"no way has more than {low} and at most {most} hops",
                suggestion,
            )
        return None if least == most == 1 else Hops(least, most)

    def _add(self, name: Name, collection: Collection) -> str:
        if len(self._sources) >= SOURCES_MAX:
            problem = f"more than {SOURCES_MAX} twins and relationships"
            raise query_fault(self._text, name.span, problem, "Write ways of several hops as -[:name*3]->.")
        # No name of the text can have a bracket.
        key = f"]{len(self._sources)}" if name.text is None else name.text
        self._sources[key] = Source(key, collection, name.text is not None)
        return key

    def _taken(self, name: Name, what: str) -> Exception:
        return query_fault(
            self._text, name.span, f"{name.text} stands for {what} already", "Choose another name."
        )


def _choice(meant: str | None, names: Sequence[str]) -> str:
    if meant:
        return f"Did you mean {meant}?"
    return f"Use {' or '.join(names)}." if names else "Give the collection an alias: FROM digitaltwins T."
