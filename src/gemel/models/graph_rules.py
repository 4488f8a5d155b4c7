"""Rules over what can be reached from an element: depth, count, exclusion, inheritance; driven by the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gemel.models.elements import Element
from gemel.models.errors import Report
from gemel.models.language import GraphRule, language, limit_of

__all__ = ["check_graph", "import_inherited"]


def import_inherited(elements: Iterable[Element], report: Report) -> None:
    """Let every element take over what it inherits, and report circles, depth and clashing names."""
    imports = {number: _rules(number, "max_depth", imports=True) for number in language().versions}
    done: dict[int, dict[str, Element]] = {}
    depths: dict[str, _Depths] = {}
    for element in elements:
        for rule in imports[element.version]:
            if rule.of not in element.rule.ancestors:
                continue
            depth = depths.setdefault(repr(rule), _Depths(rule, report)).of(element)
            limit = limit_of(rule.limit, element.limits)
            if depth > limit:
                report.add("excessiveDepthNarrow", id=element.id, value=depth, rule=limit)
                continue
            closure = _closure(element, rule, done)
            closure.pop(element.id, None)
            _take_over(element, closure.values(), rule, report)


def _closure(element: Element, rule: GraphRule, done: dict[int, dict[str, Element]]) -> dict[str, Element]:
    """Everything inherited from, nearest first; circles end where they close."""
    found = done.get(id(element))
    if found is not None:
        return dict(found)
    closure: dict[str, Element] = {}
    done[id(element)] = closure
    for name in rule.through:
        for parent in element.refs.get(name, ()):
            closure[parent.id] = parent
            closure.update(_closure(parent, rule, done))
    return dict(closure)


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
    checks: dict[int, list[_Check]] = {}
    for number in language().versions:
        checks[number] = [_CHECKS[rule.rule](rule, report) for rule in _rules(number) if not rule.imports]
    for element in elements:
        for check in checks[element.version]:
            if check.rule.of in element.rule.ancestors:
                check.run(element)


def _rules(number: int, name: str = "", *, imports: bool = False) -> list[GraphRule]:
    rules = language().versions[number].graph_rules
    return [rule for rule in rules if (not name or rule.rule == name) and (not imports or rule.imports)]


class _Check:
    """One rule, with what it remembers of elements already seen."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        self.rule = rule
        self.report = report

    def run(self, element: Element) -> None:
        raise NotImplementedError


class _Depths:
    """How long the longest chain of edges from an element is; circles are reported once for each member."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        self.rule = rule
        self.report = report
        self.depths: dict[int, int] = {}
        self.open: list[Element] = []
        self.circular: set[str] = set()

    def of(self, element: Element) -> int:
        key = id(element)
        if key in self.depths:
            return self.depths[key]
        if any(other is element for other in self.open):
            self._close(element)
            return 0
        self.open.append(element)
        deepest = 0
        for name, held in _edges(element, self.rule):
            step = 1 if name in self.rule.through else 0
            deepest = max(deepest, step + self.of(held))
        self.open.pop()
        self.depths[key] = deepest
        return deepest

    def _close(self, element: Element) -> None:
        if self.rule.recursive:
            return
        start = next(index for index, other in enumerate(self.open) if other is element)
        members = [other for other in self.open[start:] if self.rule.of in other.rule.ancestors]
        for member in members or [element]:
            if member.id not in self.circular:
                self.circular.add(member.id)
                name = "recursiveStructureWide" if self.rule.follow_all else "recursiveStructureNarrow"
                self.report.add(name, id=member.id, property=self.rule.edges)


class _MaxDepth(_Check):
    def __init__(self, rule: GraphRule, report: Report) -> None:
        super().__init__(rule, report)
        self.depths = _Depths(rule, report)

    def run(self, element: Element) -> None:
        depth = self.depths.of(element)
        limit = limit_of(self.rule.limit, element.limits)
        if depth > limit:
            name = "excessiveDepthWide" if self.rule.follow_all else "excessiveDepthNarrow"
            self.report.add(name, id=element.id, value=depth, rule=limit)


class _MaxCount(_Check):
    """How many elements are reached; one reached twice counts twice, as the language says."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        super().__init__(rule, report)
        self.counts: dict[int, int] = {}
        self.open: set[int] = set()

    def run(self, element: Element) -> None:
        count = self._count(element)
        limit = limit_of(self.rule.limit, element.limits)
        if count > limit:
            self.report.add(
                "excessiveCount", id=element.id, property=self.rule.edges, value=count, rule=limit
            )

    def _count(self, element: Element) -> int:
        key = id(element)
        if key in self.counts:
            return self.counts[key]
        if key in self.open:
            if not self.rule.recursive:
                self.report.add("recursiveStructureNarrow", id=element.id, property=self.rule.edges)
            return 0
        self.open.add(key)
        count = sum(1 + self._count(held) for _, held in _edges(element, self.rule))
        self.open.discard(key)
        self.counts[key] = count
        return count


class _Exclude(_Check):
    """No element of a class may be reached."""

    def __init__(self, rule: GraphRule, report: Report) -> None:
        super().__init__(rule, report)
        self.found: dict[int, Element | None] = {}

    def run(self, element: Element) -> None:
        culprit = self._find(element)
        if culprit is not None:
            self.report.add(
                "excludedType", id=element.id, other=culprit.id, value=self.rule.cls, rule=self.rule.of
            )

    def _find(self, element: Element) -> Element | None:
        key = id(element)
        if key in self.found:
            return self.found[key]
        self.found[key] = None
        for name, held in _edges(element, self.rule):
            if name in self.rule.through and held.rule.name == self.rule.cls:
                self.found[key] = held
                return held
            deeper = self._find(held)
            if deeper is not None:
                self.found[key] = deeper
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
            value = held.values.get(self.rule.property)
            if value is not None and type(value) is not wanted:
                self.report.add(
                    "nonConformantDatatype",
                    id=held.id,
                    other=element.id,
                    property=self.rule.property,
                    value=value,
                    rule=decider.name,
                )


_CHECKS: Mapping[str, type[_Check]] = {
    "max_depth": _MaxDepth,
    "max_count": _MaxCount,
    "exclude": _Exclude,
    "datatype": _Datatype,
}


def _edges(element: Element, rule: GraphRule) -> Iterator[tuple[str, Element]]:
    if rule.follow_all:
        yield from element.edges()
        return
    for name in rule.through:
        for held in element.held(name):
            yield name, held
