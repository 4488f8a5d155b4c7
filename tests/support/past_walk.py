"""Random histories: what is done to a site through the platform's own functions, and told to a PastModel."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from gemel.base.clock import iso_us, now_us
from gemel.base.errors import GemelError
from gemel.graph import relationships
from gemel.graph.lifecycle import DECOMMISSIONED, FOLLOWERS
from gemel.graph.lifecycles import TransitionRequest, change_lifecycle
from gemel.ingest.events import LINES, decode_body
from gemel.ingest.pipeline import Ingest
from gemel.ingest.requests import IngestRequest
from support.graph import ASSET, PUMP, PUMP2, Site
from support.parts import AUDIT
from support.past_model import END, GONE, Fact, PastModel, PastTwin, Relation

__all__ = ["HOUR_US", "IDS", "SLOT_0", "TELEMETRY", "Act", "PastWalk", "acts"]

IDS = ("a", "b", "c")
TELEMETRY = ("flow", "motor.temperature")
VALUES: dict[str, tuple[Any, ...]] = {
    "label": ("x", "y", "z"),
    "head": (0.0, 1.0, 2.0),
    "count": (0, 1, 2),
    "running": (False, True),
    "power": (5.0, 6.0),
    "motor.speed": (10.0, 20.0),
    "flow": (0.5, 1.5),
    "motor.temperature": (30.0, 40.0),
}
OWN = {
    PUMP: ("label", "head", "count", "running", "motor.speed"),
    PUMP2: ("label", "head", "power"),
    ASSET: ("label",),
}
HOUR_US = 3_600_000_000
SLOT_0 = 1_767_571_200_000_000  # 2026-01-05
SLOTS = 6


KINDS = (
    "put", "put", "patch", "patch", "patch", "ingest", "ingest", "ingest", "ingest",
    "delete", "relate", "relate", "repatch", "unrelate", "turn",
)  # fmt: skip
MODELS = (PUMP, PUMP, PUMP2, ASSET)


class Value(NamedTuple):
    """A value of a path, both by number; `gone` takes it away; `when` its moment; its revision."""

    path: int
    value: int
    when: int | None
    revision: int
    gone: bool


@dataclass(frozen=True)
class Act:
    """One thing that is done: `one` and `other` choose, by number, among what there is when it is done.

    Moments are 0 to SLOTS - 1 some days in the past, from SLOTS on that of an earlier act, None none.
    """

    kind: str
    one: int
    other: int
    values: tuple[Value, ...]
    when: int | None


moments = st.one_of(st.none(), st.integers(0, SLOTS + 5))
numbers = st.integers(0, 11)
drawn_values = st.builds(
    Value, numbers, numbers, moments, st.integers(0, 2), st.integers(0, 4).map(lambda n: n == 4)
)
acts = st.lists(
    st.builds(
        Act, st.sampled_from(KINDS), numbers, numbers, st.lists(drawn_values, max_size=4).map(tuple), moments
    ),
    min_size=15,
    max_size=45,
)


@dataclass
class PastWalk:
    """Does acts, and tells the model what the platform took."""

    site: Site
    ingest: Ingest
    stamps: list[int]
    """What the platform gave as recorded times, in order: whoever makes the walk fills it."""
    model: PastModel = field(
        default_factory=lambda: PastModel({PUMP: ["motor"], PUMP2: [], ASSET: []}, TELEMETRY)
    )
    known: list[int] = field(default_factory=list)
    """The recorded time at the end of each act that was taken."""
    firsts: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def moment(self, slot: int | None) -> int | None:
        if slot is None or slot < SLOTS:
            return None if slot is None else SLOT_0 + slot * 37 * HOUR_US
        return self.firsts[slot % len(self.firsts)] if self.firsts else None

    async def do(self, act: Act) -> bool:
        """Do an act; return whether it was taken and changed anything."""
        self.stamps.clear()
        try:
            await getattr(self, "_" + self._kind(act))(act)
        except GemelError as error:
            self.refused[error.code] += 1
            return False
        if not self.stamps:
            return False
        self.firsts.append(self.stamps[0])
        self.known.append(self.stamps[-1])
        return True

    def _kind(self, act: Act) -> str:
        """Return what is done: the nearest to what was asked that there is anything for."""
        live, links = self._live(), self._links()
        if not live:
            return "put"
        if act.kind == "relate" and len(live) < 2:
            return "ingest"
        if act.kind in ("repatch", "unrelate") and not links:
            return "relate" if len(live) > 1 else "patch"
        if act.kind == "delete" and self._related(live[act.one % len(live)]):
            return "unrelate"
        return act.kind

    def _live(self) -> list[PastTwin]:
        return [twin for twin in map(self.model.twin, IDS) if twin is not None]

    def _links(self) -> list[Relation]:
        return [each for each in self.model.relations.values() if each.at(END, END)[1] is not None]

    def _related(self, twin: PastTwin) -> bool:
        ends = [(each.source, each.at(END, END)[1]) for each in self._links()]
        return any(source is twin or (what is not None and what[1] is twin) for source, what in ends)

    def _one(self, act: Act) -> PastTwin:
        live = self._live()
        return live[act.one % len(live)]

    def _given(self, act: Act, paths: Sequence[str]) -> dict[str, tuple[Any, int | None, int]]:
        """Return value, source time and revision by path."""
        found = {}
        for each in act.values:
            path = paths[each.path % len(paths)]
            value = GONE if each.gone else VALUES[path][each.value % len(VALUES[path])]
            found[path] = (value, self.moment(each.when), each.revision)
        return found

    async def _put(self, act: Act) -> None:
        twin_id, model = IDS[act.one % len(IDS)], MODELS[act.other % len(MODELS)]
        chosen = {path: each for path, each in self._given(act, OWN[model]).items() if each[0] is not GONE}
        given = {path: value for path, (value, _, _) in chosen.items()}
        times = {path: time for path, (_, time, _) in chosen.items() if time is not None}
        body = _body(model, given, times)
        start = self.moment(act.when)
        if start is not None:
            body["$metadata"]["$validFrom"] = iso_us(start)
        before = self.model.twin(twin_id)
        await self.site.put_body(twin_id, body)
        stamp = self.stamps[0]
        if before is None:
            rows = await self.site.rows("SELECT twin_no FROM twin WHERE twin_id = %s", twin_id)
            twin = PastTwin(rows[0][0], twin_id, stamp, [], [(stamp, model)], [(stamp, 0, "active")])
            self.model.twins.append(twin)
            self._write(twin, given, times, start)
            begun = min([start or stamp, *(fact.time for fact in twin.facts)])
            twin.starts.append((stamp, begun))
            return
        before.stamps.append((stamp, stamp))
        if before.model(END, END) != model:
            before.models.append((stamp, model))
        held = before.state(END, END)
        gone = [
            path
            for path, fact in held.items()
            if fact.value is not GONE and path not in given and path not in TELEMETRY
        ]
        self._write(before, given | dict.fromkeys(gone, GONE), times)
        self._begin(before, [start] if start is not None else [])

    async def _patch(self, act: Act) -> None:
        twin = self._one(act)
        state = twin.state(END, END)
        given: dict[str, Any] = {}
        times: dict[str, int] = {}
        operations: list[dict[str, Any]] = []
        for path, (value, time, _) in self._given(act, OWN[twin.model(END, END)]).items():
            *owner, name = path.split(".")
            place = "".join(f"/{step}" for step in owner)
            if value is GONE and (path not in state or state[path].value is GONE):
                continue
            given[path] = value
            if value is GONE:
                operations.append({"op": "remove", "path": f"{place}/{name}"})
                continue
            operations.append({"op": "add", "path": f"{place}/{name}", "value": value})
            if time is not None:
                times[path] = time
                where = f"{place}/$metadata/{name}/sourceTime"
                operations.append({"op": "add", "path": where, "value": iso_us(time)})
        await self.site.patch(twin.twin_id, *operations)
        self._write(twin, given, times)
        self._begin(twin, [])

    async def _ingest(self, act: Act) -> None:
        twin = self._one(act)
        paths = OWN[twin.model(END, END)]
        paths += TELEMETRY if twin.model(END, END) == PUMP else ()
        events = []
        for each in act.values:
            path = paths[each.path % len(paths)]
            time = self.moment(each.when)
            value = VALUES[path][each.value % len(VALUES[path])]
            events.append((path, value, now_us() if time is None else time, each.revision))
        lines = [
            json.dumps(
                {
                    "specversion": "1.0",
                    "id": str(number),
                    "source": "/test",
                    "type": "t",
                    "subject": twin.twin_id,
                    "time": iso_us(time),
                    "revision": revision,
                    "data": {path: value},
                }
            )
            for number, (path, value, time, revision) in enumerate(events)
        ]
        decoded = decode_body("\n".join(lines).encode(), LINES)
        result = await self.ingest.submit(self.site.tenant, IngestRequest(decoded, now_us(), AUDIT))
        rejected = {each.index for each in result.rejected}
        self.refused.update(each.code for each in result.rejected)
        for number, (path, value, time, revision) in enumerate(events):
            if number not in rejected:
                twin.facts.append(Fact(path, time, value, revision, self.stamps[0] + number))
        self._begin(twin, [])

    async def _delete(self, act: Act) -> None:
        twin = self._one(act)
        await self.site.delete(twin.twin_id)
        twin.deleted = self.stamps[0]

    async def _turn(self, act: Act) -> None:
        """Give a twin another state of its lifecycle, which holds from its moment on for good."""
        twin = self._one(act)
        before = twin.lifecycle(END, END)
        states = [state for state in FOLLOWERS[before] if state != DECOMMISSIONED or act.values == ()]
        state = [*states, before][act.other % (len(states) + 1)]
        at = self.moment(act.when)
        request = TransitionRequest(state, "why", "tester", at)
        async with self.site.db.write(self.site.tenant) as tx:
            await change_lifecycle(tx, self.site.context, twin.twin_id, request)
        stamp = self.stamps[0]
        since = stamp if at is None else at
        later = [since, *(begun for _, begun, _ in twin.lifecycles if begun > since)]
        if any(twin.lifecycle(t, END) != state for t in later):
            twin.lifecycles.append((stamp, since, state))
            twin.stamps.append((stamp, since))

    async def _relate(self, act: Act) -> None:
        source = self._one(act)
        others = [twin for twin in self._live() if twin is not source]
        target, link = others[act.other % len(others)], "rs"[act.other % 2]
        start = self.moment(act.when)
        properties = {"note": f"n{act.other}"} if act.values else {}
        body = {"$targetId": target.twin_id, "$relationshipName": "feeds", **properties}
        if start is not None:
            body["$validFrom"] = iso_us(start)
        async with self.site.db.write(self.site.tenant) as tx:
            await relationships.put_relationship(tx, self.site.context, source.twin_id, link, body)
        relation = self.model.relations.setdefault((source.no, link), Relation(source, link))
        stamp = self.stamps[0]
        fresh = relation.at(END, END)[1] is None
        since = start if start is not None and fresh else stamp
        relation.told.append((stamp, since, ("feeds", target, properties)))

    async def _repatch(self, act: Act) -> None:
        relation = self._link(act)
        name, target, properties = relation.held
        patch = [{"op": "add", "path": "/diameter", "value": float(act.other)}]
        async with self.site.db.write(self.site.tenant) as tx:
            await relationships.patch_relationship(
                tx, self.site.context, relation.source.twin_id, relation.relationship_id, patch
            )
        stamp = self.stamps[0]
        relation.told.append((stamp, stamp, (name, target, properties | {"diameter": float(act.other)})))

    async def _unrelate(self, act: Act) -> None:
        relation = self._link(act)
        async with self.site.db.write(self.site.tenant) as tx:
            await relationships.delete_relationship(tx, relation.source.twin_id, relation.relationship_id)
        relation.told.append((self.stamps[0], self.stamps[0], None))

    def _link(self, act: Act) -> Relation:
        links = self._links()
        return links[act.one % len(links)]

    def _write(
        self, twin: PastTwin, given: Mapping[str, Any], times: Mapping[str, int], at: int | None = None
    ) -> None:
        """Tell values as an API write does: by their times, or at the first free moment."""
        stamp = self.stamps[0]
        state = twin.state(END, END)
        for path, value in given.items():
            last = state.get(path)
            time = times.get(path, at)
            if last is not None and time == last.time:
                if value is not GONE and value == last.value:
                    continue
                time = None
            if time is None:
                time = stamp if last is None else max(stamp, last.time + 1)
            twin.facts.append(Fact(path, time, value, 0, stamp))

    def _begin(self, twin: PastTwin, more: list[int]) -> None:
        """Move the start of a twin back to where it was told of."""
        earliest = min([*more, *(fact.time for fact in twin.facts), END])
        if earliest < min(start for _, start in twin.starts):
            twin.starts.append((self.stamps[-1], earliest))


def _body(model: str, given: Mapping[str, Any], times: Mapping[str, int]) -> dict[str, Any]:
    body: dict[str, Any] = {"$metadata": {"$model": model}}
    if model == PUMP:
        body["motor"] = {"$metadata": {}}
    for path, value in given.items():
        owner, _, name = path.rpartition(".")
        place = body[owner] if owner else body
        place[name] = value
        if path in times:
            place["$metadata"][name] = {"sourceTime": iso_us(times[path])}
    return body
