"""What became of the relationships of some twins: made, changed, removed, outgoing and incoming, by time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from gemel.base.clock import from_us
from gemel.graph.loading import MICROSECONDS
from gemel.history.moves import Stretch
from gemel.store.database import ReadTransaction

__all__ = ["RelationshipMove", "read_relationship_moves"]

# All versions of the twins' own relationships are read: as many rows as their changes, whatever the page.
MOVES = f"""
WITH own AS (
    SELECT 'outgoing' AS direction, * FROM relationship_span
    WHERE tenant = current_tenant() AND source_no = ANY(%(nos)s) AND recorded_from <= %(known_at)s
    UNION ALL
    SELECT 'incoming', * FROM relationship_span
    WHERE tenant = current_tenant() AND target_no = ANY(%(nos)s) AND recorded_from <= %(known_at)s
), told AS (
    SELECT *, min(recorded_from) OVER (PARTITION BY direction, source_no, relationship_id, valid_from) AS told
    FROM own
), known AS (
    SELECT *, lag(valid_to) OVER w = valid_from AS goes_on, lag(properties) OVER w AS old, lag(name) OVER w AS old_name,
           lag(target_no) OVER w AS old_target, lead(valid_from) OVER w IS NOT DISTINCT FROM valid_to AS is_followed
    FROM told WHERE recorded_to > %(known_at)s
    WINDOW w AS (PARTITION BY direction, source_no, relationship_id ORDER BY valid_from)
), moves AS (
    SELECT CASE WHEN goes_on THEN 'changed' ELSE 'created' END AS kind, valid_from AS at, told AS recorded, *,
           lpad(source_no::text, 20, '0') || relationship_id AS key FROM known
    UNION ALL
    SELECT 'removed', valid_to, recorded_from, *, lpad(source_no::text, 20, '0') || relationship_id
    FROM known WHERE valid_to < 'infinity' AND NOT is_followed
)
SELECT m.kind, {MICROSECONDS.format("m.at")}, {MICROSECONDS.format("m.recorded")}, m.direction, m.key,
       m.relationship_id, s.twin_id, t.twin_id, m.name, m.properties,
       CASE WHEN m.kind = 'changed' THEN m.old END,
       CASE WHEN m.kind = 'changed' THEN m.old_name END, CASE WHEN m.kind = 'changed' THEN o.twin_id END
FROM (
    SELECT * FROM moves
    WHERE at BETWEEN %(from)s AND %(to)s
      AND (at {{beyond}} %(at)s OR (at = %(at)s AND key COLLATE "C" {{beyond}} %(key)s))
    ORDER BY at {{order}}, key COLLATE "C" {{order}} LIMIT %(limit)s) AS m
CROSS JOIN LATERAL (
    SELECT twin_id FROM twin_span WHERE tenant = current_tenant() AND twin_no = m.source_no LIMIT 1) AS s
CROSS JOIN LATERAL (
    SELECT twin_id FROM twin_span WHERE tenant = current_tenant() AND twin_no = m.target_no LIMIT 1) AS t
LEFT JOIN LATERAL (
    SELECT twin_id FROM twin_span WHERE tenant = current_tenant() AND twin_no = m.old_target LIMIT 1) AS o ON true
ORDER BY m.at {{order}}, m.key COLLATE "C" {{order}}"""
ONWARD, BACKWARD = MOVES.format(beyond=">", order="ASC"), MOVES.format(beyond="<", order="DESC")


class RelationshipMove(NamedTuple):
    """One thing that became of a relationship; `old…` are None unless it changed. Times in µs.

    `key` orders moves of one time. `direction` is as the twins asked for see it.
    """

    kind: str
    time_us: int
    recorded_us: int
    direction: str
    key: str
    relationship_id: str
    source: str
    target: str
    name: str
    properties: dict[str, Any]
    old_properties: dict[str, Any] | None
    old_name: str | None
    old_target: str | None

    @property
    def before(self) -> dict[str, Any] | None:
        """The relationship as it was before; None where it was made."""
        if self.kind == "removed":
            return self._content()
        if self.old_properties is None:
            return None
        return {"$relationshipName": self.old_name, "$targetId": self.old_target, **self.old_properties}

    @property
    def after(self) -> dict[str, Any] | None:
        """The relationship as it is from then on; None where it was removed."""
        return None if self.kind == "removed" else self._content()

    def _content(self) -> dict[str, Any]:
        return {"$relationshipName": self.name, "$targetId": self.target, **self.properties}


async def read_relationship_moves(
    tx: ReadTransaction,
    twin_nos: Collection[int],
    stretch: Stretch,
    limit: int,
    beyond: tuple[int, str],
) -> list[RelationshipMove]:
    """Return at most `limit` moves of the relationships of twins (by number) in a stretch, as was known then.

    They are those beyond a time (µs) and key, in the stretch's order.
    """
    wanted = {
        "nos": list(twin_nos),
        "from": from_us(stretch.from_us),
        "to": from_us(stretch.to_us),
        "known_at": from_us(stretch.known_at_us),
        "at": from_us(beyond[0]),
        "key": beyond[1],
        "limit": limit,
    }
    rows = await tx.rows(BACKWARD if stretch.newest_first else ONWARD, wanted)
    return [RelationshipMove(*row) for row in rows]
