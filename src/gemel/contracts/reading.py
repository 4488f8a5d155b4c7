"""Files of samples: JSON, a JSON value a line, CSV or Parquet, in pieces with the number of each sample."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.contracts.checking import Checker, Rule
from gemel.contracts.document import Contract
from gemel.mapping.samples import read_samples

__all__ = ["check_file", "column_readers"]

AT_ONCE: Final = 2000
FLAGS: Final = {"true": True, "false": False}
FIELD_CHARS_MAX: Final = 1 << 20


def check_file(checker: Checker, path: Path) -> None:
    """Check the samples of a file. Raises InvalidError (FileUnreadable), EnvironmentFaultError (ExtraMissing)."""
    try:
        read = {".csv": _csv, ".parquet": _parquet}.get(path.suffix.lower(), _json)
        rows = iter(read(path, checker))
        while some := list(islice(rows, AT_ONCE)):
            checker.take(some)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    if not checker.samples and checker.kept:
        raise _unreadable(path, "it holds no sample")


def _json(path: Path, checker: Checker) -> Iterator[tuple[int, Any]]:
    decode = msgspec.json.Decoder().decode
    number = 0
    for raw in read_samples(path.read_bytes(), str(path)):
        try:
            found = decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            number += 1
            checker.found(Rule("malformed", ""), number, f"it is not JSON: {error}")
            continue
        # A document that is a list is one of samples, unless the contract says where they stand.
        whole = isinstance(found, list) and checker.contract.each is None
        for each in found if whole else (found,):
            number += 1
            yield number, each


def _csv(path: Path, checker: Checker) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(FIELD_CHARS_MAX)
    readers = _cell_readers(checker.contract)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        header = next(rows, None)
        if header is None:
            return
        columns = [(name, readers.get(name, _text)) for name in header]
        for number, row in enumerate(rows, 1):
            if not row:
                continue
            if len(row) != len(header):
                checker.found(Rule("malformed", ""), number, f"{len(row)} cells, not {len(header)}")
                continue
            yield number, {name: read(cell) for (name, read), cell in zip(columns, row, strict=True)}


def _parquet(path: Path, checker: Checker) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        message = "Parquet needs the package pyarrow."
        raise EnvironmentFaultError("ExtraMissing", message, "pip install 'gemel[arrow]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pyarrow.ArrowException as error:
        raise _unreadable(path, str(error)) from error


def _cell_readers(contract: Contract) -> dict[str, Callable[[str], Any]]:
    """Return how cells are read: as what the contract says that they are, else as text."""
    kinds: dict[str, Callable[[str], Any]] = {"number": _number, "integer": _number, "boolean": _flag}
    readers = {name: kinds.get(rule.type, _text) for name, rule in contract.fields.items()}
    if contract.time is not None and contract.format.startswith("unix"):
        readers.setdefault(contract.time.text, _number)
    return readers


def column_readers(contract: Contract) -> dict[str, Callable[[Sequence[str]], list[Any]]]:
    """Return how columns of cells are read that are no texts, by name."""
    return {
        name: partial(_column, each) for name, each in _cell_readers(contract).items() if each is not _text
    }


def _column(one: Callable[[str], Any], cells: Sequence[str]) -> list[Any]:
    if one is _number:
        try:
            return list(map(float, cells))
        except ValueError:
            pass
    return list(map(one, cells))


def _text(cell: str) -> str | None:
    return cell or None


def _number(cell: str) -> Any:
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell or None


def _flag(cell: str) -> Any:
    return FLAGS.get(cell.strip().lower(), cell or None)


def _unreadable(path: Path, problem: str) -> InvalidError:
    return InvalidError(
        "FileUnreadable", f"{path} cannot be read: {problem}.", "Give it JSON, CSV or Parquet."
    )
