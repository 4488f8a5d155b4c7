"""Pieces of SQL that carry their own parameters: no text of a query ever becomes text of a statement."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["FALSE", "TRUE", "Sql", "all_of", "any_of", "inner_sql", "joined", "named", "param", "sql"]

NAMED = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a statement, with `%s` for each of its parameters in order."""

    text: str
    parameters: tuple[Any, ...] = ()


TRUE, FALSE = Sql("true"), Sql("false")


def sql(template: str, *parts: Sql) -> Sql:
    """Return the template with each `{}` replaced by a part, and the parts' parameters in that order."""
    return Sql(
        template.format(*(part.text for part in parts)),
        tuple(parameter for part in parts for parameter in part.parameters),
    )


def named(text: str, **parts: Sql) -> Sql:
    """Return the text with each `%(name)s` replaced by the part of that name."""
    return sql(NAMED.sub("{}", text), *(parts[name] for name in NAMED.findall(text)))


def param(value: Any, cast: str = "") -> Sql:
    """Return a bound parameter, cast to a type of SQL where the server could not tell it."""
    return Sql(f"%s::{cast}" if cast else "%s", (value,))


def joined(separator: str, parts: Iterable[Sql]) -> Sql:
    """Return the parts with a text between them."""
    kept = list(parts)
    return sql(separator.join(["{}"] * len(kept)), *kept)


def all_of(terms: Iterable[Sql]) -> Sql:
    """Return the conjunction, without terms that are always true."""
    kept = [term for term in terms if term != TRUE]
    if FALSE in kept:
        return FALSE
    return _combined(" AND ", kept) or TRUE


def any_of(terms: Iterable[Sql]) -> Sql:
    """Return the disjunction, without terms that are always false."""
    kept = [term for term in terms if term != FALSE]
    if TRUE in kept:
        return TRUE
    return _combined(" OR ", kept) or FALSE


def _combined(separator: str, terms: list[Sql]) -> Sql | None:
    if len(terms) < 2:
        return terms[0] if terms else None
    return sql("({})", joined(separator, terms))


def inner_sql(value: Sql, names: tuple[str, ...]) -> Sql:
    """Return what names lead to in a JSON value, or null; the names are bound, never written."""
    if not names:
        return value
    return sql("({})", joined(" -> ", [value, *(param(name, "text") for name in names)]))
