"""Random acts over HTTP: every value, won or lost, names the one act and event that brought it, and none is missing.

Each value written is a number of its own, so that the act and event of any value are known to the test.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import pytest

from gemel.base.clock import iso_us, now_us
from support.api_site import PUMP

TWINS = ("a", "b", "c")
PROPERTIES = ("label", "count", "motor.speed")
TELEMETRY = ("flow", "motor.temperature")
LINES = {"Content-Type": "application/x-ndjson"}


@dataclass
class Acts:
    """Acts on a tenant, and what each must have left: by value its trace and, of an event, its id."""

    client: httpx.Client
    seed: int
    corrects: bool = False
    number: int = 0
    calls: int = 0
    live: set[str] = field(default_factory=set)
    related: dict[tuple[str, str], str] = field(default_factory=dict)
    brought: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    traces: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.start_us = now_us()

    def act(self, method: str, path: str, **options: Any) -> tuple[httpx.Response, str]:
        self.calls += 1
        trace = f"{self.seed + 1:016x}{self.calls:016x}"
        headers = options.pop("headers", {}) | {"traceparent": f"00-{trace}-00000000000000ff-01"}
        response = self.client.request(method, path, headers=headers, **options)
        if response.is_success:
            self.traces.add(trace)
        return response, trace

    def twin(self, name: str) -> str:
        return f"s{self.seed}-{name}"

    def next(self, path: str) -> tuple[int, Any]:
        self.number += 1
        return self.number, str(self.number) if path == "label" else self.number

    def time(self) -> str:
        return iso_us(self.start_us + self.random.randrange(8) * 1000)

    def put(self) -> None:
        name = self.random.choice(TWINS)
        body: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
        written = []
        for path in ("label", "count"):
            if self.random.random() < 0.6:
                number, body[path] = self.next(path)
                written.append(number)
        response, trace = self.act("PUT", f"/digitaltwins/{self.twin(name)}", json=body)
        assert response.status_code == 200, response.text
        self.live.add(name)
        self.brought |= dict.fromkeys(written, (trace, None))

    def patch(self) -> None:
        name, path = self.random.choice(TWINS), self.random.choice(PROPERTIES)
        number, value = self.next(path)
        *owner, last = path.split(".")
        place = "".join(f"/{step}" for step in owner)
        operations = [{"op": "add", "path": f"{place}/{last}", "value": value}]
        if self.random.random() < 0.5:
            at = f"{place}/$metadata/{last}/sourceTime"
            operations.append({"op": "add", "path": at, "value": self.time()})
        response, trace = self.act("PATCH", f"/digitaltwins/{self.twin(name)}", json=operations)
        assert response.status_code in {204, 400, 404}, response.text
        if response.is_success:
            self.brought[number] = (trace, None)

    def remove(self) -> None:
        name = self.random.choice(TWINS)
        operations = [{"op": "remove", "path": f"/{self.random.choice(['label', 'count'])}"}]
        self.act("PATCH", f"/digitaltwins/{self.twin(name)}", json=operations)

    def ingest(self) -> None:
        events, numbers = [], []
        for index in range(self.random.randint(1, 6)):
            path = self.random.choice(PROPERTIES + TELEMETRY)
            number, value = self.next(path)
            event = {
                "specversion": "1.0",
                "id": f"e{self.seed}-{number}",
                "source": self.random.choice(["/x", "/y"]),
                "type": "t",
                "subject": self.twin(self.random.choice(TWINS)),
                "data": {path: value},
                "revision": self.random.randint(0, 1),
            }
            if self.random.random() < 0.9:
                event["time"] = self.time()
            events.append(json.dumps(event))
            numbers.append((index, number))
        response, trace = self.act("POST", "/v1/events", content="\n".join(events).encode(), headers=LINES)
        rejected = {each["index"] for each in response.json()["rejected"]}
        self.brought |= {n: (trace, f"e{self.seed}-{n}") for index, n in numbers if index not in rejected}

    def relate(self) -> None:
        source, target = self.random.sample(TWINS, 2)
        relationship = self.random.choice(["r", "q"])
        place = f"/digitaltwins/{self.twin(source)}/relationships/{relationship}"
        if self.random.random() < 0.4:
            self.act("DELETE", place)
        else:
            body = {"$targetId": self.twin(target), "$relationshipName": "feeds"}
            self.act("PUT", place, json=body)

    def delete(self) -> None:
        name = self.random.choice(TWINS)
        for kind, end in (("relationships", "$sourceId"), ("incomingrelationships", "$sourceId")):
            found = self.client.get(f"/digitaltwins/{self.twin(name)}/{kind}")
            for each in found.json().get("value", []) if found.is_success else []:
                self.act("DELETE", f"/digitaltwins/{each[end]}/relationships/{each['$relationshipId']}")
        if self.act("DELETE", f"/digitaltwins/{self.twin(name)}")[0].is_success:
            self.live.discard(name)

    def correct(self) -> None:
        name = self.random.choice(TWINS)
        paths = self.random.sample(PROPERTIES + TELEMETRY, 2)
        first_us = self.start_us + self.random.randrange(8) * 1000
        length_us = self.random.choice([1000, 4000, 600_000_000])
        at, till = iso_us(first_us), iso_us(first_us + length_us)
        body: dict[str, Any] = {"paths": paths, "from": at, "to": till, "reason": "calibration"}
        way = self.random.choice(["delete", "delete", "replace"])
        if way == "replace":
            body["samples"] = [{"path": path, "time": at, "value": self.next(path)[1]} for path in paths]
        response, _ = self.act("POST", f"/v1/twins/{self.twin(name)}/history/{way}", json=body)
        assert response.status_code in {200, 400, 404}, response.text

    def play(self, steps: int) -> None:
        acts = [self.put, self.patch, self.remove, self.ingest, self.relate, self.delete, self.correct]
        for _ in range(steps):
            self.random.choices(acts, [2, 6, 1, 8, 3, 1, 3 * self.corrects])[0]()

    def entries(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Return the whole timeline of a twin, page by page."""
        found: list[dict[str, Any]] = []
        after = None
        while True:
            wanted = params | ({"after": after} if after else {})
            answer = self.client.get(f"/v1/twins/{self.twin(name)}/timeline", params=wanted)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert len(body["entries"]) <= params.get("limit", 100)
            found += body["entries"]
            after = body["after"]
            if after is None:
                return found

    def check_cause(self, value: Any, cause: dict[str, Any] | None) -> None:
        trace, event = self.brought[int(value)]
        assert cause is not None, value
        assert (cause["traceId"], (cause["event"] or {}).get("id")) == (trace, event), value
        assert cause["actor"] == "test", cause


