"""What is wrong with a model: one error per broken rule, and the exception that carries them all."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from gemel.base.errors import Detail, InvalidError
from gemel.models.language import metamodel_file
from gemel.models.sources import Fault, Sources

__all__ = ["DocumentAbandonedError", "ModelError", "ModelParsingError", "Report"]

_ERRORS_MAX = 1_000
_PREFIX = "dtmi:dtdl:parsingError:"
UNSAID = {"id": "the document", "other": "?", "value": "null", "rule": "?", "word": "?"}
"""What a message says where a fact is not known."""


@dataclass(frozen=True, slots=True)
class ModelError:
    """One broken rule: its validation id, the elements and property concerned, and what to do.

    `document` is the index of the document, counted from 0; those that a resolver gave follow those given
    to `parse`. `line` and `column` count from 1, in the text of the document; of a document that was given
    decoded, in its layout with two spaces of indentation. `width` is how many characters of the line are
    concerned. All four are None for what came from no document. `hint` is the part of the message that says
    how to mend it.

    What is wrong with a document, its @context or an @id is said of no element: `primary_id` is None. `property`
    is the term of a property, or where the values of a property of an extension are wrong, its identifier.
    """

    code: str
    primary_id: str | None
    secondary_id: str | None
    property: str | None
    value: str | None
    message: str
    hint: str
    document: int | None = None
    line: int | None = None
    column: int | None = None
    width: int | None = None


class ModelParsingError(InvalidError):
    """The models do not follow DTDL; `errors` lists every broken rule that was found."""

    errors: tuple[ModelError, ...]

    def __init__(self, errors: tuple[ModelError, ...]) -> None:
        """Carry the errors, and repeat each as a detail."""
        count = "1 rule is broken" if len(errors) == 1 else f"{len(errors)} rules are broken"
        super().__init__(
            "DTDLParserError",
            f"The models do not follow DTDL: {count}. First: {errors[0].message}",
            hint="Nothing was stored. Mend every element that the details name, then send all models again.",
            details=tuple(Detail(error.code, error.message) for error in errors),
        )
        self.errors = errors


class DocumentAbandonedError(Exception):
    """The rest of the document cannot be read; its error has been reported."""


class Report:
    """Collects errors while models are read, so that one upload shows all of its faults."""

    def __init__(self) -> None:
        """Start empty."""
        self.errors: list[ModelError] = []
        self.sources = Sources()
        self._faults: list[Fault] = []

    def add(self, name: str, **facts: object) -> None:
        """Report one broken rule.

        `facts` may give `id` (the element), `other` (a second element), `property`, its `term` where that is an
        identifier, `value`, `rule` (what is allowed) and `word` (any other); the message of the rule names those
        it needs. `raw` is the object at fault where that is not the one that the element was read from. The
        thousandth error ends the parse.
        """
        raw = facts.pop("raw", None)
        text = {key: _text_of(fact) for key, fact in facts.items() if fact is not None}
        filled = UNSAID | text | {"property": text.get("term") or text.get("property") or "?"}
        message, hint = (part.format_map(_shortened(filled)) for part in _template(name))
        error = ModelError(
            code=_PREFIX + name,
            primary_id=None if name in _of_documents() else text.get("id"),
            secondary_id=text.get("other"),
            property=text.get("property"),
            value=text.get("value"),
            message=f"{message} {hint}",
            hint=hint,
        )
        self.errors.append(error)
        origin = self.sources.origin_of(text.get("id")) if raw is None else self.sources.at(raw)
        self._faults.append(
            Fault(text.get("word") or error.secondary_id, error.property, error.value, origin)
        )
        if len(self.errors) >= _ERRORS_MAX:
            self.raise_if_any()

    def abandon(self, name: str, **facts: object) -> NoReturn:
        """Report a rule whose breach leaves the rest of the document without meaning."""
        self.add(name, **facts)
        raise DocumentAbandonedError

    def raise_if_any(self) -> None:
        """End the parse when anything was reported."""
        if self.errors:
            raise ModelParsingError(tuple(map(self._placed, self.errors, self._faults)))

    def _placed(self, error: ModelError, fault: Fault) -> ModelError:
        if fault.origin is None:
            return error
        found = self.sources.locate(fault)
        if found is None:
            return replace(error, document=fault.origin.document)
        return replace(
            error, document=fault.origin.document, line=found.line, column=found.column, width=found.width
        )


@functools.cache
def _messages() -> dict[str, str]:
    messages: dict[str, str] = metamodel_file("messages.json")["messages"]
    return messages


@functools.cache
def _of_documents() -> frozenset[str]:
    """The rules that are about a document, its @context or an @id, and so about no element."""
    return frozenset(metamodel_file("messages.json")["of_documents"])


@functools.cache
def _template(name: str) -> tuple[str, str]:
    """The message of a rule in two parts: what is wrong, and in its last sentence how to mend it."""
    fault, dot, remedy = _messages()[name].rpartition(". ")
    return f"{fault}{dot}".rstrip(), remedy


def _shortened(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: _shorten(fact) for key, fact in facts.items()}


def _text_of(fact: object) -> str:
    # A value from outside may be huge or deeply nested, and a text may hold half of a surrogate pair.
    text = fact if isinstance(fact, str) else reprlib.repr(fact)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."
