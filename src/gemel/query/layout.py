"""What the columns of a statement's rows are, so that they can be made rows of an answer."""

from __future__ import annotations

from dataclasses import dataclass

from gemel.query.clauses import Collection
from gemel.query.scope import Scope
from gemel.query.sql import Sql
from gemel.query.tree import Stored
from gemel.query.values import Kind, Value, shown_sql

__all__ = ["Asked", "Columns", "Fetch", "Layout", "Member"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where a row has the key of a document: at `at` the number, and of a relationship its id after it.

    Of a path these are the numbers of its twins, and the sources and ids of its relationships.
    """

    at: int
    collection: Collection


@dataclass(frozen=True, slots=True)
class Asked:
    """A property that is asked for: of the twin whose number is at `number_at`, unless it is a component there."""

    source: str
    number_at: int
    component: Sql
    stored: Stored


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an answer's row: at `at` in the row itself, or by a way into a document that is fetched.

    A property is in the row at `property_at`, as `gemel.query.values.stored_sql` has it, and its document is fetched
    just where it is a component.
    """

    name: str
    at: int | None = None
    kind: Kind = "text"
    fetch: Fetch | None = None
    way: tuple[str, ...] = ()
    property_at: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What a row of the statement is: the document of `whole`, or members; and where its key is."""

    whole: Fetch | None = None
    members: tuple[Member, ...] = ()
    key: tuple[int, ...] | None = None

    @property
    def is_twins(self) -> bool:
        """Whether rows are whole twins, each with the twin's number as its first column."""
        return self.whole is not None and self.whole == Fetch(0, Collection.TWINS)


class Columns:
    """The columns of a statement, each once."""

    def __init__(self) -> None:
        self.found: list[Sql] = []

    def add(self, column: Sql) -> int:
        """Return the place of a column, which is added where it is new."""
        if column not in self.found:
            self.found.append(column)
        return self.found.index(column)

    def value(self, name: str, value: Value) -> Member:
        """Add a value and return it as a member."""
        return Member(name, self.add(shown_sql(value)), value.kind)

    def document(self, scope: Scope, source: str) -> Fetch:
        """Add the key of a source's document."""
        collection = scope.query.source(source).collection
        key = [scope.number(source)]
        if collection is Collection.RELATIONSHIPS:
            key.append(scope.relationship_id(source))
        if collection is Collection.PATHS:
            key = [scope.path(source, column) for column in ("twins", "sources", "ids")]
        return Fetch(self.place(key), collection)

    def place(self, columns: list[Sql]) -> int:
        """Add columns that belong side by side, and return the place of the first."""
        self.found += columns
        return len(self.found) - len(columns)
