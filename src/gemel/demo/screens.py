"""Where the demo shows itself: a full screen on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from gemel.demo.units import format_lag
from gemel.demo.view import TOTAL_STYLES, Snapshot, render

__all__ = ["Screen", "open_screen"]

LINE_S = 2.0


class Screen(Protocol):
    """Shows snapshots, several a second."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the newest state."""


@contextmanager
def open_screen(out: Console, notes: Console, *, live: bool) -> Iterator[Screen]:
    """Give the full screen where `live` is wanted and `out` is a terminal, else lines on `notes`."""
    if live and out.is_terminal and not out.is_dumb_terminal:
        # The other screen of the terminal: drawn over in place, and gone afterwards.
        with Live(console=out, screen=True, auto_refresh=False) as drawn:
            yield _FullScreen(drawn)
    else:
        yield _Lines(notes)


class _FullScreen:
    def __init__(self, drawn: Live) -> None:
        self._drawn = drawn

    def show(self, snapshot: Snapshot) -> None:
        self._drawn.update(render(snapshot), refresh=True)


class _Lines:
    def __init__(self, notes: Console) -> None:
        self._notes = notes
        self._next_s = 0.0

    def show(self, snapshot: Snapshot) -> None:
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + LINE_S
        counts = "  ".join(f"{getattr(snapshot.totals, name):,} {name}" for name in TOTAL_STYLES)
        self._notes.print(
            f"{snapshot.elapsed_s:6.1f} s  {snapshot.events:,} events  {snapshot.events_per_s:,.0f}/s  "
            f"lag {format_lag(snapshot.lag_p50_ms)}  {counts}",
            markup=False,
            soft_wrap=True,
        )