EVERY = ["twin", "relationship", "property", "telemetry"]


@pytest.mark.parametrize("seed", range(5))
def test_timelines_name_every_act(client: httpx.Client, seed: int) -> None:
    print(f"seed {seed}")
    acts = Acts(client, seed)
    acts.put()
    acts.play(110)
    told: set[int] = set()
    for name in TWINS:
        if client.get(f"/v1/twins/{acts.twin(name)}/timeline").status_code == 404:
            continue
        forward = acts.entries(name, kind=EVERY, order="asc", limit=1000)
        assert forward == sorted(forward, key=lambda entry: entry["time"])
        for limit in (1, 3, 7):
            assert acts.entries(name, kind=EVERY, order="asc", limit=limit) == forward
            assert acts.entries(name, kind=EVERY, limit=limit) == forward[::-1]
        told |= check_values(acts, forward)
        check_structure(acts, name, forward)
        assert acts.entries(name, order="asc") == [e for e in forward if e["what"] != "telemetry"]
        assert acts.entries(name, path="flow", order="asc") == [e for e in forward if e.get("path") == "flow"]
        if forward:
            part = forward[len(forward) // 3 : 2 * len(forward) // 3 + 1]
            within = [e for e in forward if part[0]["time"] <= e["time"] < part[-1]["time"]]
            window = {"from": part[0]["time"], "to": part[-1]["time"]}
            if within:
                assert acts.entries(name, kind=EVERY, order="asc", **window) == within
    assert told == acts.brought.keys()


def check_values(acts: Acts, entries: list[dict[str, Any]]) -> set[int]:
    """Check each value's cause and the value before it; return all values that were told of."""
    told: set[int] = set()
    last: dict[str, Any] = {}
    keys: list[tuple[int, str, str, str, bool]] = []
    incarnation = 0
    for entry in entries:
        if entry["what"] == "twin.deleted":
            last.clear()
            incarnation += 1
        if "path" not in entry:
            continue
        first = min([entry["recorded"], *(lost["recorded"] for lost in entry.get("superseded", []))])
        keys.append((incarnation, entry["path"], entry["time"], first, entry.get("late", False)))
        assert entry["before"] == last.get(entry["path"]), entry
        last[entry["path"]] = entry["after"]
        assert entry["cause"]["traceId"] in acts.traces, entry
        for each in [{"value": entry["after"], **entry}, *entry.get("superseded", [])]:
            if each.get("removed"):
                assert each["value"] is None, each
                continue
            acts.check_cause(each["value"], each["cause"])
            assert int(each["value"]) not in told, each
            told.add(int(each["value"]))
        for lost in entry.get("superseded", []):
            assert (
                lost["recorded"] <= lost["superseded"] <= entry["recorded"]
                or lost["recorded"] == lost["superseded"]
            )
    for *series, time, first, late in keys:
        newer = [other for *own, later, other, _ in keys if own == series and later > time]
        assert late == any(other < first for other in newer), (series, time)
    return told


def check_structure(acts: Acts, name: str, entries: list[dict[str, Any]]) -> None:
    """Check that twins and relationships are made before they are changed or end, each by an act of ours."""
    there: dict[str, bool] = {}
    for entry in entries:
        if "path" in entry:
            continue
        assert entry["cause"]["traceId"] in acts.traces, entry
        what, _, kind = entry["what"].partition(".")
        key = what if what == "twin" else f"{entry['direction']} {entry['source']} {entry['relationship']}"
        assert there.get(key, False) == (kind in {"deleted", "removed", "changed"}), entry
        there[key] = kind in {"created", "changed"}
    assert there["twin"] == (name in acts.live)


@pytest.mark.parametrize("seed", range(100, 104))
def test_every_current_value_names_its_event(client: httpx.Client, seed: int) -> None:
    print(f"seed {seed}")
    acts = Acts(client, seed)
    acts.put()
    acts.play(80)
    for name in acts.live:
        twin = acts.twin(name)
        values = client.get(f"/v1/twins/{twin}/telemetry").json()["values"]
        explained = client.get(f"/v1/twins/{twin}/explain").json()["values"]
        assert {each["path"] for each in explained} == values.keys()
        for each in explained:
            held = values[each["path"]]
            for field_ in ("value", "sourceTime", "recorded", "quality", "unit"):
                assert each[field_] == held[field_], each
            acts.check_cause(each["value"], each["cause"])
            for lost in each["superseded"]:
                acts.check_cause(lost["value"], lost["cause"])
            rules = [rule["rule"] for rule in each["rules"]]
            assert rules[-1] == "newestTime"
            assert (len(rules) == 3) == bool(each["superseded"]), each
            timed = (each["cause"]["event"] or {}).get("timed")
            expected = {
                True: {"eventTime"},
                False: {"receiptTime"},
                None: {"recordedTime", "requestTime", "afterLast"},
            }
            assert rules[0] in expected[timed], each
            if each["superseded"]:
                best = max(each["superseded"], key=lambda lost: (lost["revision"], float(lost["value"])))
                higher = each["revision"] > best["revision"]
                assert rules[1] == ("higherRevision" if higher else "greaterValue"), each


def explained(client: httpx.Client, twin: str, **moment: str) -> Any:
    """Return the explanations of a twin, but for the words of their rules, which name the moment; None without it."""
    answer = client.get(f"/v1/twins/{twin}/explain", params=moment)
    assert answer.status_code in {200, 404}, answer.text
    if answer.status_code == 404:
        return None
    values = answer.json()["values"]
    return [value | {"rules": [rule["rule"] for rule in value["rules"]]} for value in values]


def told(client: httpx.Client, twin: str, **moment: str) -> Any:
    """Return the whole timeline of a twin; None where it was never there."""
    wanted: dict[str, Any] = {"kind": [*EVERY, "correction"], "limit": 1000, "order": "asc"} | moment
    answer = client.get(f"/v1/twins/{twin}/timeline", params=wanted)
    assert answer.status_code in {200, 404}, answer.text
    return None if answer.status_code == 404 else answer.json()["entries"]


def differing(client: httpx.Client, **wanted: str) -> Any:
    """Return what differs in the whole graph."""
    answer = client.get("/v1/diff", params=wanted | {"telemetry": "true", "limit": "1000"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["after"] is None
    return answer.json()["items"]


@pytest.mark.parametrize("seed", range(20, 24))
def test_known_at_differs_as_it_did_then(client: httpx.Client, seed: int) -> None:
    print(f"seed {seed}")
    acts = Acts(client, seed, corrects=True)
    acts.put()
    early = iso_us(acts.start_us + 3000)
    moments, seen = [early], []
    for _ in range(12):
        acts.play(5)
        moments.append(iso_us(now_us()))
        for start in {early, moments[-2]}:
            window = {"from": start, "to": moments[-1]}
            seen.append((window, differing(client, **window)))
    for window, answer in seen:
        assert differing(client, knownAt=window["to"], **window) == answer, window
    assert any(differing(client, **window) != answer for window, answer in seen)


@pytest.mark.parametrize("seed", range(10, 14))
def test_known_at_tells_what_was_told_then(client: httpx.Client, seed: int) -> None:
    print(f"seed {seed}")
    acts = Acts(client, seed, corrects=True)
    acts.put()
    asks = [(ask, acts.twin(name)) for ask in ASKS for name in TWINS]
    seen: list[tuple[str, list[Any]]] = []
    for _ in range(25):
        acts.play(4)
        live = [ask(client, twin) for ask, twin in asks]
        seen.append((iso_us(now_us()), live))
    for known_at, answers in seen:
        for (ask, twin), answer in zip(asks, answers, strict=True):
            assert ask(client, twin, knownAt=known_at) == answer, (ask.__name__, twin, known_at)
    assert any(before != after for (_, before), (_, after) in pairwise(seen))


@pytest.mark.parametrize("seed", range(14, 16))
def test_a_value_of_a_moment_is_explained(client: httpx.Client, seed: int) -> None:
    """The value of every path is that of the read of the same moment, and its cause the one that brought it."""
    print(f"seed {seed}")
    acts = Acts(client, seed)
    acts.put()
    acts.play(100)
    moments = sorted(
        {entry[of] for n in acts.live for entry in acts.entries(n) for of in ("time", "recorded")}
    )
    explained_values = 0
    for as_of in [*acts.random.sample(moments, 12), *(acts.time() for _ in range(12))]:
        moment = {"asOf": as_of} | acts.random.choice([{}, {"knownAt": acts.random.choice(moments)}])
        for name in TWINS:
            answer = client.get(f"/v1/twins/{acts.twin(name)}/explain", params=moment)
            read = client.get(f"/v1/twins/{acts.twin(name)}/telemetry", params=moment)
            assert answer.status_code == read.status_code, (answer.text, moment)
            if answer.status_code == 404:
                continue
            found = {each["path"]: each for each in answer.json()["values"]}
            values = {path: held["value"] for path, held in read.json()["values"].items()}
            assert {path: each["value"] for path, each in found.items()} == values, moment
            for each in found.values():
                acts.check_cause(each["value"], each["cause"])
                explained_values += 1
                assert each["sourceTime"] <= as_of
                assert each["beforeTime"] is None or each["beforeTime"] < each["sourceTime"]
                for lost in each["superseded"]:
                    acts.check_cause(lost["value"], lost["cause"])
                    assert lost["superseded"] <= moment.get("knownAt", END)

                assert each["recorded"] <= moment.get("knownAt", END)
    assert explained_values


END = "9999"
ASKS: list[Callable[..., Any]] = [explained, told]
