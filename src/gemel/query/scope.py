"""Where a statement has what the sources of its query stand for: the names of its tables and columns."""

from __future__ import annotations

from dataclasses import dataclass, field

from gemel.query.clauses import Collection, Query
from gemel.query.sql import Sql, sql
from gemel.query.tables import Tables
from gemel.query.tree import Column

__all__ = ["ENDS", "Scope"]

TWIN_COLUMNS = {Column.TWIN_ID: "twin_id", Column.MODEL_ID: "model_id", Column.LIFECYCLE: "lifecycle"}
RELATIONSHIP_COLUMNS = {Column.RELATIONSHIP_ID: "relationship_id", Column.RELATIONSHIP_NAME: "name"}
LETTERS = {Collection.TWINS: "t", Collection.RELATIONSHIPS: "r", Collection.PATHS: "p"}
ENDS = {Column.SOURCE_ID: ("s", "source_no"), Column.TARGET_ID: ("g", "target_no")}
"""For each end of a relationship, how its twin is called in a statement, and which column has its number."""


@dataclass(slots=True)
class Scope:
    """The sources of a query in a statement: by their place twins are t0, t1, …, relationships r0, …, paths p0, ….

    It remembers of which twins more is asked than their number, so that only those tables are joined: `rows` by
    source, `ends` by relationship and end. `now_us` is where windows over samples end.
    """

    query: Query
    tables: Tables
    now_us: int
    rows: set[str] = field(default_factory=set)
    ends: set[tuple[str, Column]] = field(default_factory=set)

    def alias(self, source: str) -> str:
        """Return what a source is called in the statement."""
        for place, each in enumerate(self.query.sources):
            if each.name == source:
                return f"{LETTERS[each.collection]}{place}"
        raise KeyError(source)

    def end_alias(self, source: str, end: Column) -> str:
        """Return what the twin at an end of a relationship is called in the statement."""
        return f"{ENDS[end][0]}{self.alias(source)[1:]}"

    def number(self, source: str) -> Sql:
        """Return the number of a twin, of the twin that a relationship comes from, or that a path leads to."""
        relationship = self.query.source(source).collection is Collection.RELATIONSHIPS
        return Sql(f"{self.alias(source)}.{'source_no' if relationship else 'twin_no'}")

    def value(self, source: str, path_no: int) -> Sql:
        """Return where the value of a twin's path is found: see `Tables.value`."""
        return self.tables.value(self.number(source), path_no, self.row_alias(source))

    def row_alias(self, source: str) -> str | None:
        """Return what a twin is called in the statement, if more is asked of it than its number."""
        return self.alias(source) if source in self.rows else None

    def path(self, source: str, column: str) -> Sql:
        """Return a column of a path: see `gemel.query.shortest`."""
        return Sql(f"{self.alias(source)}.{column}")

    def relationship_id(self, source: str) -> Sql:
        """Return the id of a relationship."""
        return Sql(f"{self.alias(source)}.relationship_id")

    def row(self, source: str, column: str) -> Sql:
        """Return a column of a twin or relationship by its name in `Tables`."""
        self.rows.add(source)
        return Sql(f"{self.alias(source)}.{column}")

    def column(self, source: str, column: Column) -> Sql:
        """Return what every twin or relationship has."""
        if column in ENDS:
            self.ends.add((source, column))
            return Sql(f"{self.end_alias(source, column)}.twin_id")
        return self.row(source, TWIN_COLUMNS.get(column) or RELATIONSHIP_COLUMNS[column])

    def newest(self, source: str) -> Sql:
        """Return when a twin last changed."""
        return sql("greatest({}, {})", self.row(source, "recorded"), self.tables.newest(self.number(source)))
