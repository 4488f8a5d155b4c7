"""A wall clock that a test can move, for a process and its children: a small library that is built and preloaded."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

__all__ = ["ShiftedClock"]

SOURCE = Path(__file__).with_name("shifted_clock.c")


class ShiftedClock:
    """The clock of whatever is started with its `environment`; files are made in a folder that all may read."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "shifted_clock.so", folder / "shift"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self.environment = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}
        self._file.write_bytes(struct.pack("=q", 0))

    def shift(self, seconds: int) -> None:
        """Set the clock ahead of the true time, or with a negative number behind it."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
