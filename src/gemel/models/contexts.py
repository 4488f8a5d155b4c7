"""Contexts: which version of the language, limits and extensions are in force where, and what terms mean there.

Source: the @context rules of the DTDL v2, v3 and v4 language descriptions.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from gemel.models.adjuncts import unit_systems
from gemel.models.dtmi import Dtmi, parse_dtmi
from gemel.models.errors import Report
from gemel.models.language import VersionRules, language, metamodel_file

__all__ = ["ContextTable", "Options", "Scope", "child_scope", "is_reserved", "root_scope", "term_of"]

_DTDL = "dtmi:dtdl:context;"


@dataclass(frozen=True, slots=True)
class Options:
    """What the reader of models allows beyond the language."""

    allow_undefined_extensions: bool | None = None
    max_dtdl_version: int = 4
    acceptable_limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContextTable:
    """One version of one context: its terms, and the identifier prefixes it keeps for itself."""

    name: str
    terms: dict[str, str]
    reserves: tuple[str, ...]
    limits_version: int | None = None
    limits_name: str | None = None
    implies: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What is in force for an element: a version, limits, extensions, and unknown extensions."""

    options: Options
    rules: VersionRules | None = None
    limits: str = ""
    core: ContextTable | None = None
    extensions: dict[str, ContextTable] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()

    @property
    def version(self) -> VersionRules:
        """The rules of the version in force; a scope without one never leaves `child_scope`."""
        assert self.rules is not None
        return self.rules

    @property
    def complete(self) -> bool:
        """Whether every named extension is known, so that an unknown term is a mistake."""
        return not self.unknown

    def resolve(self, text: str) -> str | None:
        """The identifier that a DTMI or a term stands for; None when it is neither."""
        if text.startswith("dtmi:"):
            return text if self.version.is_id(text, self.limits) else None
        for table in (self.core, *self.extensions.values()):
            if table is not None and text in table.terms:
                return table.terms[text]
        return None

    def reserved_prefixes(self) -> tuple[str, ...]:
        """The prefixes that identifiers of authors may not have here."""
        tables = (self.core, *self.extensions.values())
        return tuple(prefix for table in tables if table is not None for prefix in table.reserves)


@functools.cache
def _tables() -> dict[str, dict[tuple[int, int], ContextTable]]:
    """Every context by its name without version, then by version."""
    terms: dict[str, dict[str, str]] = {}
    raws = metamodel_file("contexts.json")["contexts"]
    for name, raw in raws.items():
        found = terms.setdefault(name, {})
        for pattern, words in raw["terms"].items():
            found.update((word, pattern.replace("@", word)) for word in words)
    for system in unit_systems():
        terms.setdefault(system.context, {}).update(system.terms)
    tables: dict[str, dict[tuple[int, int], ContextTable]] = {}
    for name, words in terms.items():
        raw = raws.get(name, {})
        limits = raw.get("limits", {})
        parts = parse_dtmi(name)
        assert parts is not None
        tables.setdefault(parts.versionless, {})[parts.major, parts.minor] = ContextTable(
            name=name,
            terms=words,
            reserves=tuple(raw.get("reserves", ())),
            limits_version=limits.get("version"),
            limits_name=limits.get("name"),
            implies=raw.get("implies"),
        )
    return tables


@functools.cache
def _terms_by_id() -> dict[str, str]:
    tables = [table for versions in _tables().values() for table in versions.values()]
    return {identifier: term for table in tables for term, identifier in table.terms.items()}


@functools.cache
def _reserved() -> tuple[str, ...]:
    tables = [table for versions in _tables().values() for table in versions.values()]
    return tuple({prefix for table in tables for prefix in table.reserves})


def term_of(identifier: str) -> str:
    """The short word for an identifier of the language or an extension; itself where there is none."""
    return _terms_by_id().get(identifier, identifier)


def is_reserved(identifier: str) -> bool:
    """Whether an identifier belongs to the language or a published extension."""
    return identifier.startswith(_reserved())


def root_scope(options: Options) -> Scope:
    """What is in force before any @context was read: nothing."""
    return Scope(options)


def child_scope(scope: Scope, context: object, element_id: str | None, report: Report) -> Scope:
    """Read the @context of an element (None when it has none) within that of its parent."""
    if context is None:
        if scope.rules is None:
            report.abandon("missingContext", id=element_id)
        return scope
    parts: list[str | dict[str, object]] = []
    for part in context if isinstance(context, list) else [context]:
        if not isinstance(part, str | dict):
            report.abandon("invalidContext", id=element_id, value=part)
        parts.append(part)
    if not parts:
        if scope.rules is None:
            report.abandon("emptyContext", id=element_id)
        return scope
    return _ContextReader(scope, element_id, report).read(parts)


