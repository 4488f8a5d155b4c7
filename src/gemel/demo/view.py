"""The live terminal view: a pure function from a snapshot to what rich draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gemel.base.codes import CODES
from gemel.demo.units import format_lag, format_value, unit_symbol

__all__ = [
    "TOTAL_STYLES",
    "TREND_MAX",
    "Reason",
    "Row",
    "Snapshot",
    "Totals",
    "render",
    "sparkline",
    "summary",
]

BARS = "▁▂▃▄▅▆▇"  # not the full block, so that the lines of a table stay apart
LAG_FRESH_MS, LAG_OLD_MS = 1000.0, 5000.0
TWIN_WIDTH_MIN, PATH_WIDTH_MIN, VALUE_WIDTH, UNIT_WIDTH, LAG_WIDTH = 8, 8, 9, 5, 7
GAPS = 5 * 2  # between the six columns
TREND_MAX = 48
REASONS_SHOWN = 3

# Totals in the order of the line, each with its colour.
TOTAL_STYLES = {
    "accepted": "green",
    "duplicate": "cyan",
    "late": "yellow",
    "corrected": "magenta",
    "quarantined": "red",
}


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the start: values, but for `quarantined`, which counts events."""

    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    corrected: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One series: its last value, its DTDL unit, how old it is, and the numbers before it."""

    twin: str
    path: str
    value: bool | int | float | str | None
    unit: str | None = None
    lag_ms: float | None = None
    trend: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an event was put into quarantine."""

    twin: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the view shows at one moment; rows of one twin are adjacent.

    `codes` counts the reasons of quarantine; `own` says whether the platform ends with the demo. Lags are of
    events, from source time to acknowledged; a row's lag is how old its value was when it was read. Where it
    is not `live`, both are by the clock of the recording, in time as it passes here.
    """

    title: str
    url: str
    openapi_url: str
    elapsed_s: float
    events_per_s: float
    events: int
    totals: Totals
    rows: tuple[Row, ...]
    reasons: tuple[Reason, ...] = ()
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    codes: Mapping[str, int] = field(default_factory=dict)
    own: bool = True
    live: bool = True


def render(snapshot: Snapshot) -> RenderableType:
    """Return the view; drawn, it fills the console's width and trims twins' rows evenly to its height."""
    return _View(snapshot)


def summary(snapshot: Snapshot) -> Table:
    """Return the table that is printed at the end: what was sent, and what became of it."""
    table = Table(title="Summary", title_style="bold", box=ROUNDED, show_header=False, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("events", f"{snapshot.events:,}", f"sent and acknowledged in {snapshot.elapsed_s:.1f} s")
    table.add_row("rate", f"{snapshot.events / max(snapshot.elapsed_s, 1e-9):,.0f}", "events/s")
    notes = {
        "accepted": "values that became the state",
        "duplicate": "values that were there already",
        "late": "values for history only",
        "corrected": "values that met another for the same time",
        "quarantined": "events set aside: see `gemel quarantine list`",
    }
    for name, style in TOTAL_STYLES.items():
        table.add_row(Text(name, style=style), f"{getattr(snapshot.totals, name):,}", notes[name])
    for code, count in snapshot.codes.items():
        meaning = CODES[code].meaning if code in CODES else ""
        table.add_row(Text(f"  {code}", style="not bold dim red"), Text(f"{count:,}", style="dim"), meaning)
    twins = len({row.twin for row in snapshot.rows})
    table.add_row("series", f"{len(snapshot.rows)}", f"of {twins} twin{'' if twins == 1 else 's'}")
    since = "from source time to acknowledged" if snapshot.live else "behind the recording's clock"
    for share, lag_ms in (("p50", snapshot.lag_p50_ms), ("p99", snapshot.lag_p99_ms)):
        if lag_ms is not None:
            table.add_row(f"lag {share}", format_lag(lag_ms), since)
    return table


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the last `width` values as bars between their least and greatest; a flat line lies low."""
    shown = values[-width:] if width else ()
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in shown)


