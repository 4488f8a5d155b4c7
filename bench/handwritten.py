"""The answers of the graph figures by one statement each, as someone writes it who knows the tables.

It runs as the serving role, so the same row-level security holds, and knows the numbers of paths beforehand, as
the platform does. What it returns has the form of `told`, in which both sides are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gemel.base.clock import iso_us, to_us
from gemel.history.paths import path_no_of
from gemel.history.stored import Stretch, stored_samples
from gemel.history.values import REMOVED, decode
from gemel.store.database import ReadTransaction, Row

__all__ = ["ByHand", "told"]

Told = dict[str, Any]

COLUMNS = """
t.twin_id, t.model_id, t.lifecycle, t.components, l.series, l.num, l.kind, l.doc, l.source_time, l.recorded"""
RANGE = "series >= t.twin_no << 20 AND series < t.twin_no + 1 << 20"
STATE = f"""
LEFT JOIN LATERAL (
    SELECT series, num, kind, doc, source_time, recorded FROM latest WHERE {RANGE} OFFSET 0) AS l ON true"""
POINT = f"SELECT {COLUMNS}, t.recorded, t.created FROM twin AS t {STATE} WHERE t.twin_id = %s"
FILTER = f"""
SELECT {COLUMNS}, t.recorded, t.created
FROM promoted_value AS v JOIN twin AS t ON t.twin_no = v.twin_no {STATE}
WHERE v.path_no = %s AND v.num = %s"""
HOPS = """
SELECT e.twin_id, f.twin_id FROM twin AS l
JOIN relationship AS r1 ON r1.source_no = l.twin_no AND r1.name = 'hasPart'
JOIN relationship AS r2 ON r2.source_no = r1.target_no AND r2.name = 'isLocationOf'
JOIN relationship AS r3 ON r3.source_no = r2.target_no AND r3.name = 'feeds'
JOIN twin AS e ON e.twin_no = r2.target_no
JOIN twin AS f ON f.twin_no = r3.target_no
WHERE l.twin_id = %s"""
JOINS = """
SELECT r.twin_id, v.num FROM twin AS b
JOIN relationship AS r1 ON r1.source_no = b.twin_no AND r1.name = 'hasPart'
JOIN relationship AS r2 ON r2.source_no = r1.target_no AND r2.name = 'hasPart'
JOIN twin AS r ON r.twin_no = r2.target_no
LEFT JOIN LATERAL (SELECT num FROM latest WHERE series = r.twin_no << 20 | %s OFFSET 0) AS v ON true
WHERE b.twin_id = %s ORDER BY v.num DESC NULLS LAST, r.twin_no LIMIT 10"""

# A value of then is the last sample of all where that is no newer, else the last sample until then.
THEN = """
t.valid_from <= %(at)s AND t.valid_to > %(at)s AND t.recorded_to = 'infinity'"""
THEN_COLUMNS = "num, kind, doc, source_time, recorded"
SAMPLE_THEN = stored_samples(
    "l.series", Stretch(None, "%(at)s"), "source_time <= %(at)s", "DESC", "1", THEN_COLUMNS
)
POINT_THEN = f"""
SELECT t.twin_id, t.model_id, t.lifecycle, t.components, l.series, v.num, v.kind, v.doc, v.source_time, v.recorded,
       coalesce(u.recorded, c.created), c.created
FROM twin_span AS t
CROSS JOIN LATERAL (SELECT min(recorded_from) AS created FROM twin_span WHERE twin_no = t.twin_no OFFSET 0) AS c
CROSS JOIN LATERAL (
    SELECT max(recorded) AS recorded FROM twin_stamp
    WHERE twin_no = t.twin_no AND valid_from <= %(at)s OFFSET 0) AS u
JOIN LATERAL (SELECT * FROM latest WHERE {RANGE} OFFSET 0) AS l ON true
JOIN LATERAL (
    SELECT l.num, l.kind, l.doc, l.source_time, l.recorded WHERE l.source_time <= %(at)s
    UNION ALL
    SELECT * FROM ({SAMPLE_THEN}) AS s WHERE l.source_time > %(at)s) AS v ON true