class _ContextReader:
    """Reads the parts of one @context in order: DTDL first, its limits, extensions, then local terms."""

    def __init__(self, scope: Scope, element_id: str | None, report: Report) -> None:
        self.scope = scope
        self.id = element_id
        self.report = report
        self.rules = scope.rules
        self.core = scope.core
        self.limits = ""
        self.extensions = dict(scope.extensions)
        self.unknown = set(scope.unknown)

    def read(self, parts: Sequence[str | dict[str, object]]) -> Scope:
        rest = list(parts)
        while rest and isinstance(rest[0], str) and (implied := _implied_version(rest[0])) is not None:
            self._extension(rest.pop(0), language().versions[implied], undefined_ok=False)
        while rest and isinstance(rest[0], str) and rest[0].startswith(_DTDL):
            self._language(rest)
        if self.rules is None:
            self.report.abandon("missingDtdlContext", id=self.id, value=parts[0])
        if rest and isinstance(rest[-1], dict):
            self.report.abandon("disallowedLocalContext", id=self.id, rule=self.rules.number)
        allowed = self.scope.options.allow_undefined_extensions
        undefined_ok = self.rules.undefined_extensions_by_default if allowed is None else allowed
        for part in rest:
            self._extension(part, self.rules, undefined_ok)
        return Scope(
            self.scope.options, self.rules, self.limits, self.core, self.extensions, frozenset(self.unknown)
        )

    def _language(self, rest: list[str | dict[str, object]]) -> None:
        """Take a DTDL context, and the limit context after it where it asks for one."""
        text = str(rest.pop(0))
        parts = parse_dtmi(text)
        if parts is None:
            self._abandon("invalidContextSpecifier", text)
        self._check_language(text, parts)
        self.rules = language().versions[parts.major]
        self.core = _tables()["dtmi:dtdl:context"][parts.major, 0]
        self.limits = ""
        if parts.fragment == "#limitless":
            limits = self._limits(rest[0], self.rules) if rest and isinstance(rest[0], str) else None
            if limits is None:
                self._abandon("missingLimitContext", text)
            self.limits = limits
            rest.pop(0)

    def _check_language(self, text: str, parts: Dtmi) -> None:
        known = language().versions
        number = parts.major
        if parts.fragment not in ("", "#limitless", "#limits"):
            self._abandon("invalidContextFragment", text)
        if parts.fragment and not (number in known and known[number].custom_limits):
            self._abandon("disallowedContextFragment", text, number)
        if number == 0:
            self._abandon("missingContextVersion", text)
        if parts.fragment == "#limits":
            self._abandon("misplacedLimitContext", text)
        if number not in known or parts.minor:
            self._abandon("unrecognizedContextVersion", text, ", ".join(map(str, known)))
        if number > self.scope.options.max_dtdl_version:
            self._abandon("disallowedContextVersion", text, self.scope.options.max_dtdl_version)

    def _limits(self, text: str, rules: VersionRules) -> str | None:
        """The name of the limits that a limit context brings; None when the part is not one."""
        parts = self._extension_name(text, rules, fragment_ok=True)
        if text.startswith(_DTDL):
            if parts.fragment not in ("", "#limitless", "#limits"):
                self._abandon("invalidContextFragment", text)
            return "" if parts.fragment != "#limitless" and parts.major == rules.number else None
        if parts.fragment:
            self._abandon("invalidContextSpecifier", text)
        table = _tables().get(parts.versionless, {}).get((parts.major, parts.minor))
        if table is None or table.limits_version != rules.number:
            return None
        accepted = self.scope.options.acceptable_limits
        if not any(_accepts(limit, parts) for limit in accepted):
            self._abandon("disallowedLimitContext", text, ", ".join(accepted) or "none")
        return table.limits_name

    def _extension(self, part: object, rules: VersionRules, undefined_ok: bool) -> None:
        if not isinstance(part, str):
            self.report.abandon("localContextNotLast", id=self.id, value="other contexts")
        if part.startswith(_DTDL):
            self._abandon("dtdlContextFollowsAffiliate", part)
        parts = self._extension_name(part, rules, fragment_ok=False)
        versions = _tables().get(parts.versionless)
        table = None if versions is None else versions.get((parts.major, parts.minor))
        if table is not None:
            if table.limits_name is not None:
                self._abandon("misplacedLimitContext", part)
            self.extensions[parts.versionless] = table
        elif undefined_ok:
            self.unknown.add(part)
        elif versions is None:
            self._abandon("unresolvableContextSpecifier", part)
        else:
            self._abandon("unresolvableContextVersion", part, ", ".join(str(major) for major, _ in versions))

    def _extension_name(self, text: str, rules: VersionRules, fragment_ok: bool) -> Dtmi:
        if not text.startswith("dtmi:"):
            self._abandon("nonDtmiContextSpecifier", text)
        parts = parse_dtmi(text)
        if parts is None or (parts.fragment and not fragment_ok):
            self._abandon("invalidContextSpecifier", text)
        if parts.major == 0:
            self._abandon("missingContextVersion", text)
        if not rules.is_id(text.partition("#")[0]):
            self._abandon("invalidContextSpecifierForVersion", text, rules.number)
        return parts

    def _abandon(self, name: str, value: str, rule: object = None) -> NoReturn:
        self.report.abandon(name, id=self.id, value=value, rule=rule)


def _implied_version(text: str) -> int | None:
    parts = parse_dtmi(text)
    if parts is None or parts.fragment:
        return None
    table = _tables().get(parts.versionless, {}).get((parts.major, parts.minor))
    return None if table is None else table.implies


def _accepts(limit: str, parts: Dtmi) -> bool:
    wanted = parse_dtmi(limit)
    if wanted is None or wanted.versionless != parts.versionless:
        return False
    return wanted.major == 0 or (wanted.major == parts.major and wanted.minor <= parts.minor)
