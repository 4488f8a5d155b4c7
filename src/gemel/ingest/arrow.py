"""Arrow IPC streams in: a row is an event, in one of two layouts. Needs the extra gemel[arrow].

Rows: twin, path, time, and one value or several columns of them, of which the first that is not null counts.
Wide: twin, time, and a column for each path; a null is no value. Both may have id, source, type, revision and
quality. Source: Apache Arrow Columnar Format 1.5.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from gemel.base.clock import iso_us
from gemel.base.errors import EnvironmentFaultError, GemelError, InvalidError, TooLargeError
from gemel.history.samples import Ints
from gemel.history.values import QUALITIES
from gemel.ingest.arrow_framing import UNPACKED_MAX, malformed, measure
from gemel.ingest.events import Decoded, decode_loose
from gemel.ingest.table import Cells, EventTable, Flags, Raws, Texts

__all__ = ["ARROW", "decode_arrow"]

ARROW = "application/vnd.apache.arrow.stream"

TWIN, TIME, PATH, VALUE = "twin", "time", "path", "value"
NAMES = ("id", "source", "type", "revision", "quality")
FIELD_PATH = b"gemel.path"
SOURCE, TYPE = "arrow", "telemetry"
US_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
TIME_FAR_US = 2**62


def decode_arrow(body: bytes) -> Decoded:
    """Decode a stream to a table of events.

    Raises what `measure` raises; InvalidError: BodyMalformed where its data do not hold together, ColumnsInvalid where
    its columns are of no layout; TooLargeError (BodyTooLarge) for texts of more than UNPACKED_MAX bytes in all;
    EnvironmentFaultError (ExtraMissing) where pyarrow is not installed.
    """
    pa = _pyarrow()
    measure(body)
    try:
        table = pa.ipc.open_stream(
            pa.py_buffer(body), options=pa.ipc.IpcReadOptions(use_threads=False)
        ).read_all()
        table.validate(full=True)
        events = _Reader(pa, table, body).events()
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise malformed(str(error).strip().rstrip(".")) from error
    return Decoded(events, b"", ARROW, Raws(events), events.twins.values)


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.ipc
    except ImportError as error:
        raise EnvironmentFaultError(
            "ExtraMissing", "Arrow needs pyarrow on the server.", "`pip install 'gemel[arrow]'` there."
        ) from error
    return pa


class _Reader:
    """Reads a stream's columns; knows which are values and which are about the event."""

    def __init__(self, pa: Any, table: Any, body: bytes) -> None:
        self._pa = pa
        self._rows: int = table.num_rows
        self._body = body
        self._columns: dict[str, Any] = {}
        self._wide: dict[str, Any] = {}
        self._said = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        self._sort(table)

    def events(self) -> EventTable:
        """Return the rows as events."""
        if TWIN not in self._columns or TIME not in self._columns:
            raise _invalid(
                f"The stream has no column {TWIN if TWIN not in self._columns else TIME!r}.",
                "Send twin, path, time, value; or twin, time and a column for each path.",
            )
        time_us, timed = self._times(self._columns[TIME])
        return EventTable(
            twins=self._texts(TWIN),
            time_us=time_us,
            timed=timed,
            ids=self._texts("id") if "id" in self._columns else self._id_base(),
            sources=self._named("source", SOURCE),
            types=self._named("type", TYPE),
            revisions=self._revisions(),
            qualities=self._qualities(),
            cells=[cells for cells in self._cells() if len(cells)],
        )

    def _sort(self, table: Any) -> None:
        """Tell the columns of the layout from the values of paths."""
        names = [field.name for field in table.schema]
        is_long = PATH in names
        own = {TWIN, TIME, *NAMES, *((PATH,) if is_long else ())}
        for place, field in enumerate(table.schema):
            path = (field.metadata or {}).get(FIELD_PATH)
            is_value = path is not None or field.name not in own
            if is_long and is_value and not field.name.startswith(VALUE):
                raise _invalid(
                    f"Beside {PATH!r} the stream has a column {field.name!r}, which is none of the layout.",
                    "Begin the names of columns of values with 'value', or leave 'path' out.",
                )
            key = path.decode() if path is not None and not is_long else field.name
            target = self._wide if is_value else self._columns
            if key in target:
                raise _invalid(f"The stream has two columns {key!r}.", "Name each once.")
            target[key] = self._whole(table.column(place))

    def _whole(self, column: Any) -> Any:
        """Return a column as one array, whose dictionary, if it has one, is no longer than it."""
        if self._pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
        if isinstance(column.type, self._pa.BaseExtensionType):
            kind = column.type
            return _Extended(kind.extension_name, self._whole(self._storage(column)))
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if self._pa.types.is_dictionary(array.type) and not self._is_text(array.type.value_type):
            array = array.dictionary_decode()
        return array

    def _storage(self, column: Any) -> Any:
        return self._pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)

    def _is_text(self, kind: Any) -> bool:
        types = self._pa.types
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))

    def _id_base(self) -> str:
        """Return what the ids of all rows begin with: what the stream says, or the digest of its bytes."""
        return self._said.get("gemel.id") or hashlib.blake2b(self._body, digest_size=8).hexdigest()

    def _named(self, name: str, default: str) -> Texts:
        if name in self._columns:
            return self._texts(name)
        return Texts.alike(self._said.get(f"gemel.{name}") or default, self._rows)

    def _texts(self, name: str) -> Texts:
        array = self._columns[name]
        is_text = not isinstance(array, _Extended) and (
            self._is_text(array.type)
            or (self._pa.types.is_dictionary(array.type) and self._is_text(array.type.value_type))
        )
        if not is_text:
            raise _invalid(
                f"The column {name!r} holds no texts.", "Make it a string or a dictionary of them."
            )
        values, codes = self._distinct(array)
        return Texts(values, codes)

    def _distinct(self, array: Any) -> tuple[list[Any], Ints]:
        """Return the different values of an array, and which of them each row has; -1 for null."""
        if not self._pa.types.is_dictionary(array.type):
            array = self._pa.compute.dictionary_encode(array)
        codes = array.indices.fill_null(-1).cast(self._pa.int64()).to_numpy(zero_copy_only=False)
        dictionary = array.dictionary
        if len(dictionary) > len(codes):
            used, codes = np.unique(codes, return_inverse=True)
            nulls = int(len(used) > 0 and used[0] < 0)
            dictionary, codes = dictionary.take(self._pa.array(used[nulls:])), codes.astype(np.int64) - nulls
        values = dictionary.to_pylist()
        if dictionary.null_count:
            codes = np.where(np.array([value is None for value in (*values, None)])[codes], -1, codes)
        return values, codes

    def _times(self, array: Any) -> tuple[Ints, Flags]:
        kind = None if isinstance(array, _Extended) else array.type
        if kind is None or not self._pa.types.is_timestamp(kind):
            raise _invalid(f"The column {TIME!r} is no timestamp.", "Cast it to timestamp('us', tz='UTC').")
        if kind.tz is None:
            raise InvalidError(
                "TimeNaive",
                f"The column {TIME!r} has no zone, so that its moments are not known.",
                "Cast it to timestamp('us', tz='UTC').",
            )
        return self._us(array), _given(array)

    def _us(self, array: Any) -> Ints:
        """Return timestamps as µs; what is out of all range is left far out."""
        raw = array.view(self._pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        if array.type.unit == "ns":
            return np.asarray(raw // 1000, np.int64)
        factor = US_PER_UNIT[array.type.unit]
        far = TIME_FAR_US // factor
        return np.asarray(np.clip(raw, -far, far) * factor, np.int64)

    def _revisions(self) -> Ints:
        array = self._columns.get("revision")
        if array is None:
            return np.zeros(self._rows, np.int64)
        if isinstance(array, _Extended) or not self._pa.types.is_integer(array.type):
            raise _invalid("The column 'revision' holds no whole numbers.", "Make it an int32.")
        return np.asarray(array.cast(self._pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), np.int64)

    def _qualities(self) -> Texts:
        if "quality" not in self._columns:
            return Texts.alike(QUALITIES[0], self._rows)
        values, codes = self._texts("quality")
        return Texts([*values, QUALITIES[0]], np.where(codes < 0, len(values), codes))

    def _cells(self) -> list[Cells]:
        if PATH not in self._columns:
            nowhere = np.zeros(0, np.int64)
            return [self._cells_of(array, [path], nowhere, None) for path, array in self._wide.items()]
        if not self._wide:
            raise _invalid("Beside 'path' the stream has no column 'value'.", "Add it.")
        paths = self._texts(PATH)
        left = paths.codes >= 0
        cells = []
        for array in self._wide.values():
            cells.append(self._cells_of(array, [value or "" for value in paths.values], paths.codes, left))
            left[cells[-1].rows] = False
        return cells

    def _cells_of(self, array: Any, paths: list[str], path: Ints, wanted: Flags | None) -> Cells:
        """Return a column's values where they are not null and wanted; `path` may be empty for one path."""
        given = _given(array.storage if isinstance(array, _Extended) else array)
        rows = np.flatnonzero(given if wanted is None else given & wanted)
        own = path[rows] if len(path) else np.zeros(len(rows), np.int64)
        numbers = None if isinstance(array, _Extended) else self._numbers(array)
        if numbers is not None:
            numbers = numbers if len(rows) == len(numbers) else numbers[rows]
            return Cells(rows, paths, own, numbers, [], np.zeros(0, np.int64))
        distinct, codes = self._others(array)
        codes = codes[rows]
        _check_texts(distinct, codes)
        return Cells(rows, paths, own, None, distinct, codes)

    def _numbers(self, array: Any) -> Any:
        """Return a column of numbers as float64 or int64; None for others, and for integers beyond 64 bits."""
        types, kind = self._pa.types, array.type
        if types.is_floating(kind):
            return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)
        if not types.is_integer(kind):
            return None
        whole = array.fill_null(0).to_numpy(zero_copy_only=False)
        if types.is_uint64(kind) and len(whole) and int(whole.max()) >= 2**63:
            return None
        return np.asarray(whole, np.int64)

    def _others(self, array: Any) -> tuple[list[Any], Ints]:
        """Return the different values of a column as JSON has them, and which of them each row has."""
        if isinstance(array, _Extended):
            values, codes = self._distinct(array.storage)
            return [_extended(array.name, value) for value in values], codes
        kind, types = array.type, self._pa.types
        if types.is_null(kind):
            return [], np.full(len(array), -1, np.int64)
        if types.is_timestamp(kind):
            told, codes = np.unique(self._us(array), return_inverse=True)
            zone = "Z" if kind.tz else ""
            return [_moment(us, zone) for us in told.tolist()], codes.astype(np.int64)
        if types.is_duration(kind):
            array = array.cast(self._pa.duration("us"), safe=False)
        if types.is_time64(kind):
            array = array.cast(self._pa.time64("us"), safe=False)
        values, codes = self._distinct(array)
        return [_json_like(value) for value in values], codes


class _Extended:
    """A column of an extension type: its name, and the array that stores it."""

    def __init__(self, name: str, storage: Any) -> None:
        self.name = name
        self.storage = storage


def _given(array: Any) -> Flags:
    if array.null_count == 0:
        return np.ones(len(array), np.bool_)
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _check_texts(distinct: list[Any], codes: Ints) -> None:
    """Refuse a stream whose texts, each as often as it stands there, are too many bytes in all."""
    lengths = np.array([*(len(value) if isinstance(value, str) else 8 for value in distinct), 0], np.int64)
    if int(lengths[codes].sum()) > UNPACKED_MAX:
        raise _too_long()


def _too_long() -> GemelError:
    return TooLargeError(
        "BodyTooLarge", f"The stream has more than {UNPACKED_MAX} bytes of texts.", "Split it."
    )


def _moment(time_us: int, zone: str) -> str:
    text = iso_us(time_us) if 0 <= time_us < TIME_FAR_US // 18 else f"{np.datetime64(time_us, 'us')}Z"
    return text[:-1] + zone


def _extended(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "arrow.json":
        try:
            return decode_loose(value.encode())
        except (ValueError, RecursionError):
            return value  # a text, which fits where a text does
    if name == "arrow.uuid":
        return str(UUID(bytes=value))
    return _json_like(value)


def _duration(value: timedelta) -> str:
    us = value // timedelta(microseconds=1)
    sign, us = ("-", -us) if us < 0 else ("", us)
    return f"{sign}PT{us // 1_000_000}" + (f".{us % 1_000_000:06d}" if us % 1_000_000 else "") + "S"


JSON_LIKE: Mapping[type, Callable[[Any], Any]] = {
    bytes: lambda value: base64.b64encode(value).decode(),
    Decimal: lambda value: f"{value:f}",
    date: date.isoformat,
    datetime: lambda value: value.date().isoformat(),
    time: lambda value: f"{value.isoformat()}Z",
    timedelta: _duration,
}


def _json_like(value: Any) -> Any:
    """Return a value as JSON has it: bytes in base64, times of day in UTC, durations as ISO 8601."""
    told = JSON_LIKE.get(type(value))
    return value if told is None else told(value)


def _invalid(message: str, hint: str) -> InvalidError:
    return InvalidError("ColumnsInvalid", message, hint)
