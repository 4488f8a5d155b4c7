"""A body cut into its events' own bytes, whatever is wrong within them; how many a body may hold."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import msgspec
import numpy as np

from gemel.base.errors import InvalidError, TooLargeError

__all__ = ["EVENTS_MAX", "VALUES_MAX", "count_values", "split_array", "split_lines", "split_objects"]

EVENTS_MAX = 100_000
"""The most events of one body: more than the smallest valid ones that fit the default body limit."""

VALUES_MAX = 1 << 20
"""The most JSON values of one body: each costs some hundred bytes once decoded, whatever it took on the wire."""

# Possessive, and a text may lack its end: else a body of quotes would be read once for each of them.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
OPENING, CLOSING = b"[{", b"]}"

_raws = msgspec.json.Decoder(list[msgspec.Raw])


def count_values(body: bytes) -> int:
    """Return how many JSON values a body may hold at most, at the cost of reading its bytes."""
    data = np.frombuffer(body, np.uint8)
    return 1 + sum(int(np.count_nonzero(data == mark)) for mark in b",[{")


def split_lines(body: bytes) -> list[bytes]:
    """Return the lines that are not blank. Raises TooLargeError (BodyTooLarge) beyond EVENTS_MAX."""
    return _bounded(line.rstrip(b"\n") for line in io.BytesIO(body) if line.strip())


def split_objects(body: bytes, count: int) -> list[bytes]:
    """Return the `count` JSON objects that stand one after another in a body known to be well-formed."""
    stripped = body.strip()
    lines = stripped.split(b"\n")
    # A line break within a JSON object never stands between a } and a {.
    if len(lines) == count == stripped.count(b"}\n{") + 1:
        return lines
    return list(_objects(stripped))


def split_array(body: bytes) -> list[bytes]:
    """Return the elements of a JSON array.

    Only brackets, commas and texts are looked at, so that one element that is not JSON, not UTF-8 or nested
    without end costs only itself. Raises InvalidError (BodyMalformed) where the brackets do not match, and
    TooLargeError (BodyTooLarge) beyond EVENTS_MAX.
    """
    try:
        return _bounded(bytes(part) for part in _raws.decode(body))
    except (msgspec.DecodeError, RecursionError):
        return _bounded(_elements(body))


def _objects(body: bytes) -> Iterator[bytes]:
    depth, start = 0, 0
    for token in TOKEN.finditer(body):
        mark = token.group()
        if mark in OPENING:
            start = token.start() if depth == 0 else start
            depth += 1
        elif mark in CLOSING:
            depth -= 1
            if depth == 0:
                yield body[start : token.end()]


def _elements(body: bytes) -> Iterator[bytes]:
    depth, start = 0, 0
    for token in TOKEN.finditer(body):
        mark = token.group()
        if mark in OPENING:
            depth += 1
            if depth == 1:
                if body[: token.start()].strip() or mark != b"[":
                    break
                start = token.end()
        elif mark in CLOSING:
            depth -= 1
            if depth == 0:
                if mark != b"]" or body[token.end() :].strip():
                    break
                last = body[start : token.start()].strip()
                if last:
                    yield last
                return
        elif mark == b"," and depth == 1:
            yield body[start : token.start()].strip()
            start = token.end()
    raise InvalidError("BodyMalformed", "A batch must be a JSON array of events; its brackets do not match.")


def _bounded(parts: Iterator[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    for part in parts:
        if len(kept) == EVENTS_MAX:
            raise TooLargeError("BodyTooLarge", f"The body has more than {EVENTS_MAX} events.", "Split it.")
        kept.append(part)
    return kept
