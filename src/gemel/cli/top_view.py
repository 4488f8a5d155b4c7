"""What `gemel top` shows: a pure function from what the server says goes on to what rich draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gemel.cli.output import plain

__all__ = ["TopView", "duration", "number"]

COLUMNS = {
    "state": (8, 60), "values/s": (8, 0), "p50": (8, 80), "p95": (8, 0), "behind": (7, 90), "accepted": (10, 110),
    "late": (7, 110), "set aside": (9, 70), "last": (8, 100),
}  # fmt: skip
"""Of sources: how wide each column is, and from which width of the terminal on it is shown."""
GAP = 3
NAME_MIN = 10
TALL = 44
"""Below this height only the slowest stages are shown."""
STAGES_MIN = 6
BARS = "▁▂▃▄▅▆▇"
TREND_MAX = 40
OUTCOMES = {"accepted": "green", "duplicate": "cyan", "late": "yellow", "corrected": "magenta"}
STAGES = (
    "receive", "room", "decode", "validate", "wait", "lock", "settle", "lookup", "order", "write",
    "quarantine", "sign", "commit",
)  # fmt: skip
"""The way of a batch, in order."""
SLOW_MS = {"from_source": 5000.0, "from_receipt": 1000.0}
QUEUES = {
    "ingest_requests": "requests to commit",
    "ingest_bodies": "bodies to decode",
    "ingest_bytes": "bytes in decoding",
    "patches": "patches to commit",
    "connections": "for a connection",
}
ROUTES_MAX, CODES_MAX = 6, 6


class TopView:
    """One look: the answer of GET /v1/activity, and the rates of the looks before it, the newest last."""

    def __init__(self, activity: Mapping[str, Any], url: str, trend: Sequence[float] = ()) -> None:
        self._told = activity
        self._url = url
        self._trend = trend

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width and height that there are: where rows are too many, the last sources are left out."""
        height = options.height or console.height
        head, beside = self._head(options.max_width), self._beside(height if console.is_terminal else TALL)
        taken = sum(len(console.render_lines(part, options)) for part in (head, beside))
        sources = self._told["sources"]
        if console.is_terminal:
            sources = sources[: max(1, height - taken - 5)]
        yield Group(head, _sources(sources, len(self._told["sources"]), options.max_width), beside)

    def _head(self, width: int) -> RenderableType:
        told = self._told
        title = Text.assemble(
            ("gemel top", "bold"), "  ", (self._url, "cyan"), "  ", (told["time"][11:19], "dim")
        )
        if told["database"] != "ok":
            title.append(f"  database {told['database']}", "bold red")
        rate = Text.assemble(
            (f"{number(told['rate'])}", "bold"), " events/s ", (_bars(self._trend, width), "green")
        )
        outcomes = Text()
        for name, style in OUTCOMES.items():
            outcomes.append(f"{number(told['totals'][name])} ", f"bold {style}")
            outcomes.append(f"{name}  ")
        outcomes.append(f"{number(told['totals']['quarantined'])} ", "bold red")
        outcomes.append("quarantined")
        fresh = Text("fresh  ")
        for name, words in (("fromSource", "since source time"), ("fromReceipt", "since receipt")):
            slow_ms = SLOW_MS["from_source" if name == "fromSource" else "from_receipt"]
            fresh.append_text(_both(told[name], slow_ms)).append(f" {words}   ")
        return Panel(Group(title, rate, fresh, outcomes), box=ROUNDED, padding=(0, 1))

    def _beside(self, height: int) -> RenderableType:
        stacks = ((self._stages(height),), (self._queues(), self._codes()), (self._routes(),))
        parts = [Group(*filter(None, stack)) for stack in stacks if any(stack)]
        return Columns(parts, padding=(0, 3))

    def _stages(self, height: int) -> Table | None:
        timed = {name: each for name, each in self._told["stages"].items() if each["p95Ms"] is not None}
        if not timed:
            return None
        shown = set(timed)
        if height < TALL:
            shown = set(sorted(timed, key=lambda name: -timed[name]["p95Ms"])[:STAGES_MIN])
        table = _table("stage" if len(shown) == len(timed) else "slowest stages", "p50", "p95")
        for name in [*STAGES, *(name for name in timed if name not in STAGES)]:
            if name in shown:
                table.add_row(name, duration(timed[name]["p50Ms"]), duration(timed[name]["p95Ms"]))
        return table

    def _queues(self) -> Table | None:
        if not self._told["queues"]:
            return None
        table = _table("waiting", "")
        for name, depth in self._told["queues"].items():
            table.add_row(QUEUES.get(name, name), Text(number(depth), "yellow" if depth else "dim"))
        return table

    def _routes(self) -> Table | None:
        if not self._told["routes"]:
            return None
        table = _table("route", "behind", "by")
        for route in self._told["routes"][:ROUTES_MAX]:
            style = "bold red" if route["stuck"] else ""
            name = Text(f"{route['name']}", style).append(
                f" {route['state']}", "red" if route["stuck"] else "dim"
            )
            table.add_row(name, number(route["behind"]), duration(route["lagS"] * 1000))
        return table

    def _codes(self) -> Table | None:
        codes = list(self._told["codes"].items())
        if not codes:
            return None
        table = _table("quarantined", "events")
        for code, count in codes[:CODES_MAX]:
            table.add_row(Text(code, "red"), number(count))
        if len(codes) > CODES_MAX:
            table.add_row(Text("others", "dim"), number(sum(count for _, count in codes[CODES_MAX:])))
        return table


