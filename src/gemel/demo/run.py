"""`gemel demo`: platform, site, stream and view, from the first event to the summary."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import FrameType

from rich.console import Console
from rich.text import Text

from gemel.base.settings import Settings, load_settings
from gemel.demo.assets import PUMP_RIG, STATION, load_site
from gemel.demo.feeds import open_recording
from gemel.demo.platform import Access, Connect, Platform, open_platform
from gemel.demo.prepare import prepare
from gemel.demo.screens import open_screen
from gemel.demo.session import Plan, Session, plan_live, plan_replay
from gemel.demo.view import summary

__all__ = ["DemoOptions", "run"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `gemel demo` was asked for; `connect` makes the client of a URL and a key.

    `seconds` None runs until Ctrl-C, or to the end of the recording `replay`, which is played at `speed`
    times its own pace. `port` counts only where the platform must be started.
    """

    settings: Settings
    connect: Connect
    port: int = 8080
    seconds: float | None = None
    replay: Path | None = None
    speed: float = 60.0
    as_json: bool = False


def run(options: DemoOptions) -> int:
    """Run the demo until its end, Ctrl-C, SIGTERM or SIGHUP; print the summary; return the exit code, 0.

    A platform that it started is stopped, the database too, whatever happens.
    Raises GemelError: what `gemel up` gives (PortInUse, DatabaseFailed, ...), FileUnreadable for the
    recording, ConflictError where the graph holds other things under the demo's names.
    """
    notes = Console(stderr=True, highlight=False)
    with _signals() as interrupted, ExitStack() as stack:
        plan = _plan(options, stack)
        notes.print(Text.assemble(("◆ ", "cyan"), ("gemel demo", "bold"), f" · {plan.title}"))
        began_s = time.monotonic()
        access = Access(options.settings, options.connect)
        platform = stack.enter_context(open_platform(access, options.port, interrupted))
        if platform is None:
            notes.print("Stopped before it began.", style="dim")
            return 0
        with platform.client() as server:
            created = prepare(server, plan.site)
        notes.print(_opening(options, platform, time.monotonic() - began_s))
        notes.print(_contents(plan, created))
        _play(Session(plan, platform), options, notes, interrupted)
        if platform.own:
            notes.print("Stopping the platform and its database ...", style="dim")
    notes.print(_farewell(options, platform), style="dim", markup=False, soft_wrap=True)
    return 0


def _plan(options: DemoOptions, stack: ExitStack) -> Plan:
    if options.replay is None:
        return plan_live(load_site(STATION))
    source = stack.enter_context(open_recording(options.replay))
    return plan_replay(load_site(PUMP_RIG), source, options.speed)


def _play(session: Session, options: DemoOptions, notes: Console, interrupted: Callable[[], bool]) -> None:
    out = Console(highlight=False)

    def ended(elapsed_s: float) -> bool:
        return interrupted() or (options.seconds is not None and elapsed_s >= options.seconds)

    with open_screen(out, notes, live=not options.as_json) as screen:
        session.play(screen, ended)
    if options.as_json:
        sys.stdout.write(json.dumps(session.report(), ensure_ascii=False, indent=2) + "\n")
    else:
        out.print(summary(session.snapshot()))


def _opening(options: DemoOptions, platform: Platform, took_s: float) -> Text:
    how = f"started in {took_s:.1f} s" if platform.own else "was there already, and stays"
    return Text.assemble(
        ("  platform  ", "dim"), (platform.url, "cyan"), (f"  {how}\n", "dim"),
        ("  data      ", "dim"), str(options.settings.data_dir),
    )  # fmt: skip


def _contents(plan: Plan, created: int) -> Text:
    site = plan.site
    held = f"{len(site.models)} models, {len(site.twins)} twins, {len(site.relationships)} relationships"
    return Text.assemble(("  site      ", "dim"), held, ("" if created else "  as before", "dim"))


def _farewell(options: DemoOptions, platform: Platform) -> str:
    if not platform.own:
        return f"The platform at {platform.url} goes on, as it did before."
    data_dir = options.settings.data_dir
    place = "" if load_settings().data_dir == data_dir else f" --data {quote(str(data_dir))}"
    program = _program()
    return (
        f"Stopped. What was streamed is kept: `{program} up{place}` serves it, and then, in another terminal,\n"
        f"`{program} twins list{place}` and `{program} history show tank level{place}` show it."
        if options.replay is None
        else f"Stopped. What was played is kept: `{program} up{place}` serves it."
    )


def _program() -> str:
    """Return how this program is called from here: by its name where the shell finds it, else by its path."""
    own = Path(sys.argv[0]).absolute()
    if own.name != "gemel" or shutil.which("gemel") == str(own):
        return "gemel"
    with suppress(ValueError):
        return quote(str(own.relative_to(Path.cwd())))
    return quote(str(own))


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether a signal asked to stop; while the block runs, none does anything else."""
    # A flag, not an Event: the handler may run while the main thread holds an Event's lock.
    seen: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