WHERE t.twin_id = %(twin)s AND {THEN}"""
RELATED_THEN = """
JOIN relationship_span AS {0} ON {0}.source_no = {1} AND {0}.name = '{2}' AND {0}.valid_from <= %(at)s
    AND {0}.valid_to > %(at)s AND {0}.recorded_to = 'infinity'"""
VALUE_THEN = f"""
LEFT JOIN LATERAL (
    SELECT v.num, v.kind, v.doc FROM (
        SELECT series, num, kind, doc, source_time FROM latest
        WHERE series = t.twin_no << 20 | %(path_no)s OFFSET 0) AS l
    JOIN LATERAL (
        SELECT l.num, l.kind, l.doc WHERE l.source_time <= %(at)s
        UNION ALL
        SELECT s.num, s.kind, s.doc FROM ({SAMPLE_THEN}) AS s WHERE l.source_time > %(at)s) AS v ON true
    ) AS v ON true"""
NEIGHBOURS_THEN = f"""
SELECT t.twin_id, v.num, v.kind, v.doc FROM twin_span AS b
{RELATED_THEN.format("r1", "b.twin_no", "hasPart")}
{RELATED_THEN.format("r2", "r1.target_no", "hasPart")}
{RELATED_THEN.format("r3", "r2.target_no", "hasCapability")}
JOIN twin_span AS t ON t.twin_no = r3.target_no AND {THEN}
{VALUE_THEN}
WHERE b.twin_id = %(twin)s AND {THEN.replace("t.", "b.")}
ORDER BY r1.relationship_id, r2.relationship_id, r3.relationship_id LIMIT 1000"""
WHOLE_THEN = f"SELECT t.twin_id, v.num, v.kind, v.doc FROM twin_span AS t {VALUE_THEN} WHERE {THEN}"


@dataclass(frozen=True, slots=True)
class ByHand:
    """Statements over the default tenant's tables; `path_nos` are the numbers of its properties, `at` a moment."""

    path_nos: Mapping[str, int]
    at: datetime

    async def point(self, tx: ReadTransaction, twin_id: str) -> list[Told]:
        """One twin, whole."""
        return self._documents(await tx.rows(POINT, (twin_id,)))

    async def filtered(self, tx: ReadTransaction, capacity: int) -> list[Told]:
        """The twins with a `personCapacity`, whole."""
        return self._documents(await tx.rows(FILTER, (self.path_nos["personCapacity"], capacity)))

    async def hops(self, tx: ReadTransaction, level: str) -> list[Told]:
        """What the equipment in the rooms of a level feeds."""
        return [{"equipment": row[0], "fed": row[1]} for row in await tx.rows(HOPS, (level,))]

    async def joins(self, tx: ReadTransaction, building: str) -> list[Told]:
        """The ten rooms of a building with the greatest `personCapacity`."""
        rows = await tx.rows(JOINS, (self.path_nos["personCapacity"], building))
        return [{"room": row[0], "capacity": int(row[1])} for row in rows]

    async def point_then(self, tx: ReadTransaction, twin_id: str) -> list[Told]:
        """One twin as it was."""
        return self._documents(await tx.rows(POINT_THEN, {"at": self.at, "twin": twin_id}))

    async def neighbours_then(self, tx: ReadTransaction, building: str) -> list[Told]:
        """A thousand sensors of a building with their `lastValue` as it was."""
        return await self._values(tx, NEIGHBOURS_THEN, {"twin": building})

    async def whole_then(self, tx: ReadTransaction) -> list[Told]:
        """All twins that were, with their `lastValue` where they had one."""
        return await self._values(tx, WHOLE_THEN, {})

    async def _values(self, tx: ReadTransaction, sql: str, more: Mapping[str, Any]) -> list[Told]:
        parameters = {"at": self.at, "path_no": self.path_nos["lastValue"], **more}
        rows = await tx.rows(sql, parameters)
        return [
            {"id": twin_id} | ({} if kind in (None, REMOVED) else {"value": decode(num, kind, doc)})
            for twin_id, num, kind, doc in rows
        ]

    def _documents(self, rows: Iterable[Row]) -> list[Told]:
        names = {number: path for path, number in self.path_nos.items()}
        found: dict[str, Told] = {}
        for (
            twin_id,
            model_id,
            lifecycle,
            _,
            series,
            num,
            kind,
            doc,
            source_time,
            recorded,
            stamped,
            _,
        ) in rows:
            twin = found.setdefault(
                twin_id, {"$dtId": twin_id, "$model": model_id, "$lifecycle": lifecycle, "values": {}}
            )
            newest = max(filter(None, (recorded, stamped)))
            twin["$lastUpdateTime"] = max(twin.get("$lastUpdateTime", ""), _iso(newest))
            if series is not None and kind != REMOVED:
                times = (_iso(source_time), _iso(recorded))
                twin["values"][names[path_no_of(series)]] = (decode(num, kind, doc), *times)
        return list(found.values())


def told(document: Mapping[str, Any]) -> Told:
    """Return a twin's document in the form in which it is compared: its values by dotted path, with their times."""
    values: dict[str, tuple[Any, str, str]] = {}
    _collect(document, "", values)
    return {
        "$dtId": document["$dtId"],
        "$model": document["$metadata"]["$model"],
        "$lifecycle": document["$lifecycle"],
        "$lastUpdateTime": document["$metadata"]["$lastUpdateTime"],
        "values": values,
    }


def _collect(place: Mapping[str, Any], owner: str, values: dict[str, tuple[Any, str, str]]) -> None:
    metadata = place["$metadata"]
    for name, value in place.items():
        if name in metadata and not name.startswith("$"):
            times = metadata[name]["sourceTime"], metadata[name]["lastUpdateTime"]
            values[f"{owner}{name}"] = (value, *times)
        elif isinstance(value, dict) and "$metadata" in value:
            _collect(value, f"{owner}{name}.", values)


def _iso(moment: datetime) -> str:
    return iso_us(to_us(moment))
