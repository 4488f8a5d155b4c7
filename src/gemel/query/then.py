"""What a query reads at a moment of the past: spans of the graph, and the last samples as of then, known then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemel.graph.context import GraphContext
from gemel.graph.loading import STAMPED, documents, named_documents
from gemel.graph.relationship_reading import TOLD, relationship_documents
from gemel.history.moment import END_US, Moment, known_samples, last_sample, last_samples, span_then
from gemel.history.moment import LIVE as NOW
from gemel.history.paths import PATH_BITS, PATHS_MAX
from gemel.query.sql import Sql, named, param
from gemel.query.tables import LIVE, SERIES, WITHIN, RelationshipKey, Tables, sums_sql
from gemel.store.carried import without_carried
from gemel.store.database import ReadTransaction, Row, Statement

__all__ = ["tables_at"]

# What is known to this day of a twin, and without an end, is of one that is not deleted.
TWINS = f"""(SELECT s.twin_no, s.twin_id, s.model_id, s.lifecycle, s.components, {STAMPED} AS recorded,
    s.valid_to < 'infinity' OR s.recorded_to < 'infinity' AS ended
FROM twin_span AS s WHERE {{then}})"""
RELATIONSHIPS = f"""(SELECT r.source_no, r.relationship_id, r.name, r.target_no, r.properties, {TOLD} AS recorded
FROM relationship_span AS r WHERE {{then}})"""
# As gemel.graph.live has it: telemetry does not count.
NEWEST = f"""(SELECT max(l.recorded) FROM {{samples}} AS l WHERE EXISTS (
    SELECT FROM path p WHERE p.role = 'property' AND p.path_no = l.series & {PATHS_MAX - 1}))"""
# A late sample may be of a time when the twin's model did not have its component yet: then it is not shown.
OWNER = """(SELECT substring(p.path, '^(.*)[.][^.]+$') FROM path AS p
    WHERE p.tenant = current_tenant() AND p.path_no = %(path)s)"""
OWNED = f"""(SELECT * FROM {{samples}} AS v
WHERE {OWNER} IS NULL OR EXISTS (
    SELECT FROM twin_span AS s WHERE s.tenant = current_tenant() AND s.twin_no = %(twin)s
    AND {{then}} AND jsonb_exists(s.components, {OWNER})) OFFSET 0)"""
ALL = f"series >= %(twin)s << {PATH_BITS} AND series < %(twin)s + 1 << {PATH_BITS}"


def tables_at(tx: ReadTransaction, moment: Moment, path_nos: Mapping[str, int]) -> Tables:
    """Return where a query finds the graph and its values at a moment; the live state without one.

    `path_nos` are the numbers of the paths that it names. What the transaction needs of files it carries already.
    """
    if moment == NOW:
        return LIVE
    return _Then(
        moment, frozenset(number for path, number in path_nos.items() if "." not in path), tx.carries
    )


@dataclass(frozen=True, slots=True)
class _Then:
    """The state as it was. Of paths that are `own` it is known that they are of no component."""

    moment: Moment
    own: frozenset[int]
    carries: bool

    def twins(self) -> Sql:
        return self._bound(TWINS.format(then=span_then(self.moment, "s")))

    def relationships(self) -> Sql:
        return self._bound(RELATIONSHIPS.format(then=span_then(self.moment, "r")))

    def value(self, twin_no: Sql, path_no: int, row: str | None) -> Sql:
        # A look-up by key, as of the live state.
        text = last_sample(self.moment, SERIES, f"{row}.ended" if row else "")
        if path_no not in self.own:
            text = OWNED.format(samples=text, then=span_then(self.moment, "s"))
        return self._bound(text, twin=twin_no, path=param(path_no, "bigint"))

    def samples(self, twin_no: Sql, path_no: Sql, window: tuple[Sql, Sql]) -> Sql:
        samples = known_samples(self.moment.known_at_us, *WITHIN)
        text = f"(SELECT * FROM {samples} AS k OFFSET 0)"
        return self._bound(text, twin=twin_no, path=path_no, after=window[0], upto=window[1])

    def sums(self, twin_no: Sql, path_no: Sql, window: tuple[int, int]) -> Sql | None:
        return sums_sql(twin_no, path_no, window) if self.moment.known_at_us >= END_US else None

    def newest(self, twin_no: Sql) -> Sql:
        text = NEWEST.format(samples=last_samples(self.moment, ALL))
        return self._bound(text, twin=twin_no)

    async def twin_documents(
        self, tx: ReadTransaction, context: GraphContext, twin_nos: Sequence[int]
    ) -> Mapping[int, dict[str, Any]]:
        return await documents(tx, context, twin_nos, self.moment)

    async def named_documents(
        self, tx: ReadTransaction, context: GraphContext, naming: Statement
    ) -> tuple[list[Row], Mapping[int, dict[str, Any]]]:
        return await named_documents(tx, context, naming, self.moment)

    async def relationship_documents(
        self, tx: ReadTransaction, keys: Sequence[RelationshipKey]
    ) -> Mapping[RelationshipKey, dict[str, Any]]:
        return await relationship_documents(tx, keys, self.moment)

    def _bound(self, text: str, **given: Sql) -> Sql:
        """Return SQL with named parameters as SQL with parameters in order: the moment's and the given."""
        moment = {name: param(value, "timestamptz") for name, value in self.moment.parameters.items()}
        return named(text if self.carries else without_carried(text), **moment, **given)