class _View:
    """Chooses the layout when the console's size is known."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head, foot = _header(self._snapshot), _reasons(self._snapshot)
        room = (options.height or console.height) - _lines(console, options, head, foot) - 2
        yield Group(head, _values(self._snapshot.rows, options.max_width, room), foot)


def _lines(console: Console, options: ConsoleOptions, *parts: RenderableType) -> int:
    return sum(len(console.render_lines(part, options.update(height=None))) for part in parts)


def _header(snapshot: Snapshot) -> RenderableType:
    links = Table.grid(padding=(0, 2), expand=True)
    links.add_column(ratio=1, no_wrap=True)
    links.add_column(justify="right", no_wrap=True)
    links.add_row(
        Text.assemble(("API  ", "dim"), (snapshot.url, f"cyan link {snapshot.url}")),
        Text.assemble(
            ("lag ", "dim"),
            (format_lag(snapshot.lag_p50_ms), "bold"),
            (f"   {snapshot.events_per_s:,.0f}", "bold green"),
            (" events/s", "dim"),
        ),
    )
    links.add_row(
        Text.assemble(("docs ", "dim"), (snapshot.openapi_url, f"cyan link {snapshot.openapi_url}")),
        Text.assemble(
            (f"{snapshot.events:,}", "bold"), (" events in ", "dim"), f"{snapshot.elapsed_s:.0f} s"
        ),
    )
    counts = Text("   ").join(
        Text.assemble((f"{getattr(snapshot.totals, name):,}", f"bold {style}"), (f" {name}", "dim"))
        for name, style in TOTAL_STYLES.items()
    )
    title = Text.assemble(("◆ ", "cyan"), ("gemel", "bold"), (f" · {snapshot.title}", ""))
    return Panel(
        Group(links, counts), title=title, title_align="left", box=ROUNDED, border_style="bright_black"
    )


def _values(rows: Sequence[Row], width: int, room: int) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        expand=True,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="dim",
        show_edge=False,
    )
    twins = _by_twin(rows)
    twin_width = max([TWIN_WIDTH_MIN] + [len(row.twin) for row in rows])
    path_width = max([PATH_WIDTH_MIN] + [len(row.path) for row in rows]) + len("  +9")
    bars = max(
        0, min(TREND_MAX, width - twin_width - path_width - VALUE_WIDTH - UNIT_WIDTH - LAG_WIDTH - GAPS)
    )
    table.add_column("twin", no_wrap=True, width=twin_width)
    table.add_column("path", no_wrap=True, width=path_width)
    table.add_column("value", no_wrap=True, justify="right", width=VALUE_WIDTH)
    table.add_column("", no_wrap=True, width=UNIT_WIDTH, style="dim")
    table.add_column("trend", no_wrap=True, justify="right", ratio=1)
    table.add_column("lag", no_wrap=True, justify="right", width=LAG_WIDTH)
    airy = room >= len(rows) + len(twins) - 1
    for position, group in enumerate(_fitted(twins, room)):
        if airy and position:
            table.add_row()
        for index, row in enumerate(group.shown):
            table.add_row(
                Text(row.twin, style="bold cyan") if index == 0 else Text(""),
                _path(row, group.hidden if index == len(group.shown) - 1 else 0),
                _value(row),
                Text(unit_symbol(row.unit)),
                _trend(row, bars),
                Text(format_lag(row.lag_ms), style=_lag_style(row.lag_ms)),
            )
    return table


@dataclass(frozen=True, slots=True)
class _Twin:
    """A twin's rows that are shown, and how many are not."""

    shown: list[Row]
    hidden: int


def _by_twin(rows: Sequence[Row]) -> list[list[Row]]:
    return [list(group) for _, group in itertools.groupby(rows, key=lambda row: row.twin)]


def _fitted(twins: list[list[Row]], room: int) -> Iterator[_Twin]:
    """Give every twin its first row, then every twin its second, and so on while there is room."""
    limits = [0] * len(twins)
    for depth in range(max((len(rows) for rows in twins), default=0)):
        for index, rows in enumerate(twins):
            if len(rows) > depth and sum(limits) < max(room, len(twins)):
                limits[index] = depth + 1
    for rows, limit in zip(twins, limits, strict=True):
        yield _Twin(rows[:limit], len(rows) - limit)


def _path(row: Row, hidden: int) -> Text:
    component, dot, name = row.path.rpartition(".")
    text = Text.assemble((component + dot, "dim"), name)
    return text.append(f"  +{hidden}", style="dim italic") if hidden else text


def _value(row: Row) -> Text:
    text = format_value(row.value)
    if isinstance(row.value, bool):
        return Text.assemble(("● ", "green" if row.value else "bright_black"), (text, "bold"))
    return Text(text, style="bold")


def _trend(row: Row, bars: int) -> Text:
    shown = row.trend[-bars:] if bars else ()
    steady = len(set(shown)) < 2
    return Text(sparkline(shown, bars), style="bright_black" if steady else "dim cyan")


def _lag_style(lag_ms: float | None) -> str:
    if lag_ms is None:
        return "dim"
    if lag_ms < LAG_FRESH_MS:
        return "green"
    return "yellow" if lag_ms < LAG_OLD_MS else "red"


def _reasons(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, style="red")
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis", style="dim")
    for reason in snapshot.reasons[-REASONS_SHOWN:]:
        table.add_row(Text(reason.code), Text(reason.twin), Text(reason.message))
    hint = Text("Ctrl-C stops everything" if snapshot.own else "Ctrl-C ends the demo", style="dim")
    return Panel(
        table if snapshot.reasons else Text("nothing yet", style="dim"),
        title=Text("quarantine", style="red"),
        title_align="left",
        subtitle=hint,
        subtitle_align="right",
        box=ROUNDED,
        border_style="bright_black",
    )
