"""A folder as a source: files that come to rest in it are read once each, in the order of their age.

What a file is, is its content: under another name, or written again as it was, it is passed over. One that grew by
lines goes on behind those that were read. How far each is read, and that it is finished, commits with its events.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gemel.base.clock import now_us
from gemel.base.errors import Detail, EnvironmentFaultError, InvalidError, UnavailableError
from gemel.connectors.files import Batch, FileSource, Part, open_source
from gemel.connectors.looking import row_looker
from gemel.connectors.rows import Position
from gemel.ingest.events import LINES, Decoded, Event, decode_body
from gemel.mapping.tables import Mapping as FileMapping
from gemel.mapping.tables import parse_mapping
from gemel.sources.contract import Marks, SourceBatch
from gemel.sources.definition import Definition, Limits
from gemel.sources.permits import Place

__all__ = ["FolderKind", "FolderSource"]

FILES_MAX: Final = 100_000
LOOK_S: Final = 0.5
UNENDED: Final = 10
"""How often `settle_s` a file rests whose last line has no end: its writer may be in the middle of a number."""
DONE: Final = "done"
REFUSED: Final = "refused"
LINES_TYPES: Final = ("csv", "ndjson")
"""Files that may grow by lines at their end."""
BLOCK_BYTES: Final = 1 << 20
CONTENT_DIGITS: Final = 40
MARK_PARTS: Final = 5
"""Of a name whose file was read: size, time of its last change, mapping, rows, content."""


class Stamp(NamedTuple):
    """What a file shows of itself without being read: size in bytes and time of its last change in ns."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """Where files come, which of them are read, and for how long one must not change before it is."""

    folder: Path
    pattern: str
    settle_s: float


class FolderKind:
    """Sources of kind `folder`."""

    def check(self, definition: Definition, place: Place) -> None:
        """Raise InvalidError (SourceInvalid, SourceNotAllowed, MappingInvalid) for what can be seen from here."""
        _settings(definition, place)
        _mapping(definition)

    async def open(self, definition: Definition, place: Place, marks: Marks) -> FolderSource:
        """Return the source; raises as `check`, and UnavailableError (SourceUnavailable) without the folder."""
        settings = _settings(definition, place)
        mapping = await asyncio.to_thread(_mapping, definition)
        source = FolderSource(settings, mapping, definition, marks)
        await asyncio.to_thread(source.look)
        return source


@dataclass(slots=True)
class _Open:
    """A file that is being read: its name, what it is known by, and its reader."""

    name: str
    stamp: Stamp
    content: str
    reader: FileSource


class FolderSource:
    """The files of a folder, one after the other, each from where it was left."""

    def __init__(
        self, settings: FolderSettings, mapping: FileMapping, definition: Definition, marks: Marks
    ) -> None:
        self._settings = settings
        self._mapping = mapping
        self._create = definition.create_twins
        self._marks = marks
        self._finished: dict[str, Stamp] = {}
        self._resting: dict[str, tuple[Stamp, float]] = {}
        self._asked: dict[str, Stamp] = {}
        self._open: _Open | None = None
        self._ready: deque[SourceBatch] = deque()
        self._rows = definition.limits.events_max
        self._look = None if definition.watch is None else row_looker(definition.watch, mapping.format.type)

    async def next_batch(self, limits: Limits) -> SourceBatch | None:
        """Return the next events of a file, or None where there is none to read within the wait."""
        deadline_s = time.monotonic() + limits.wait_s
        while not self._ready:
            if self._open is None and not await self._next_file():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return None
                await asyncio.sleep(min(LOOK_S, self._settings.settle_s, left_s))
                continue
            if self._open is not None:
                self._ready.extend(await asyncio.to_thread(self._read, self._open, limits))
        return self._ready.popleft()

    async def commit(self, position: Mapping[str, str]) -> None:
        """Do nothing: nobody on the other side waits for it."""

    async def close(self) -> None:
        """Close the file under way."""
        if self._open is not None:
            self._open.reader.close()
            self._open = None

    def look(self) -> dict[str, Stamp]:
        """Return the regular files that fit the pattern. Raises UnavailableError (SourceUnavailable)."""
        found = {}
        try:
            with os.scandir(self._settings.folder) as entries:
                for entry in entries:
                    hidden = entry.name.startswith(".")
                    if hidden or not fnmatch.fnmatchcase(entry.name, self._settings.pattern):
                        continue
                    stamp = _stamp(entry)
                    if stamp is not None:
                        found[entry.name] = stamp
        except OSError as error:
            problem = f"The folder {self._settings.folder} cannot be read: {error.strerror or error}."
            raise UnavailableError("SourceUnavailable", problem, "Check path and rights.") from error
        if len(found) > FILES_MAX:
            problem = f"The folder {self._settings.folder} has more than {FILES_MAX} files."
            raise UnavailableError("SourceUnavailable", problem, "Move away those that are finished.")
        return found

    async def _next_file(self) -> bool:
        """Open the oldest file that rests and is not finished, or find it finished; False where there is none."""
        there = await asyncio.to_thread(self.look)
        for known in (self._finished, self._resting, self._asked):
            _forget(known, there)
        fresh = {name: stamp for name, stamp in there.items() if stamp != self._finished.get(name)}
        await self._remember(fresh)
        now_s = time.monotonic()
        resting = []
        for name, stamp in fresh.items():
            before, since_s = self._resting.get(name, (None, now_s))
            if before != stamp:
                since_s = now_s
            self._resting[name] = (stamp, since_s)
            # An empty file is one that is about to be written.
            rest_s = now_s - since_s
            if not stamp.size or rest_s < self._settings.settle_s:
                continue
            path = self._settings.folder / name
            if rest_s >= UNENDED * self._settings.settle_s or await asyncio.to_thread(_is_ended, path):
                resting.append((stamp.mtime_ns, name, stamp))
        if not resting:
            return False
        _, name, stamp = min(resting)
        await self._begin(name, stamp)
        return True

    async def _remember(self, fresh: dict[str, Stamp]) -> None:
        """Find out which files were finished under these names, as they stand, in an earlier life."""
        unasked = [name for name, stamp in fresh.items() if self._asked.get(name) != stamp]
        if not unasked:
            return
        kept = await self._marks.read([_name_part(name) for name in unasked])
        for name in unasked:
            stamp = self._asked[name] = fresh[name]
            if _is_of(kept.get(_name_part(name), ""), self._name_mark(stamp)):
                self._finished[name] = stamp
                del fresh[name]

    async def _begin(self, name: str, stamp: Stamp) -> None:
        path = self._settings.folder / name
        try:
            content = await asyncio.to_thread(_digest, path, self._mapping)
            marks = await self._marks.read([content, _name_part(name)])
            kept = marks.get(content, "")
            if kept == DONE or kept.startswith(REFUSED):
                self._finish(name, stamp)
                self._ready.append(_nothing({_name_part(name): self._name_mark(stamp)}))
                return
            if not kept:
                kept = await asyncio.to_thread(self._grown, path, stamp, marks.get(_name_part(name), ""))
            reader = await asyncio.to_thread(open_source, path, self._mapping, self._look)
        except FileNotFoundError:
            self._resting.pop(name, None)
            return
        except OSError as error:
            # Not its content, which may be mended under the same name.
            self._finish(name, stamp)
            problem = f"{name} cannot be read: {error.strerror or error}."
            self._ready.append(_nothing({}, problem))
            return
        except EnvironmentFaultError:
            raise
        except InvalidError as error:
            self._refuse(name, stamp, content, error)
            return
        self._open = _Open(name, stamp, content, reader)
        try:
            _resume(reader, kept)
        except InvalidError:
            reader.rewind()

    def _read(self, file: _Open, limits: Limits) -> Iterable[SourceBatch]:
        """Read the next rows of the open file; close it at its end, or where it changes under the reading."""
        reader = file.reader
        try:
            batch = reader.next_batch(min(self._rows, limits.events_max))
            if _stamp_of(reader.path) != file.stamp:
                raise InvalidError("FileChanged", f"{file.name} was written to while it was read.")
        except OSError:
            self._drop(file)
            return []
        except InvalidError as error:
            self._drop(file)
            if error.code != "FileChanged":
                self._refuse(file.name, file.stamp, file.content, error)
            return []
        done = batch is None or reader.bytes_done >= reader.bytes_total
        where = DONE if done else f"{reader.position.row}:{reader.position.offset}"
        position = {file.content: where}
        if done:
            read = f"{reader.position.row}:{_content_of(file.content)}"
            position[_name_part(file.name)] = f"{self._name_mark(file.stamp)}:{read}"
            self._drop(file)
            self._finish(file.name, file.stamp)
        return self._batches(file, batch, position, limits)

    def _batches(
        self, file: _Open, batch: Batch | None, position: dict[str, str], limits: Limits
    ) -> list[SourceBatch]:
        """Return rows as batches: one for each model, of which the last carries the position."""
        received_us = now_us()
        batches: list[SourceBatch] = []
        encoder = msgspec.json.Encoder()
        for part in batch.parts if batch is not None else ():
            body = encoder.encode_lines(part.events)
            decoded = decode_body(body, LINES)
            if batch is not None and batch.broken:
                decoded.events = list(_held_back(decoded, part, batch))
            if len(body) > limits.bytes_max:
                self._rows = max(1, len(part.events) * limits.bytes_max // len(body))
            batches.append(
                SourceBatch(
                    decoded=decoded,
                    received_us=received_us,
                    weight=len(body),
                    file=file.name,
                    mapping=self._mapping.label,
                    create_model=part.model if self._create else None,
                )
            )
        if not batches:
            return [_nothing(position)]
        batches[-1] = replace(batches[-1], position=position)
        return batches

    def _drop(self, file: _Open) -> None:
        file.reader.close()
        self._open = None
        self._resting.pop(file.name, None)

    def _finish(self, name: str, stamp: Stamp) -> None:
        self._finished[name] = stamp
        self._resting.pop(name, None)

    def _refuse(self, name: str, stamp: Stamp, content: str, error: InvalidError) -> None:
        """Pass a file over for what is wrong with it, so that the others are read."""
        self._finish(name, stamp)
        position = {content: f"{REFUSED} {error.code}", _name_part(name): self._name_mark(stamp)}
        self._ready.append(_nothing(position, f"{name} is passed over: {error}"))

    def _grown(self, path: Path, stamp: Stamp, mark: str) -> str:
        """Return from where to read a file that begins with all of what was read under its name; else nothing.

        Of what was read the last line has ended, and, of CSV, every quote is closed: else what follows belongs to it.
        """
        size, row, content = _read_before(mark, self._mapping.digest)
        if self._mapping.format.type not in LINES_TYPES or not 0 < size < stamp.size:
            return ""
        digest, quotes, end = hashlib.sha256(), 0, b""
        with path.open("rb") as file:
            left = size
            while left and (block := file.read(min(left, BLOCK_BYTES))):
                digest.update(block)
                quotes += block.count(b'"')
                left, end = left - len(block), block[-1:]
        whole = end == b"\n" and (self._mapping.format.type != "csv" or quotes % 2 == 0)
        same = not left and digest.hexdigest()[:CONTENT_DIGITS] == content
        return f"{row}:{size}" if same and whole else ""

    def _name_mark(self, stamp: Stamp) -> str:
        return f"{stamp.size}:{stamp.mtime_ns}:{self._mapping.digest}"


def _settings(definition: Definition, place: Place) -> FolderSettings:
    fields = definition.connection_fields()
    folder = fields.text("folder")
    found = FolderSettings(
        folder=place.folder(folder),
        pattern=fields.text("files", "*"),
        settle_s=fields.number("settle_s", 2.0, 0.05, 86_400),
    )
    fields.finish()
    if not os.path.isabs(folder):
        raise fields.fault("folder", f"{folder!r} is not an absolute path", "As in /data/in.")
    if "/" in found.pattern:
        raise fields.fault("files", "fits names in the folder itself, and has no slash", 'As in "*.csv".')
    return found


def _mapping(definition: Definition) -> FileMapping:
    if definition.mapping is None:
        message = "The source's mapping: is missing."
        raise InvalidError("SourceInvalid", message, "Name a mapping file, or put its keys there.")
    found = parse_mapping(definition.mapping.text.encode(), definition.mapping.file)
    for index, rule in enumerate(found.twins):
        if definition.create_twins and rule.model is None:
            message = f"{found.file}: twins[{index}].model: is missing, and twins are to be created."
            raise InvalidError(
                "MappingInvalid", message, "Add the model's DTMI there, or create the twins first."
            )
    return found


def _resume(reader: FileSource, kept: str) -> None:
    row, _, offset = kept.partition(":")
    if row.isdecimal() and offset.isdecimal():
        reader.seek(Position(reader.file_id, int(row), int(offset)))


def _held_back(decoded: Decoded, part: Part, batch: Batch) -> Iterator[Event | Detail]:
    """Yield the events of rows, and for rows that must not be taken the reason why."""
    for event, row in zip(decoded.events, part.rows, strict=True):
        broken = batch.broken.get(row)
        if broken is None or isinstance(event, Detail):
            yield event
        else:
            yield Detail(broken.code, f"row {row}: {broken.problem}")


def _digest(path: Path, mapping: FileMapping) -> str:
    """Return what a file is known by: all of its content, and the mapping that reads it."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"content:{content[:CONTENT_DIGITS]}-{mapping.digest}"


