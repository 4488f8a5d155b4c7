"""Search models by text: words that people know, in whatever part of a model they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gemel.models.elements import Element, values_of
from gemel.models.model_set import ModelSet

__all__ = ["Hit", "search_models"]

NAMES, CONTENTS, PROSE = 8, 3, 1
WHOLE, START, INSIDE = 4, 2, 1
WORD = re.compile(r"[^\W_]+")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
WORDS_MAX = 16


class Hit(NamedTuple):
    """A model that has every word looked for, and where: `id`, `displayName`, or the name of a content."""

    model_id: str
    score: int
    places: tuple[str, ...]


def search_models(models: ModelSet, text: str) -> list[Hit]:
    """Return the models that have every word of a text, the best first.

    A word is found in a model's id, names, descriptions and comment, and in those of what it states itself (what
    it inherits is found at its base), in any case and also inside longer words. Words in names count more than
    those in prose, and whole words more than parts. Only the first WORDS_MAX words of the text are looked for.
    """
    words = [word.casefold() for word in WORD.findall(text)][:WORDS_MAX]
    if not words:
        return []
    hits = [hit for each in models.ids if (hit := _hit(each, models.elements[each], words))]
    return sorted(hits, key=lambda hit: (-hit.score, hit.model_id))


def _hit(model_id: str, element: Element, words: list[str]) -> Hit | None:
    best: dict[str, int] = {}
    places: dict[str, None] = {}
    for place, weight, said in _texts(model_id, element):
        for word in words:
            found = _found(word, said)
            if found:
                best[word] = max(best.get(word, 0), weight * found)
                places[place] = None
    return Hit(model_id, sum(best.values()), tuple(places)) if len(best) == len(words) else None


def _found(word: str, text: str) -> int:
    if word not in text.casefold():
        return 0
    parts = [part.casefold() for part in WORD.findall(HUMP.sub(" ", text))]
    if word in parts:
        return WHOLE
    return START if any(part.startswith(word) for part in parts) else INSIDE


def _texts(model_id: str, element: Element) -> Iterator[tuple[str, int, str]]:
    yield "id", NAMES, model_id.removeprefix("dtmi:").partition(";")[0].replace(":", " ")
    yield from _words(element, "", NAMES)
    for content in element.refs.get("contents", ()):
        yield content.name, CONTENTS, content.name
        yield from _words(content, content.name, CONTENTS)


def _words(element: Element, name: str, weight: int) -> Iterator[tuple[str, int, str]]:
    for kind, counts in (("displayName", weight), ("description", PROSE), ("comment", PROSE)):
        for text in _languages(element.values.get(kind)):
            yield name or kind, counts, text


def _languages(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (str(text) for text in value.values())
    else:
        yield from (text for text in values_of(value) if isinstance(text, str))
