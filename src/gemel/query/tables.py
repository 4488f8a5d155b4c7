"""What a query reads: the one place that says where twins, relationships and values are found.

`LIVE` is the state as it is. Another instance may be the state as it was at a moment: whatever compiles or runs a
query reaches the data through one of them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gemel.base.clock import from_us
from gemel.graph.context import GraphContext
from gemel.graph.loading import documents, named_documents
from gemel.graph.relationship_reading import relationship_documents
from gemel.history.paths import PATH_BITS, PATHS_MAX
from gemel.history.stored import Stretch, stored_samples
from gemel.history.summed import buckets_within, summed
from gemel.history.values import BAD
from gemel.query.sql import Sql, named, param, sql
from gemel.store.database import ReadTransaction, Row, Statement

__all__ = ["LIVE", "SERIES", "WITHIN", "RelationshipKey", "Tables", "sums_sql"]

RelationshipKey = tuple[int, str]
"""The number of a relationship's source, and its id."""

Document = dict[str, Any]


SERIES = f"(%(twin)s << {PATH_BITS} | %(path)s)"
"""The number of the series of a twin and a path, each an expression of that name."""
WITHIN = (
    SERIES,
    Stretch("%(after)s", "%(upto)s"),
    f"source_time > %(after)s AND source_time <= %(upto)s AND quality < {BAD}",
)
"""What is read of a series between two source times, as `stored_samples` takes it."""


class Tables(Protocol):
    """Where to find the graph and its values, as pieces of SQL and as documents.

    A piece stands where a table may stand in a FROM, and is given an alias there. The number of a twin is an
    expression on another item of the same FROM, or of one around it. Rows of other tenants are hidden already.
    """

    def twins(self) -> Sql:
        """Return the twins: twin_no, twin_id, model_id, components (jsonb), lifecycle, recorded; twin_no is a key."""
        ...

    def relationships(self) -> Sql:
        """Return the relationships: source_no, relationship_id, name, target_no, properties (jsonb), recorded.

        Both ends are among the twins; (source_no, relationship_id) is a key.
        """
        ...

    def value(self, twin_no: Sql, path_no: int, row: str | None) -> Sql:
        """Return a property's last sample, one row at most: num, kind, doc, recorded, source_time, quality.

        `row` is what the twin's row is called where it is another item of the FROM.
        """
        ...

    def samples(self, twin_no: Sql, path_no: Sql, window: tuple[Sql, Sql]) -> Sql:
        """Return a path's samples after one source time up to another, not bad ones: num, kind, doc, source_time."""
        ...

    def sums(self, twin_no: Sql, path_no: Sql, window: tuple[int, int]) -> Sql | None:
        """Return the sums of a path's samples from one source time (µs) till another: see `gemel.history.summed`.

        None where only samples can tell.
        """
        ...

    def newest(self, twin_no: Sql) -> Sql:
        """Return an expression: when the newest of a twin's property values was recorded, or null."""
        ...

    async def twin_documents(
        self, tx: ReadTransaction, context: GraphContext, twin_nos: Sequence[int]
    ) -> Mapping[int, Document]:
        """Return twins as GET gives them."""
        ...

    async def named_documents(
        self, tx: ReadTransaction, context: GraphContext, naming: Statement
    ) -> tuple[list[Row], Mapping[int, Document]]:
        """Return the rows of a statement whose first column is the numbers of twins, and these as GET gives them."""
        ...

    async def relationship_documents(
        self, tx: ReadTransaction, keys: Sequence[RelationshipKey]
    ) -> Mapping[RelationshipKey, Document]:
        """Return relationships as GET gives them."""
        ...


class _Live:
    """The state as it is."""

    def twins(self) -> Sql:
        return Sql("twin")

    def relationships(self) -> Sql:
        return Sql("relationship")

    def value(self, twin_no: Sql, path_no: int, row: str | None) -> Sql:
        # OFFSET 0 keeps it a look-up by key. The planner could otherwise make it a join, and would then have to
        # guess how many rows of a tenant's whole state a condition leaves; where it guesses few and finds many, a
        # query that takes 0.1 s takes hours. Row-level security also keeps a join from using an index by way of
        # a function that might leak, as `<<` is; in a subquery the twin's number is a parameter.
        return sql(
            f"(SELECT num, kind, doc, recorded, source_time, quality FROM latest "
            f"WHERE series = ({{}} << {PATH_BITS} | {{}}) OFFSET 0)",
            twin_no,
            param(path_no, "bigint"),
        )

    def samples(self, twin_no: Sql, path_no: Sql, window: tuple[Sql, Sql]) -> Sql:
        samples = stored_samples(*WITHIN, columns="num, kind, doc, source_time")
        after, upto = window
        return named(
            f"(SELECT * FROM {samples} AS k OFFSET 0)", twin=twin_no, path=path_no, after=after, upto=upto
        )

    def sums(self, twin_no: Sql, path_no: Sql, window: tuple[int, int]) -> Sql | None:
        return sums_sql(twin_no, path_no, window)

    def newest(self, twin_no: Sql) -> Sql:
        # As gemel.graph.live has it: telemetry does not count.
        return sql(
            f"(SELECT max(l.recorded) FROM latest l "
            f"WHERE l.series >= {{}} << {PATH_BITS} AND l.series < {{}} + 1 << {PATH_BITS} AND EXISTS ("
            f"SELECT FROM path p WHERE p.role = 'property' AND p.path_no = l.series & {PATHS_MAX - 1}))",
            twin_no,
            twin_no,
        )

    async def twin_documents(
        self, tx: ReadTransaction, context: GraphContext, twin_nos: Sequence[int]
    ) -> Mapping[int, Document]:
        return await documents(tx, context, twin_nos)

    async def named_documents(
        self, tx: ReadTransaction, context: GraphContext, naming: Statement
    ) -> tuple[list[Row], Mapping[int, Document]]:
        return await named_documents(tx, context, naming)

    async def relationship_documents(
        self, tx: ReadTransaction, keys: Sequence[RelationshipKey]
    ) -> Mapping[RelationshipKey, Document]:
        return await relationship_documents(tx, keys)


def sums_sql(twin_no: Sql, path_no: Sql, window: tuple[int, int]) -> Sql | None:
    """Return `Tables.sums` of what is known to this day."""
    buckets = buckets_within(*window)
    if buckets is None:
        return None
    low, high, first, last = (
        param(each, "timestamptz") for each in (*map(from_us, window), buckets.first, buckets.last)
    )
    return named(
        summed(SERIES),
        twin=twin_no,
        path=path_no,
        starts=param(buckets.starts),
        minutes=param(buckets.minutes),
        low=low,
        high=high,
        first=first,
        last=last,
    )


LIVE: Tables = _Live()
