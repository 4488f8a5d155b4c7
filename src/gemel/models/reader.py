"""Reads JSON documents into elements, by the tables of the language; references are noted, not yet followed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from gemel.models.contexts import Options, Scope, child_scope, root_scope
from gemel.models.dtmi import child_id
from gemel.models.elements import (
    Element,
    Place,
    Reference,
    context_of,
    id_of,
    keywords_of,
    types_of,
    values_of,
)
from gemel.models.errors import DocumentAbandonedError, Report
from gemel.models.language import ClassRule, limit_of
from gemel.models.literals import Literal, read_literal
from gemel.models.properties import read_properties
from gemel.models.sources import Document, Origin, decode
from gemel.models.types import Kinds, read_types

__all__ = ["Reader"]

_DEPTH_MAX = 64


class Reader:
    """Reads documents one after the other; what it found is in `elements` and `references`."""

    def __init__(self, options: Options, known: Mapping[str, Element], report: Report) -> None:
        """Read under options; `known` are the elements of models that are already there."""
        self.options = options
        self.known = known
        self.report = report
        self.reserved_ok = False
        self.elements: dict[str, Element] = {}
        self.references: list[Reference] = []
        self._scopes: dict[object, Scope] = {}

    def read(self, documents: Iterable[object]) -> None:
        """Read every document; a document that cannot be understood is reported and left."""
        sources = self.report.sources
        for document in documents:
            index = len(sources.documents)
            sources.documents.append(Document(document))
            for value in self._decoded(document, sources.documents[-1]):
                sources.current = Origin(index, value)
                try:
                    self._read_root(value)
                except DocumentAbandonedError:
                    continue
        sources.current = None

    def _decoded(self, document: object, kept: Document) -> Iterable[object]:
        """The values of a document, which may be a text; one that is not JSON is reported."""
        if isinstance(document, bytes | str):
            self.report.sources.current = Origin(len(self.report.sources.documents) - 1, None)
            try:
                text = document if isinstance(document, str) else document.decode("utf-8")
                kept.text = text.removeprefix("\ufeff")
                kept.value = decode(kept.text)
            except ValueError as error:
                kept.broken_at = getattr(error, "pos", None)
                self.report.add("invalidJson", value=str(error))
                return ()
        return values_of(kept.value)

    def _read_root(self, raw: object) -> None:
        if not isinstance(raw, dict):
            self.report.abandon("notJsonObject", value=raw)
        element_id = id_of(raw)
        scope = self.scope_of(root_scope(self.options), raw)
        if "@graph" in raw:
            self.report.abandon("topLevelGraphDisallowed", id=element_id)
        if element_id is None:
            self.report.abandon("missingTopLevelId")
        roots = [rule for rule in scope.version.classes.values() if rule.rootable or self.reserved_ok]
        types = [item for item in types_of(raw) or () if isinstance(item, str)]
        cls = next((r.name for r in roots if any(item in r.definable for item in types)), None)
        if cls is None:
            names = " or ".join(rule.name for rule in roots)
            self.report.abandon("typeNotRootable", value=element_id, rule=names, id=element_id)
        if scope.version.restricts_keywords:
            for keyword in _stray_keywords(raw):
                self.report.abandon("topLevelKeywordDisallowed", id=element_id, value=keyword)
        element = self._read_at(raw, root_scope(self.options), Place(cls))
        longest = limit_of(scope.version.document_max_bytes, scope.limits)
        if element is not None and element.rule.partition and scope.version.document_max_bytes:
            size = self._size(raw, element.id)
            if size > longest:
                self.report.add("partitionTooLarge", id=element.id, value=size, rule=longest)

    def _size(self, raw: Mapping[str, object], element_id: str) -> int:
        """The bytes of a document, without the spaces that its author may have used."""
        try:
            return len(json.dumps(raw, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))
        except RecursionError:
            self.report.abandon("excessiveNesting", id=element_id, rule=_DEPTH_MAX)

    def scope_of(self, scope: Scope, raw: Mapping[str, object]) -> Scope:
        """What is in force for an object within the scope around it."""
        context = context_of(raw)
        if context is None and scope.rules is not None:
            return scope
        key = None
        if isinstance(context, str):
            key = (id(scope), context) if scope.rules else context
        elif isinstance(context, list) and all(isinstance(part, str) for part in context):
            key = (id(scope), *context) if scope.rules else tuple(context)
        if key is not None and key in self._scopes:
            return self._scopes[key]
        found = child_scope(scope, context, id_of(raw), self.report)
        if key is not None:
            self._scopes[key] = found
        return found

    def read_held(self, raw: Mapping[str, object], around: Scope, place: Place) -> Element | None:
        """Read an object that a property holds; None when it is not an element, which has been reported."""
        if place.depth > _DEPTH_MAX:
            self.report.abandon("excessiveNesting", id=place.holder_id, rule=_DEPTH_MAX)
        element_id = id_of(raw)
        if len(raw) == 1 and element_id is not None:
            self.report.add("idReference", id=place.holder_id, property=place.name, value=element_id)
            return None
        return self._read_at(raw, around, place)

    def _read_at(self, raw: Mapping[str, object], around: Scope, place: Place) -> Element | None:
        scope = self.scope_of(around, raw)
        self._check_keywords(raw, scope, place)
        expected = self._expected(scope, place)
        if expected is None:
            return None
        element_id = self._identify(raw, scope, place)
        if self._is_duplicate(raw, element_id, place):
            return None
        self.report.sources.add(element_id, raw)
        types = types_of(raw)
        if types is None and not place.type_optional:
            self._bad_type(place, element_id, "an object without @type", expected)
            return None
        kinds = read_types(
            self.report, types if types is not None else [expected.name], expected, scope, element_id
        )
        if kinds is None:
            return None
        if isinstance(kinds, str):
            self._bad_type(place, element_id, kinds, expected)
            return None
        return self._make(raw, scope, place, element_id, kinds)

    def _make(
        self, raw: Mapping[str, object], scope: Scope, place: Place, element_id: str, kinds: Kinds
    ) -> Element:
        element = Element(element_id, kinds.rule, scope.version.number, scope.limits)
        element.holder = place.holder_id
        if place.holder is not None:
            element.home = place.holder.id if place.holder.rule.partition else place.holder.home
        element.adjuncts = kinds.allowed
        element.undefined_types = kinds.undefined
        longest = limit_of(kinds.rule.id_max_length, scope.limits)
        if len(element_id) > longest:
            self.report.add("idTooLongForType", value=element_id, word=kinds.rule.name, rule=longest)
        self.elements.setdefault(element_id, element)
        read_properties(self, raw, scope, element, kinds, place.depth)
        return element

    def _check_keywords(self, raw: Mapping[str, object], scope: Scope, place: Place) -> None:
        if place.holder is None:
            return
        if "@graph" in raw:
            self.report.add("graphDisallowed", id=place.holder_id, property=place.name)
        if scope.version.restricts_keywords:
            for keyword in _stray_keywords(raw):
                self.report.add("keywordDisallowed", id=place.holder_id, property=place.name, value=keyword)

    def _expected(self, scope: Scope, place: Place) -> ClassRule | None:
        """The class wanted here in the version of the element; None when that version may not stand here."""
        number = scope.version.number
        allowed = place.rule is None or not place.rule.versions or number in place.rule.versions
        if not allowed and place.rule is not None:
            versions = ", ".join(map(str, place.rule.versions))
            self.report.add(
                "disallowedVersionDefinition",
                id=place.holder_id,
                property=place.name,
                value=number,
                rule=versions,
            )
        return scope.version.classes.get(place.cls) if allowed else None

    def _identify(self, raw: Mapping[str, object], scope: Scope, place: Place) -> str:
        given = id_of(raw)
        if given is not None:
            self._check_id(given, scope, place)
            return given
        if place.holder is None or place.name is None:
            self.report.abandon("missingTopLevelId")
        if place.rule is not None and place.rule.id_required:
            self.report.abandon("missingRequiredId", id=place.holder_id, property=place.name)
        segment = place.rule.segment if place.rule is not None else None
        if segment is None:
            return child_id(place.holder.id, place.name, None)
        return child_id(place.holder.id, place.name, self._segment(raw, scope, place, segment))

    def _check_id(self, given: str, scope: Scope, place: Place) -> None:
        if not given:
            self.report.abandon("idNotString", id=place.holder_id)
        longest = limit_of(scope.version.id_max_length, scope.limits)
        if len(given) > longest:
            self.report.abandon("idTooLong", value=given, rule=longest)
        if scope.version.id_pattern.fullmatch(given) is None:
            self.report.abandon("invalidId", value=given, rule=scope.version.number)
        if not self.reserved_ok and given.startswith(scope.reserved_prefixes()):
            self.report.abandon("reservedId", value=given, rule=", ".join(scope.reserved_prefixes()))

    def _segment(self, raw: Mapping[str, object], scope: Scope, place: Place, segment: str) -> str:
        """The part of a made-up identifier that comes from the element itself, its name."""
        wanted = (segment, f"dtmi:dtdl:property:{segment};{scope.version.number}")
        key = next((key for key in wanted if key in raw), None)
        facts = {"id": place.holder_id, "property": place.name, "word": segment}
        if key is None:
            self.report.abandon("missingDtmiSegPropertyValue", **facts, value=segment)
        at = Literal(place.holder_id or "", segment, scope, self.report, quiet=True)
        value = read_literal(at, "any", raw[key])
        if value is None or isinstance(value, bool):
            self.report.abandon("dtmiSegPropertyNotStringOrNumber", **facts)
        return str(value).replace(".", "_")

    def _is_duplicate(self, raw: Mapping[str, object], element_id: str, place: Place) -> bool:
        if element_id not in self.elements and element_id not in self.known:
            return False
        if id_of(raw) is not None:
            self.report.add("duplicateDefinition", id=element_id, raw=raw)
        elif place.rule is not None and place.rule.segment is not None:
            segment = place.rule.segment
            self.report.add(
                "nonUniquePropertyValue",
                id=place.holder_id,
                property=place.name,
                word=segment,
                value=raw.get(segment),
            )
        return True

    def _bad_type(self, place: Place, element_id: str, found: str, expected: ClassRule) -> None:
        names: Sequence[str] = sorted({*expected.definable.values()} or expected.concrete)
        self.report.add(
            "badType",
            id=place.holder_id or element_id,
            property=place.name or "@type",
            other=element_id,
            value=found,
            rule=" or ".join(names) or expected.name,
        )


def _stray_keywords(raw: Mapping[str, object]) -> list[str]:
    return [key for key in ("@language", "@value") if key in raw] + list(keywords_of(raw))
