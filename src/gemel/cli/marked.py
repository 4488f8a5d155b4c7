"""A JSON text printed so that one place of it stands out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gemel.cli.output import plain

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["marked"]

MARK, PLAIN = "> ", "  "
AROUND = 60

Line = tuple[str, bool]


def marked(raw: str, place: str | None) -> list[Text]:
    """Return a text's lines: JSON set out, those of `place` (a JSON Pointer) marked; else as it is, with what stops it.

    A place that is not there is marked on the innermost part around it that is.
    """
    from rich.text import Text

    try:
        document = json.loads(raw)
    except ValueError as error:
        return [Text(plain(line), style="red" if bad else "") for line, bad in _broken(raw, error)]
    except RecursionError:
        return [Text(plain(raw))]
    steps = _steps(document, place)
    return [
        Text(plain(f"{MARK if bad else PLAIN}{line}"), style="bold red" if bad else "")
        for line, bad in _lines(document, "", "", steps)
    ]


def _steps(document: Any, place: str | None) -> Sequence[str] | None:
    """Return the decoded steps of a place as far as they are there; None where no place is known."""
    if place is None:
        return None
    found: list[str] = []
    for step in (part.replace("~1", "/").replace("~0", "~") for part in place.split("/")[1:]):
        if not isinstance(document, dict) or step not in document:
            break
        found.append(step)
        document = document[step]
    return found


def _lines(value: Any, lead: str, indent: str, steps: Sequence[str] | None) -> Iterator[Line]:
    """Yield the lines of a value and whether each is marked; `steps` lead to the place from here, None: not here."""
    bad = steps is not None and not steps
    if not isinstance(value, dict) or not value:
        texts = json.dumps(value, ensure_ascii=False, indent=2).split("\n")
        yield f"{indent}{lead}{texts[0]}", bad
        yield from ((indent + text, bad) for text in texts[1:])
        return
    yield f"{indent}{lead}{{", bad
    last = len(value) - 1
    for index, (name, item) in enumerate(value.items()):
        inner = steps if bad else steps[1:] if steps and steps[0] == name else None
        own = list(_lines(item, f"{json.dumps(name, ensure_ascii=False)}: ", indent + "  ", inner))
        own[-1] = (own[-1][0] + ("," if index < last else ""), own[-1][1])
        yield from own
    yield f"{indent}}}", bad


def _broken(raw: str, error: ValueError) -> Iterator[Line]:
    place = error.pos if isinstance(error, json.JSONDecodeError) else 0
    low = max(0, place - AROUND)
    yield raw, False
    yield f"{PLAIN}{raw[low : place + AROUND]!r}", True
    yield f"{PLAIN} {'':{len(repr(raw[low:place])) - 2}}^ {error}", True
