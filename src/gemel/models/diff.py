"""What differs between models, and whether that breaks what was built on the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping

from gemel.models.changes import Change, Changes, compare_schemas, schema_text
from gemel.models.dtmi import parse_dtmi
from gemel.models.interfaces import (
    Command,
    Component,
    Content,
    Interface,
    Payload,
    Property,
    Relationship,
    Telemetry,
)
from gemel.models.model_set import ModelSet

__all__ = ["diff_models", "diff_sets"]


def diff_sets(before: ModelSet, after: ModelSet) -> tuple[Change, ...]:
    """Compare two sets of models, each model with the one of the same DTMI, or else of its latest version."""
    pairs = _pairs(before, after)
    found: list[Change] = []
    for old, new in pairs.items():
        if new is None:
            found.append(Change(old, "", "model", None, False, "twins of it have no model"))
        else:
            found += diff_models(before, old, after, new)
    for new in sorted(after.ids - set(pairs.values())):
        found.append(Change(new, "", None, "model", True, "nothing was built on it"))
    return tuple(found)


def diff_models(before: ModelSet, old: str, after: ModelSet, new: str) -> tuple[Change, ...]:
    """Compare two models, everything inherited included; NotFoundError where a set has no such model."""
    changes = Changes(old)
    _Comparison(before, after, changes).interfaces("", before.interface(old), after.interface(new))
    return tuple(changes.found)


def _pairs(before: ModelSet, after: ModelSet) -> dict[str, str | None]:
    """Which later model takes the place of each earlier one."""
    found: dict[str, str | None] = {each: each for each in before.ids & after.ids}
    latest: dict[str, str] = {}
    for each in sorted(after.ids - before.ids, key=_version):
        latest[each.partition(";")[0]] = each
    for each in before.ids - after.ids:
        found[each] = latest.get(each.partition(";")[0])
    return {each: found[each] for each in sorted(found)}


def _version(dtmi: str) -> tuple[int, int]:
    parts = parse_dtmi(dtmi)
    return (0, 0) if parts is None else (parts.major, parts.minor)


class _Comparison:
    """Compares interfaces and what they hold."""

    def __init__(self, before: ModelSet, after: ModelSet, changes: Changes) -> None:
        self.before = before
        self.after = after
        self.changes = changes

    def interfaces(self, path: str, old: Interface, new: Interface) -> None:
        self._bases(path, old, new)
        self._words(path, old, new)
        prefix = f"{path}." if path else ""
        for name, content in old.contents.items():
            other = new.contents.get(name)
            if other is None:
                reason = "what twins have under this name has no place in the model"
                self.changes.breaking(f"{prefix}{name}", _kind(content), None, reason)
            else:
                self._contents(f"{prefix}{name}", content, other)
        for name, content in new.contents.items():
            if name not in old.contents:
                self._added(f"{prefix}{name}", content)

    def _bases(self, path: str, old: Interface, new: Interface) -> None:
        here = f"{path}.extends" if path else "extends"
        kept = {base for base in old.bases if any(_same(base, other) for other in new.bases)}
        for base in sorted(old.bases - kept):
            reason = "queries and relationships that ask for this model no longer find its twins"
            self.changes.breaking(here, base, None, reason)
        for base in sorted(kept - new.bases):
            reason = "the base is there in another version; queries by the exact model miss its twins"
            self.changes.breaking(here, base, next(o for o in sorted(new.bases) if _same(base, o)), reason)
        for base in sorted(new.bases):
            if not any(_same(base, other) for other in old.bases):
                self.changes.compatible(here, None, base, "twins are found as this model, too")

    def _words(self, path: str, old: Interface | Content, new: Interface | Content) -> None:
        """Texts for people."""
        texts = {
            "displayName": (old.display_name, new.display_name),
            "description": (old.description, new.description),
            "comment": (old.comment, new.comment),
        }
        for name, (before, after) in texts.items():
            if before != after:
                here = f"{path}.{name}" if path else name
                self.changes.compatible(here, _words_of(before), _words_of(after), "a text for people")

    def _added(self, path: str, content: Content) -> None:
        kind = _kind(content)
        if isinstance(content, Component):
            self.changes.breaking(path, None, kind, "a twin must have it, and those that exist do not")
        elif isinstance(content, Relationship) and content.min_multiplicity > 0:
            reason = f"at least {content.min_multiplicity} must be there, and existing twins have none"
            self.changes.breaking(path, None, kind, reason)
        else:
            self.changes.compatible(path, None, kind, "twins without it are still right")

    def _contents(self, path: str, old: Content, new: Content) -> None:
        match old, new:
            case Property(), Property():
                self._values(path, old, new)
                self._writable(path, old.writable, new.writable)
            case Telemetry(), Telemetry():
                self._values(path, old, new)
            case Relationship(), Relationship():
                self._relationships(path, old, new)
            case Component(), Component():
                self._components(path, old, new)
            case Command(), Command():
                self._commands(path, old, new)
            case _:
                self.changes.breaking(path, _kind(old), _kind(new), "it is another kind of thing")
                return
        self._words(path, old, new)
        types = (", ".join(each.semantic_types) or None for each in (old, new))
        reasons = ("types beside the schema decide no value", "")
        self.changes.note(f"{path}.@type", *types, breaks=False, reasons=reasons)

    def _values(self, path: str, old: Property | Telemetry, new: Property | Telemetry) -> None:
        compare_schemas(f"{path}.schema", old.schema, new.schema, self.changes)
        reasons = ("a unit is stated where none was", "the same number means something else")
        self.changes.note(f"{path}.unit", old.unit, new.unit, breaks=old.unit is not None, reasons=reasons)

    def _writable(self, path: str, old: bool, new: bool) -> None:
        reasons = ("more may write it", "those that write it no longer should")
        self.changes.note(f"{path}.writable", old, new, breaks=old, reasons=reasons)

    def _relationships(self, path: str, old: Relationship, new: Relationship) -> None:
        wider = new.target is None or (old.target is not None and self._stands_for(old.target, new.target))
        reasons = ("all earlier targets are still allowed", "links to twins of other models exist")
        self.changes.note(f"{path}.target", old.target, new.target, breaks=not wider, reasons=reasons)
        low, least = old.min_multiplicity, new.min_multiplicity
        reasons = ("fewer are enough", "twins may have fewer")
        self.changes.note(f"{path}.minMultiplicity", low, least, breaks=least > low, reasons=reasons)
        high, most = old.max_multiplicity, new.max_multiplicity
        lower = most is not None and (high is None or most < high)
        reasons = ("more are allowed", "twins may have more")
        self.changes.note(f"{path}.maxMultiplicity", high, most, breaks=lower, reasons=reasons)
        self._writable(path, old.writable, new.writable)
        for name, item in old.properties.items():
            other = new.properties.get(name)
            if other is None:
                reason = "links that have the property no longer fit"
                self.changes.breaking(f"{path}.{name}", "Property", None, reason)
            else:
                self._contents(f"{path}.{name}", item, other)
        for name in new.properties:
            if name not in old.properties:
                self.changes.compatible(
                    f"{path}.{name}", None, "Property", "links without it are still right"
                )

    def _stands_for(self, old: str, new: str) -> bool:
        return old in self.after and self.after.is_a(old, new)

    def _components(self, path: str, old: Component, new: Component) -> None:
        if old.schema == new.schema:
            return
        reason = "the part is of another model; what that changes stands beside this"
        self.changes.compatible(f"{path}.schema", old.schema, new.schema, reason)
        self.interfaces(path, self.before.interface(old.schema), self.after.interface(new.schema))

    def _commands(self, path: str, old: Command, new: Command) -> None:
        self.payloads(f"{path}.request", old.request, new.request)
        # What callers give must still be taken; what they get must be something that they could get before.
        answer = Changes(self.changes.model)
        turned = _Comparison(self.after, self.before, answer)
        turned.payloads(f"{path}.response", new.response, old.response)
        for each in answer.found:
            reason = (
                "callers can read all answers" if each.compatible else "callers may not understand the answer"
            )
            changed = Change(each.model, each.path, each.after, each.before, each.compatible, reason)
            self.changes.found.append(changed)

    def payloads(self, path: str, old: Payload | None, new: Payload | None) -> None:
        if old is None or new is None:
            if old is not new:
                before, after = (None if each is None else schema_text(each.schema) for each in (old, new))
                self.changes.breaking(path, before, after, "both sides must change at once")
            return
        compare_schemas(f"{path}.schema", old.schema, new.schema, self.changes)
        reasons = ("a unit is stated where none was", "the same number means something else")
        self.changes.note(f"{path}.unit", old.unit, new.unit, breaks=old.unit is not None, reasons=reasons)
        reasons = ("null may be given, too", "null was given")
        self.changes.note(
            f"{path}.nullable", old.nullable, new.nullable, breaks=old.nullable, reasons=reasons
        )


def _same(one: str, other: str) -> bool:
    return one.partition(";")[0] == other.partition(";")[0]


def _kind(content: Content) -> str:
    return type(content).__name__


def _words_of(texts: Mapping[str, str] | str | None) -> str | None:
    if isinstance(texts, str) or texts is None:
        return texts
    return "; ".join(f"{code}: {text}" for code, text in texts.items()) or None
