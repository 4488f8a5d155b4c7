"""Lines of a file as bytes, with the offset behind them known exactly; a limit on each and on all at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gemel.connectors.rows import open_binary, unreadable

__all__ = ["LineFile", "LineRows"]

LINE_BYTES_MAX: Final = 1 << 20
CHUNK_BYTES_MAX: Final = 4 << 20
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class LineFile:
    """A file read line by line; `offset` is where the next line not yet given out starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_binary(path)
        self.bytes_total = os.fstat(self._file.fileno()).st_size
        if self._file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            self._file.seek(0)
        self.offset = self._file.tell()

    def lines(self, count_max: int) -> list[bytes]:
        """Return the next lines with their line ends: at most so many, and about 4 MiB; empty at the end.

        Raises InvalidError (FileUnreadable) for a line over 1 MiB.
        """
        taken: list[bytes] = []
        size = 0
        readline = self._file.readline
        while len(taken) < count_max and size < CHUNK_BYTES_MAX:
            line = readline(LINE_BYTES_MAX)
            if not line:
                break
            size += len(line)
            if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
                problem = f"the line at byte {self.offset + size - len(line)} is over {LINE_BYTES_MAX} bytes"
                raise unreadable(self._path, problem, "Is the file of the type the mapping says?")
            taken.append(line)
        self.offset += size
        return taken

    def seek(self, offset: int) -> None:
        """Go on at an offset in bytes."""
        self._file.seek(offset)
        self.offset = offset

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LineRows:
    """What readers of files of lines have in common: the file, the rows read so far, and where it goes on."""

    def __init__(self, path: Path) -> None:
        self._lines = LineFile(path)
        self._row = 0
        self.bytes_total = self._lines.bytes_total

    @property
    def row(self) -> int:
        """Rows read so far, malformed and blank ones included."""
        return self._row

    @property
    def offset(self) -> int:
        """The byte at which the next row starts."""
        return self._lines.offset

    @property
    def bytes_done(self) -> int:
        """Bytes read so far."""
        return self._lines.offset

    def seek(self, row: int, offset: int) -> None:
        """Go on at a row that starts at the offset."""
        self._row = row
        self._lines.seek(offset)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
