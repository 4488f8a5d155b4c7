"""Rules over what can be reached from an element: depth, count, exclusion, inheritance; driven by the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gemel.models.elements import Element
from gemel.models.errors import Report
from gemel.models.language import GraphRule, language, limit_of
from gemel.models.walk import Walk, edges

__all__ = ["check_graph", "import_inherited"]

Found = list[tuple[str, Element, int]]


def import_inherited(elements: Sequence[Element], report: Report) -> None:
    """Let every element take over what it inherits; circles, depth and clashing names are reported."""
    heirs: list[tuple[Element, GraphRule]] = []
    before = len(report.errors)
    for number, rules in language().versions.items():
        for rule in rules.graph_rules:
            if rule.imports:
                check = _MaxDepth(rule, report)
                mine = [e for e in elements if e.version == number and rule.of in e.rule.ancestors]
                for element in mine:
                    check.run(element)
                heirs.extend((element, rule) for element in mine)
    if len(report.errors) > before:
        return
    for element, rule in heirs:
        _take_over(element, _ancestors(element, rule), rule, report)


def _ancestors(element: Element, rule: GraphRule) -> Iterable[Element]:
    """All that is inherited from, nearest first."""
    found: dict[int, Element] = {}
    waiting = [element]
    for heir in waiting:
        for name in rule.through:
            for parent in heir.refs.get(name, ()):
                if id(parent) not in found:
                    found[id(parent)] = parent
                    waiting.append(parent)
    return found.values()


def _take_over(element: Element, sources: Iterable[Element], rule: GraphRule, report: Report) -> None:
    own = {held.name: held for held in element.refs.get(rule.imports, ())}
    taken: list[Element] = []
    for source in sources:
        for held in source.refs.get(rule.imports, ()):
            other = own.setdefault(held.name, held)
            if other is held:
                taken.append(held)
            else:
                report.add(
                    "nonUniqueImportedPropertyValue",
                    id=element.id,
                    other=source.id,
                    property=rule.imports,
                    value=held.name,
                    rule=source.id,
                )
    if taken:
        element.imported[rule.imports] = taken
        element.refs.setdefault(rule.imports, [])


def check_graph(elements: Iterable[Element], report: Report) -> None:
    """Check every rule of the table on every element."""
    checks: dict[int, list[_Check]] = {
        number: [_CHECKS[rule.rule](rule, report) for rule in rules.graph_rules if not rule.imports]
        for number, rules in language().versions.items()
    }
    for element in elements:
        for check in checks[element.version]:
            if check.rule.of in element.rule.ancestors:
                check.run(element)


def _property(rule: GraphRule) -> str | None:
    """The properties that an error names: none where everything held is followed."""
    return None if rule.follow_all else rule.edges


class _Check:
    """One rule, with what it remembers of elements already seen."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        self.rule = rule
        self.report = report
        self.circular: set[str] = set()

    def run(self, element: Element) -> None:
        """Check one element of the class that the rule is about."""
        raise NotImplementedError

    def circle(self, members: Sequence[Element]) -> int:
        """Report each member of a circle once; a circle leads no deeper and counts nothing."""
        concerned = [member for member in members if self.rule.of in member.rule.ancestors] or members[:1]
        for member in () if self.rule.recursive else concerned:
            if member.id not in self.circular:
                self.circular.add(member.id)
                name = "recursiveStructureWide" if self.rule.follow_all else "recursiveStructureNarrow"
                self.report.add(name, id=member.id, property=_property(self.rule), word=self.rule.edges)
        return 0


class _MaxDepth(_Check):
    """How many edges follow each other at most."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        super().__init__(rule, report)
        self.depths = Walk(rule, self._deepest, self.circle)

    def run(self, element: Element) -> None:
        depth = self.depths.of(element)
        limit = limit_of(self.rule.limit, element.limits)
        if depth > limit and element.id not in self.circular:
            name = "excessiveDepthWide" if self.rule.follow_all else "excessiveDepthNarrow"
            other = self._too_deep(element, limit)
            facts = {"property": _property(self.rule), "other": other.id, "value": depth, "rule": limit}
            self.report.add(name, id=element.id, **facts)

    def _too_deep(self, element: Element, limit: int) -> Element:
        """The first element that leads beyond the limit; of inheritance, the first that is beyond it."""
        depth, seen = 0, {element.id}
        while True:
            for name, held in edges(element, self.rule):
                step = name in self.rule.through
                if held.id not in seen and depth + step + self.depths.of(held) > limit:
                    break
            else:
                return element
            if step and depth == limit:
                return held if self.rule.imports else element
            seen.add(held.id)
            element, depth = held, depth + step

    def _deepest(self, _element: Element, found: Found) -> int:
        return max(((name in self.rule.through) + depth for name, _, depth in found), default=0)


class _MaxCount(_Check):
    """How many elements are reached; one reached twice counts twice, as the language says."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        super().__init__(rule, report)
        self.counts = Walk(rule, self._sum, self.circle)

    def run(self, element: Element) -> None:
        count = self.counts.of(element)
        limit = limit_of(self.rule.limit, element.limits)
        if count > limit:
            self.report.add(
                "excessiveCount", id=element.id, property=self.rule.edges, value=count, rule=limit
            )

    def _sum(self, _element: Element, found: Found) -> int:
        return sum(1 + count for _, _, count in found)


class _Exclude(_Check):
    """No element of a class may be reached."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        super().__init__(rule, report)
        self.culprits: Walk[Element | None] = Walk(rule, self._first, lambda _members: None)

    def run(self, element: Element) -> None:
        culprit = self.culprits.of(element)
        if culprit is not None:
            self.report.add(
                "excludedType",
                id=element.id,
                property=self.rule.edges,
                other=culprit.id,
                value=self.rule.cls,
                rule=self.rule.of,
            )

    def _first(self, _element: Element, found: list[tuple[str, Element, Element | None]]) -> Element | None:
        for name, held, deeper in found:
            if name in self.rule.through and held.rule.name == self.rule.cls:
                return held
            if deeper is not None:
                return deeper
        return None


class _Datatype(_Check):
    """The literals of what is held must be of the datatype that a property of the holder names."""

    _TYPES: Mapping[str, type] = {"integer": int, "string": str, "boolean": bool}

    def run(self, element: Element) -> None:
        decider = element.one(self.rule.decided_by)
        wanted = self._TYPES.get(decider.name) if decider is not None else None
        if wanted is None or decider is None:
            return
        for _, held in element.edges():
            value = held.values.get(self.rule.literal)
            if value is not None and type(value) is not wanted:
                self.report.add(
                    "nonConformantDatatype",
                    id=held.id,
                    other=element.id,
                    property=self.rule.literal,
                    value=value,
                    rule=decider.name,
                )


_CHECKS: Mapping[str, type[_Check]] = {
    "max_depth": _MaxDepth,
    "max_count": _MaxCount,
    "exclude": _Exclude,
    "datatype": _Datatype,
}
