"""Reads @type: which class an element is of, and which adjunct types stand beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gemel.models.adjuncts import Adjunct, adjuncts
from gemel.models.contexts import Scope, term_of
from gemel.models.errors import Report
from gemel.models.language import ClassRule, language

__all__ = ["Kinds", "read_types"]

_MATERIAL_KINDS = frozenset({"LatentType", "NamedLatentType", "Unit", "UnitAttribute"})


@dataclass(frozen=True, slots=True)
class Kinds:
    """What @type said: the class, all adjunct types, those of them that may stand here, and unknown words."""

    rule: ClassRule
    adjuncts: tuple[Adjunct, ...]
    allowed: tuple[Adjunct, ...]
    undefined: tuple[str, ...]


def read_types(
    report: Report, types: Sequence[object], expected: ClassRule, scope: Scope, element_id: str
) -> Kinds | str | None:
    """Read the @type strings of an element.

    Returns what they mean; None when they were wrong, which has been reported; or, when they do not say
    what is expected here, the words that were found instead.
    """
    words = _Words(report, expected, scope, element_id)
    for word in types:
        words.take(word)
    if words.wrong:
        return None
    if words.unexpected or not words.classes:
        return words.unexpected or "of no such @type"
    if len(words.classes) > 1:
        report.add("multipleMaterialTypes", id=element_id, value=" and ".join(sorted(words.classes)))
        return None
    rule = scope.version.classes[next(iter(words.classes))]
    allowed = tuple(item for item in words.adjuncts if _may_stand(words, item, rule))
    _check_conflicts(words, allowed)
    return Kinds(rule, tuple(words.adjuncts), allowed, tuple(words.undefined))


class _Words:
    """Sorts the strings of one @type."""

    def __init__(self, report: Report, expected: ClassRule, scope: Scope, element_id: str) -> None:
        self.report = report
        self.expected = expected
        self.scope = scope
        self.id = element_id
        self.classes: set[str] = set()
        self.adjuncts: list[Adjunct] = []
        self.undefined: list[str] = []
        self.unexpected = ""
        self.wrong = False

    def take(self, word: object) -> None:
        if not isinstance(word, str):
            self._fault("typeNotDtmiNorTerm", repr(word))
        elif word in self.expected.definable:
            self.classes.add(self.expected.definable[word])
        elif word in language().type_names:
            self.unexpected = self.unexpected or word
        else:
            found = self.scope.resolve(word)
            if found is None:
                self._take_unknown(word)
            else:
                self._take_adjunct(word, adjuncts().get(found))

    def _take_unknown(self, word: str) -> None:
        if word.startswith("dtmi:"):
            self._fault("typeInvalidDtmi", word)
        elif self.scope.version.checks_unknown_types and ":" in word:
            self._fault("typeNotDtmiNorTerm", word)
        elif self.scope.version.checks_unknown_types and self.scope.complete:
            self._fault("typeUndefinedTerm", word)
        else:
            self.undefined.append(word)

    def _take_adjunct(self, word: str, adjunct: Adjunct | None) -> None:
        if adjunct is None:
            if self.scope.complete:
                self._fault("typeIrrelevantDtmiOrTerm", word)
            else:
                self.undefined.append(word)
        elif adjunct.abstract:
            self._fault("abstractSupplementalType", word)
        elif adjunct.kind in _MATERIAL_KINDS and adjunct.kind != self.expected.name:
            self.unexpected = self.unexpected or word
        else:
            if adjunct.kind in _MATERIAL_KINDS:
                self.classes.add(adjunct.kind)
            if adjunct not in self.adjuncts:
                self.adjuncts.append(adjunct)

    def _fault(self, name: str, word: str) -> None:
        self.wrong = True
        self.report.add(name, id=self.id, value=word, rule=self.scope.version.number)


def _may_stand(words: _Words, adjunct: Adjunct, rule: ClassRule) -> bool:
    """Whether an adjunct type may stand beside a class in this version, and has the company it needs."""
    if adjunct.kind in _MATERIAL_KINDS:
        return True
    others = {item.id for item in words.adjuncts}
    stands_in = bool(others.intersection(adjunct.or_with))
    if not stands_in and adjunct.on is not None and rule.name not in adjunct.on:
        names = [*sorted(adjunct.on), *map(term_of, adjunct.or_with)]
        words.report.add("invalidCotype", id=words.id, value=term_of(adjunct.id), rule=" or ".join(names))
        return False
    if not stands_in and words.scope.version.number not in adjunct.versions:
        versions = " or ".join(map(str, adjunct.versions))
        words.report.add("invalidCotypeVersion", id=words.id, value=term_of(adjunct.id), rule=versions)
        return False
    for needed in adjunct.needs:
        if needed not in others:
            words.report.add("missingCocotype", id=words.id, value=term_of(adjunct.id), rule=term_of(needed))
    return True


def _check_conflicts(words: _Words, allowed: Sequence[Adjunct]) -> None:
    sources: dict[str, Adjunct] = {}
    for adjunct in allowed:
        for item in adjunct.properties:
            other = sources.setdefault(item.id, adjunct)
            if other is not adjunct:
                words.report.add(
                    "conflictingSupplementalTypes",
                    id=words.id,
                    value=term_of(other.id),
                    other=term_of(adjunct.id),
                    property=term_of(item.id),
                )
                break
