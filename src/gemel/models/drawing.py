"""A graph of models as an SVG picture that needs nothing from elsewhere: bases above, heirs below.

The layout is layered, after Sugiyama, Tagawa and Toda (1981): ranks by inheritance, then each rank in the order
of its members' neighbours; a rank that is too wide is broken into rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from gemel.models.graph import Link, LinkKind, ModelGraph, short_name

__all__ = ["to_svg"]

_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 34, 28, 70, 24
_LETTER, _PADDING = 7.4, 24
_SWEEPS = 4
_BEND = 0.12
_STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1b2733; text-anchor: middle }
.label { font-size: 11px; fill: #3d5166; paint-order: stroke; stroke: #fff; stroke-width: 3px }
rect { fill: #eef4fb; stroke: #3b6ea5; rx: 6px }
.outside { fill: #fff; stroke-dasharray: 4 3 }
path { fill: none; stroke: #3b6ea5 }
.component { stroke: #7a5c99 } .relationship { stroke: #4c8c5b; stroke-dasharray: 6 3 }
marker path { stroke-dasharray: none }
#extends path { fill: #fff } #component path { fill: #7a5c99 } #relationship path { fill: #4c8c5b }
""".strip()
_MARKERS = {
    LinkKind.EXTENDS: "M1 1 L11 6 L1 11 Z",
    LinkKind.COMPONENT: "M1 6 L6 2 L11 6 L6 10 Z",
    LinkKind.RELATIONSHIP: "M3 2 L11 6 L3 10 Z",
}


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a model stands: its middle, and its size."""

    x: float
    y: float
    width: float

    def edge_towards(self, x: float, y: float) -> tuple[float, float]:
        """The point of the border on the way from the middle to another point."""
        dx, dy = x - self.x, y - self.y
        reach = max(abs(dx) / (self.width / 2), abs(dy) / (_HEIGHT / 2))
        return (self.x + dx / reach, self.y + dy / reach) if reach else (self.x, self.y)


def to_svg(graph: ModelGraph) -> str:
    """Draw the graph; each box has the full DTMI as its tooltip."""
    boxes = _place(_rows(graph), (*graph.models, *graph.outside))
    right = max((box.x + box.width / 2 for box in boxes.values()), default=0) + _MARGIN
    bottom = max((box.y + _HEIGHT / 2 for box in boxes.values()), default=0) + _GAP_Y
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right:.0f} {bottom:.0f}" '
        f'width="{right:.0f}" height="{bottom:.0f}">',
        f"<style>{_STYLE}</style>",
        "<defs>",
        *(_marker(kind) for kind in LinkKind),
        "</defs>",
        f'<path d="M0 0 H{right:.0f} V{bottom:.0f} H0 Z" style="fill: #fff; stroke: none"/>',
    ]
    labels: list[str] = []
    for link in graph.links:
        line, label = _line(link, boxes)
        lines.append(line)
        labels += [label] if label else []
    outside = frozenset(graph.outside)
    lines += [_box(dtmi, box, dtmi in outside) for dtmi, box in boxes.items()]
    return "\n".join([*lines, *labels, "</svg>"]) + "\n"


def _rows(graph: ModelGraph) -> Iterator[list[str]]:
    """The models row by row, from the top."""
    near: dict[str, list[str]] = {dtmi: [] for dtmi in (*graph.models, *graph.outside)}
    for link in graph.links:
        near[link.source].append(link.target)
        near[link.target].append(link.source)
    ranks: dict[int, list[str]] = {}
    for dtmi, rank in _ranks(graph).items():
        ranks.setdefault(rank, []).append(dtmi)
    ordered = [ranks[rank] for rank in sorted(ranks)]
    for _ in range(_SWEEPS):
        at = {dtmi: (index + 0.5) / len(row) for row in ordered for index, dtmi in enumerate(row)}
        for row in ordered:
            middles = {d: sum(at[n] for n in near[d]) / len(near[d]) if near[d] else at[d] for d in row}
            row.sort(key=middles.__getitem__)
    longest = max(6, math.ceil(1.5 * math.sqrt(len(near))))
    for row in ordered:
        for start in range(0, len(row), longest):
            yield row[start : start + longest]


def _ranks(graph: ModelGraph) -> dict[str, int]:
    """How far below its farthest base each model stands; those outside stand below all."""
    bases: dict[str, list[str]] = {dtmi: [] for dtmi in graph.models}
    for link in graph.links:
        if link.kind is LinkKind.EXTENDS and link.target in bases:
            bases[link.source].append(link.target)
    found: dict[str, int] = {}
    # DTDL lets inheritance be ten levels deep at most, and has no circles: each round settles a level.
    waiting = list(graph.models)
    while waiting:
        settled = [dtmi for dtmi in waiting if all(base in found for base in bases[dtmi])]
        found.update({dtmi: max((found[base] + 1 for base in bases[dtmi]), default=0) for dtmi in settled})
        waiting = [dtmi for dtmi in waiting if dtmi not in found]
    lowest = max(found.values(), default=-1) + 1
    return found | dict.fromkeys(graph.outside, lowest)


def _place(rows: Iterator[list[str]], order: Sequence[str]) -> dict[str, _Box]:
    """Give each model its box; each row is centred."""
    listed = list(rows)
    widths = {dtmi: len(short_name(dtmi)) * _LETTER + _PADDING for dtmi in order}
    spans = [sum(widths[dtmi] + _GAP_X for dtmi in row) - _GAP_X for row in listed]
    middle = _MARGIN + max(spans, default=0) / 2
    found: dict[str, _Box] = {}
    for number, (row, span) in enumerate(zip(listed, spans, strict=True)):
        left = middle - span / 2
        for dtmi in row:
            y = _MARGIN + _HEIGHT / 2 + number * (_HEIGHT + _GAP_Y)
            found[dtmi] = _Box(left + widths[dtmi] / 2, y, widths[dtmi])
            left += widths[dtmi] + _GAP_X
    return found


def _marker(kind: LinkKind) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 12 12" refX="11" refY="6" markerWidth="11" markerHeight="11" '
        f'orient="auto-start-reverse"><path class="{kind}" d="{_MARKERS[kind]}"/></marker>'
    )


def _box(dtmi: str, box: _Box, outside: bool) -> str:
    left, top = box.x - box.width / 2, box.y - _HEIGHT / 2
    look = ' class="outside"' if outside else ""
    return (
        f"<g id={quoteattr(dtmi)}><title>{escape(dtmi)}</title>"
        f'<rect{look} x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{_HEIGHT}"/>'
        f'<text x="{box.x:.1f}" y="{box.y + 4.5:.1f}">{escape(short_name(dtmi))}</text></g>'
    )


def _line(link: Link, boxes: Mapping[str, _Box]) -> tuple[str, str]:
    """A link as a line, and its label; lines of names bend aside, so that they do not cover each other."""
    source, target = boxes[link.source], boxes[link.target]
    # A part is marked at its whole; the others are marked where they lead.
    end = "start" if link.kind is LinkKind.COMPONENT else "end"
    if source.y == target.y:
        path, middle = _below(source, target)
    else:
        bend = {LinkKind.EXTENDS: 0.0, LinkKind.COMPONENT: -_BEND, LinkKind.RELATIONSHIP: _BEND}[link.kind]
        cx = (source.x + target.x) / 2 - (target.y - source.y) * bend
        cy = (source.y + target.y) / 2 + (target.x - source.x) * bend
        (x1, y1), (x2, y2) = source.edge_towards(cx, cy), target.edge_towards(cx, cy)
        path = f"M{x1:.1f} {y1:.1f} Q{cx:.1f} {cy:.1f} {x2:.1f} {y2:.1f}"
        middle = ((x1 + 2 * cx + x2) / 4, (y1 + 2 * cy + y2) / 4)
    line = f'<path class="{link.kind}" d="{path}" marker-{end}="url(#{link.kind})"/>'
    if not link.names:
        return line, ""
    words = escape(", ".join(link.names))
    return line, f'<text class="label" x="{middle[0]:.1f}" y="{middle[1]:.1f}">{words}</text>'


def _below(source: _Box, target: _Box) -> tuple[str, tuple[float, float]]:
    """A line between boxes of one row, or from a box to itself, through the gap below; and its middle."""
    y = source.y + _HEIGHT / 2
    x1, x2 = (source.x - 14, source.x + 14) if source is target else (source.x, target.x)
    deep = y + _GAP_Y * 0.75
    path = f"M{x1:.1f} {y:.1f} C{x1:.1f} {deep:.1f} {x2:.1f} {deep:.1f} {x2:.1f} {y:.1f}"
    return path, ((x1 + x2) / 2, y + _GAP_Y * 0.56 + 4)
