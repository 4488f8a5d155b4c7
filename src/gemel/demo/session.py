"""One run of the demo against a ready platform: a sender and a watcher side by side, and what they found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gemel.base.clock import from_us, now_us
from gemel.connectors.files import FileSource
from gemel.demo.assets import Site
from gemel.demo.counts import Counts
from gemel.demo.feeds import Outgoing, recorded, station
from gemel.demo.platform import Platform
from gemel.demo.reading import LastValues, RecordedValues, Values
from gemel.demo.replay import Pace, Pacer
from gemel.demo.screens import Screen
from gemel.demo.sending import Sender
from gemel.demo.view import Snapshot
from gemel.demo.watching import Watcher

__all__ = ["Plan", "Session", "plan_live", "plan_replay"]

FRAME_S = 0.25
JOIN_S_MAX = 10.0
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played: a feed whose source times pass at `speed`, from now (live) or from its first event."""

    title: str
    site: Site
    feed: Callable[[], Iterable[Outgoing]]
    speed: float = 1.0
    live: bool = True
    file: Path | None = None


def plan_live(site: Site) -> Plan:
    """Return the plan of the simulated station."""
    return Plan("pumping station, live", site, lambda: station(now_us))


def plan_replay(site: Site, source: FileSource, speed: float) -> Plan:
    """Return the plan of a recording, played once at `speed` times its own pace."""
    title = f"{source.path.name} at {speed:g}×"
    return Plan(title, site, lambda: recorded(source), speed, live=False, file=source.path)


class Session:
    """Plays a plan once. `snapshot` and `report` tell how it stands, during and after."""

    def __init__(self, plan: Plan, platform: Platform) -> None:
        self._plan = plan
        self._platform = platform
        self._stopped = threading.Event()
        self._pacer = Pacer(Pace(plan.speed), now_us, self._stopped.wait)
        self._counts = Counts()
        self._failures: list[BaseException] = []
        self._watcher: Watcher | None = None

    def play(self, screen: Screen, ended: Callable[[float], bool]) -> None:
        """Send and show until the feed is at its end, or `ended` says so of the seconds passed.

        Raises GemelError for what the platform refuses, and where it ends or does not answer any more.
        """
        twins = [twin["$dtId"] for twin in self._plan.site.twins]
        with self._platform.client() as to_send, self._platform.client() as to_look:
            sender = Sender(to_send, self._pacer, self._age_ms, self._counts, self._stopped)
            self._watcher = watcher = Watcher(
                to_look, self._values(), twins, self._age_ms, self._counts, self._stopped
            )
            threads = [self._start(lambda: sender.run(self._plan.feed())), self._start(watcher.run)]
            try:
                while not self._stopped.is_set() and not ended(self._counts.elapsed_s):
                    time.sleep(FRAME_S)
                    screen.show(self.snapshot())
                    self._platform.check()
            finally:
                self._counts.finish()
                self._stopped.set()
                for thread in threads:
                    thread.join(JOIN_S_MAX)
            self._platform.check()
            if self._failures:
                raise self._failures[0]
            watcher.look()

    def snapshot(self) -> Snapshot:
        """Return how it stands."""
        counts, watcher = self._counts, self._watcher
        return Snapshot(
            title=self._title(),
            url=self._platform.url,
            openapi_url=f"{self._platform.url}/openapi",
            elapsed_s=counts.elapsed_s,
            events_per_s=counts.events_per_s(),
            events=counts.events,
            totals=counts.totals,
            rows=watcher.rows if watcher else (),
            reasons=watcher.reasons if watcher else (),
            lag_p50_ms=counts.lag_ms(SHARES["p50"]),
            lag_p99_ms=counts.lag_ms(SHARES["p99"]),
            codes=counts.codes(),
            own=self._platform.own,
            live=self._plan.live,
        )

    def report(self) -> dict[str, Any]:
        """Return the summary as a JSON document; lags are None where no event was taken."""
        shown = self.snapshot()
        lags_ms = {name: self._counts.lag_ms(share) for name, share in SHARES.items()}
        return {
            "url": shown.url,
            "replay": None if self._plan.file is None else str(self._plan.file),
            "speed": self._plan.speed,
            "elapsed_s": round(shown.elapsed_s, 3),
            "events": shown.events,
            "events_per_s": round(shown.events / max(shown.elapsed_s, 1e-9), 1),
            **asdict(shown.totals),
            "codes": shown.codes,
            "twins": len({row.twin for row in shown.rows}),
            "series": len(shown.rows),
            "lag_ms": {name: None if lag is None else round(lag, 2) for name, lag in lags_ms.items()},
        }

    def _values(self) -> Values:
        if self._plan.live:
            return LastValues()
        return RecordedValues(lambda: self._counts.reached_us, self._plan.site.units())

    def _start(self, job: Callable[[], None]) -> threading.Thread:
        def work() -> None:
            try:
                job()
            except Exception as error:  # told on the main thread, whatever it is
                self._failures.append(error)
            finally:
                self._stopped.set()

        # A request that hangs does not keep the process.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _age_ms(self, source_us: int) -> float:
        """Return how long ago a source time was, in ms of our time, by the clock that the feed runs by."""
        now = now_us() if self._plan.live else self._pacer.source_now_us()
        return 0.0 if now is None else (now - source_us) / self._plan.speed / 1000

    def _title(self) -> str:
        source_us = None if self._plan.live else self._pacer.source_now_us()
        return (
            self._plan.title
            if source_us is None
            else f"{self._plan.title} · {from_us(source_us):%Y-%m-%d %H:%M:%S}"
        )