def duration(ms: float | None) -> str:
    """Return a duration as short text: 4.2 ms, 1.3 s, 12 min, 5 h, 3 d; a dash for None."""
    if ms is None:
        return "–"
    for limit, size, unit in (
        (1000, 1, "ms"),
        (120e3, 1e3, "s"),
        (7200e3, 60e3, "min"),
        (172800e3, 3600e3, "h"),
    ):
        if ms < limit:
            value = ms / size
            return f"{value:.1f} {unit}" if value < 100 and unit in {"ms", "s"} else f"{value:.0f} {unit}"
    return f"{ms / 86400e3:.0f} d"


def number(value: float) -> str:
    """Return a count or rate as short text: 950, 12,400, 3.4 M."""
    if value >= 10_000_000:
        return f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _sources(sources: Sequence[Mapping[str, Any]], count: int, width: int) -> RenderableType:
    if not sources:
        return Text("  Nothing came in since the server started, and no source is started.\n", "dim")
    shown = {name: wide for name, (wide, since) in COLUMNS.items() if width >= since}
    name_width = max(NAME_MIN, width - sum(shown.values()) - GAP * len(shown))
    table = _table("source", *shown)
    for row in sources:
        cells = _cells(row)
        table.add_row(_name(row, name_width), *(cells[name] for name in shown))
    if len(sources) < count:
        table.add_row(Text(f"… and {count - len(sources)} more", "dim"))
    return table


def _name(row: Mapping[str, Any], width: int) -> Text:
    whole = plain(row["name"])
    name = whole if len(whole) <= width else f"…{whole[1 - width :]}"
    return Text(name.ljust(width), "bold" if row["rate"] else "")


def _cells(row: Mapping[str, Any]) -> dict[str, Text | str]:
    totals, behind = row["totals"], row["behind"]
    aside = totals.get("quarantined", 0)
    state = row["state"] or "sent"
    return {
        "state": Text(state, "bold red" if row["failing"] else "green" if state == "running" else "dim"),
        "values/s": number(row["rate"]),
        "p50": duration(row["fresh"]["p50Ms"]),
        "p95": duration(row["fresh"]["p95Ms"]),
        "behind": Text("" if behind is None else number(behind), "yellow" if behind else "dim"),
        "accepted": number(totals.get("accepted", 0)),
        "late": number(totals.get("late", 0)),
        "set aside": Text(number(aside), "red" if aside else "dim"),
        "last": "" if row["last"] is None else row["last"][11:19],
    }


def _both(fresh: Mapping[str, float | None], slow_ms: float) -> Text:
    p95_ms = fresh["p95Ms"]
    style = "dim" if p95_ms is None else "bold green" if p95_ms < slow_ms else "bold yellow"
    return Text(f"p50 {duration(fresh['p50Ms'])}  p95 {duration(p95_ms)}", style)


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for place, name in enumerate(names):
        is_text = place == 0 or name == "state"
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    return table


def _bars(trend: Sequence[float], width: int) -> str:
    shown = trend[-min(TREND_MAX, max(0, width - 30)) :]
    most = max(shown, default=0.0)
    return "".join(BARS[round(rate / most * (len(BARS) - 1))] for rate in shown) if most else ""