def _content_of(known_by: str) -> str:
    return known_by.removeprefix("content:").partition("-")[0]


def _is_of(mark: str, own: str) -> bool:
    """Whether the mark kept of a name is of a stamp; behind it may stand how many rows were read, and of what."""
    return mark == own or mark.startswith(f"{own}:")


def _read_before(mark: str, mapping: str) -> tuple[int, int, str]:
    """Return size, rows and content of what was read to its end under a name; of another mapping nothing."""
    parts = mark.split(":")
    if len(parts) != MARK_PARTS or parts[2] != mapping:
        return 0, 0, ""
    return int(parts[0]), int(parts[3]), parts[4]


def _is_ended(path: Path) -> bool:
    """Whether a file ends as whole ones do: with the end of a line, or the mark of Parquet."""
    try:
        with path.open("rb") as file:
            file.seek(-min(4, path.stat().st_size), os.SEEK_END)
            end = file.read()
    except OSError:
        # Whoever opens it next says what is wrong.
        return True
    return end.endswith(b"\n") or end == b"PAR1"


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """Return the stamp of a regular file; None for anything else, links too, and for what is gone."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Stamp(found.st_size, found.st_mtime_ns)


def _stamp_of(path: Path) -> Stamp:
    found = path.stat(follow_symlinks=False)
    return Stamp(found.st_size, found.st_mtime_ns)


def _forget(known: dict[str, Any], there: Mapping[str, Stamp]) -> None:
    for name in known.keys() - there.keys():
        del known[name]


def _name_part(name: str) -> str:
    return f"name:{name}"


def _nothing(position: Mapping[str, str], problem: str | None = None) -> SourceBatch:
    """Return a batch without events, which keeps a position or tells of a problem."""
    return SourceBatch(Decoded([], b"", LINES), now_us(), position, problem=problem)
