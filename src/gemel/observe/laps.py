"""How long each stage of a piece of work took: a mark at the end of each, one after the other."""

from __future__ import annotations

import time

__all__ = ["Laps"]


class Laps:
    """The stages of one piece of work, from when this is made; a mark costs about a tenth of a microsecond."""

    __slots__ = ("begun_s", "marks")

    def __init__(self) -> None:
        self.begun_s = time.perf_counter()
        self.marks: list[tuple[str, float]] = []

    def end(self, stage: str) -> None:
        """Say that a stage ends now, which began where the one before ended."""
        self.marks.append((stage, time.perf_counter()))

    def stages(self) -> list[tuple[str, float, float]]:
        """Return each stage with its beginning and end, in seconds of time.perf_counter; one may come again."""
        begun_s, found = self.begun_s, []
        for stage, end_s in self.marks:
            found.append((stage, begun_s, end_s))
            begun_s = end_s
        return found
