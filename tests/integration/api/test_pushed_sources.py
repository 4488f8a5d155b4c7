"""Sources that are pushed to, by JSON, Arrow, a mapping and gRPC, under a contract that has the last word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from gemel.base.clock import now_us
from gemel.ingest.arrow import ARROW
from gemel.observe.exposition import SourceState
from support.api_site import PUMP, Site
from support.arrow import Row, json_lines, stream_of, table_of
from support.rpc import messages

START_US = 1_769_860_800_000_000
CONTRACT: dict[str, Any] = {
    "contract": "line",
    "version": "1.0",
    "thing": "subject",
    "time": {"path": "time"},
    "fields": {
        "subject": {"type": "string", "required": True},
        "data.flow": {"type": "number", "min": 0, "max": 50},
        "data.motor.speed": {"type": "number"},
    },
    "others": "refuse",
}
LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module", autouse=True)
def _twins(client: httpx.Client) -> None:
    for twin in ("p-1", "p-2"):
        body = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}
        assert client.put(f"/digitaltwins/{twin}", json=body).status_code == 200


@pytest.fixture
def name(client: httpx.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    found = f"s{abs(hash(request.node.name)) % 10**8}"
    yield found
    client.delete(f"/v1/sources/{found}")


def describe(client: httpx.Client, name: str, **keys: Any) -> None:
    promised = {key: value for key, value in (CONTRACT | keys).items() if value is not None}
    text = {"name": name, "kind": "push", "contract": promised}
    answer = client.put(f"/v1/sources/{name}", json={"definition": json.dumps(text)})
    assert answer.status_code == 200, answer.text
    assert client.post(f"/v1/sources/{name}/start").status_code == 200


def rows(count: int, first: int = 0, **wrong: Any) -> list[Row]:
    """Return good rows; the sixth is as `wrong` says."""
    made = [
        Row("p-1", START_US + (first + n) * 1_000_000, {"flow": float(n), "motor.speed": 1.0})
        for n in range(count)
    ]
    if wrong:
        made[5] = made[5]._replace(values=made[5].values | wrong)
    return made


def send(client: httpx.Client, name: str, given: list[Row], *, arrow: bool) -> httpx.Response:
    headers = {"Gemel-Source": name} | ({"Content-Type": ARROW} if arrow else LINES)
    body = stream_of(table_of(given, wide=True)) if arrow else json_lines(given)
    return client.post("/v1/events", content=body, headers=headers)


def drift(client: httpx.Client, name: str) -> dict[str, tuple[str | None, int, str]]:
    found = client.get(f"/v1/sources/{name}/drift").json()["value"]
    return {each["finding"]: (each["field"], each["count"], each["policy"]) for each in found}


@pytest.mark.parametrize("arrow", [False, True])
@pytest.mark.parametrize("policy", ["accept", "quarantine", "stop"])
def test_what_breaks_the_contract_is_dealt_with_by_its_policy(
    client: httpx.Client, name: str, policy: str, arrow: bool
) -> None:
    describe(client, name, policy={"range": policy})
    first = {("accept", False): 0, ("accept", True): 20, ("quarantine", False): 40, ("quarantine", True): 60}
    given = rows(10, first.get((policy, arrow), 80), flow=99.0)
    answer = send(client, name, given, arrow=arrow)
    if policy == "stop":
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "DriftRange")
        shown = client.get(f"/v1/sources/{name}").json()
        assert (shown["state"], shown["errorCode"], shown["counts"]["events"]) == ("failed", "DriftRange", 0)
        refused = send(client, name, rows(1, 100), arrow=arrow)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "SourceStopped")
        assert "flow is out of range" in refused.json()["error"]["message"]
        assert drift(client, name) == {"range": ("data.flow", 1, "stop")}
        assert client.post(f"/v1/sources/{name}/start").status_code == 200
        assert send(client, name, rows(1, 100), arrow=arrow).status_code == 200
        return
    result = answer.json()
    assert (result["accepted"] + result["late"], result["quarantined"]) == (
        (20, 0) if policy == "accept" else (18, 1)
    )
    assert drift(client, name) == {"range": ("data.flow", 1, policy)}
    counts = client.get(f"/v1/sources/{name}").json()["counts"]
    assert (counts["batches"], counts["events"]) == (1, 10)
    if policy == "quarantine":
        (rejected,) = result["rejected"]
        assert (rejected["index"], rejected["code"]) == (5, "DriftRange")
        held = client.get(f"/v1/quarantine/{rejected['quarantine']}").json()
        assert (held["place"], held["readFrom"]) == ("/data/flow", name)
        listed = client.get("/v1/quarantine", params={"readFrom": name}).json()["value"]
        assert [each["number"] for each in listed] == [held["number"]]
        assert json.loads(held["raw"])["data"]["flow"] == 99.0
        # Once somebody knows that it may be taken, it is, as it came; the contract is not asked again.
        replayed = client.post("/v1/quarantine/replay", json={"numbers": [rejected["quarantine"]]})
        assert replayed.status_code == 200, replayed.text
        assert client.get(f"/v1/quarantine/{rejected['quarantine']}").status_code == 404
    # The same once more is no drift less and no value more.
    again = send(client, name, given, arrow=arrow).json()
    assert again["accepted"] + again["late"] == 0


def test_fields_types_times_and_clocks_of_events(client: httpx.Client, name: str) -> None:
    describe(client, name, ahead_s=3, late_s=500, every={"max_s": 600})
    base = rows(9, 2000)
    base[1] = base[1]._replace(values={"flow": "wet"})
    base[2] = base[2]._replace(values={"flow": 1.0, "label": "x"})
    base[3] = base[3]._replace(time_us=None)
    base[4] = base[4]._replace(time_us=START_US)
    # A clock that is ahead makes no latecomers of those behind it, and no pause.
    base[5] = base[5]._replace(time_us=now_us() + 4_000_000)
    base[8] = base[8]._replace(time_us=START_US + 2700 * 1_000_000)
    answer = send(client, name, base, arrow=False)
    assert answer.status_code == 200
    found = {key: each[:2] for key, each in drift(client, name).items()}
    assert found == {
        "retyped": ("data.flow", 1), "new": ("data.label", 1), "time": (None, 1), "late": (None, 1),
        "ahead": (None, 1), "rate": (None, 1),
    }  # fmt: skip


def test_messages_through_a_mapping_are_looked_at_as_they_came(client: httpx.Client, name: str) -> None:
    mapping = (
        "version: 2\nsource: m\ntime: {path: at, format: unix_s}\ntwins: [{twin: p-2, values: {flow: f}}]"
    )
    assert client.put("/v1/mappings/pushed", content=mapping.encode()).status_code == 200
    fields = {"f": {"type": "number", "max": 50}, "at": {"type": "integer"}}
    describe(client, name, thing=None, time=None, fields=fields, policy={"default": "quarantine"})
    body = b"\n".join(json.dumps({"at": 1_769_860_800 + n, "f": 20.0 * n}).encode() for n in range(5))
    answer = client.post("/v1/push/pushed", content=body, headers=LINES | {"Gemel-Source": name}).json()
    assert (answer["accepted"] + answer["late"], [each["code"] for each in answer["rejected"]]) == (
        3,
        ["DriftRange"] * 2,
    )
    assert drift(client, name) == {"range": ("f", 2, "quarantine")}


def test_the_state_of_a_source_and_what_it_brought_stand_under_one_name(
    site: Site, client: httpx.Client, name: str
) -> None:
    describe(client, name)
    assert send(client, name, rows(4, 5000), arrow=False).status_code == 200
    outside = site.app.state.services.metrics.outside
    outside.sources = (SourceState(site.tenants["one"], name, "push", "running"),)
    try:
        told = [each for each in client.get("/v1/activity").json()["sources"] if each["state"]]
        page = client.get("/metrics").text
    finally:
        outside.sources = ()
    assert [(each["name"], each["state"], each["events"]) for each in told] == [(name, "running", 4)]
    assert f'gemel_events_total{{source="{name}",tenant="one"}} 4.0' in page
    assert f'gemel_source_state{{kind="push",source="{name}",state="running",tenant="one"}} 1.0' in page


def test_grpc_names_a_source_as_well(site: Site, client: httpx.Client, name: str) -> None:
    describe(client, name, policy={"range": "quarantine", "retyped": "stop"})
    pb = messages()

    def batch(place: int, **value: Any) -> Any:
        event = pb.Event(id=f"{name}-{place}", source="/rpc", type="t", subject="p-2")
        event.time.FromMicroseconds(START_US + (9000 + place) * 1_000_000)
        for kind, each in value.items():
            setattr(event.data["flow"], kind, each)
        return pb.IngestBatch(number=place, events=pb.Events(events=[event]), source=name)

    sent = [batch(1, number=1.0), batch(2, number=99.0), batch(3, text="x")]
    acks = list(site.stub().Ingest(iter(sent), metadata=site.metadata()))
    assert (acks[0].accepted + acks[0].late, acks[1].rejected[0].code) == (1, "DriftRange")
    held = client.get(f"/v1/quarantine/{acks[1].rejected[0].quarantine}").json()
    assert (held["source"], held["readFrom"]) == ("/rpc", name)
    assert acks[2].failure.code == "DriftRetyped"
    with pytest.raises(grpc.RpcError) as refused:
        list(site.stub().Ingest(iter([batch(4, number=1.0)]), metadata=site.metadata()))
    assert "SourceStopped" in refused.value.details()


def test_a_source_that_is_stopped_takes_nothing_and_other_names_are_as_they_were(
    client: httpx.Client, other: httpx.Client, name: str
) -> None:
    describe(client, name)
    assert client.post(f"/v1/sources/{name}/stop").status_code == 200
    refused = send(client, name, rows(1, 3000), arrow=False)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "SourceStopped")
    assert send(client, "any other name", rows(1, 3000), arrow=False).status_code == 200
    # Of another tenant the name is nobody's.
    assert send(other, name, rows(1, 3000), arrow=False).status_code == 200
    for text, said in (
        ("mapping: {version: 2}", "mapping"),
        ("create_twins: true", "create_twins"),
        ("connection: {url: x}", "connection.url"),
    ):
        answer = client.put(f"/v1/sources/{name}", json={"definition": f"name: {name}\nkind: push\n{text}"})
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (400, True), answer.text


def test_a_contract_changes_by_its_versions_alone(client: httpx.Client, name: str) -> None:
    describe(client, name)
    wider = CONTRACT | {"fields": CONTRACT["fields"] | {"data.flow": {"type": "number", "min": 0, "max": 80}}}
    for version, taken in (("1.0", False), ("1.1", False), ("2.0", True)):
        text = {"name": name, "kind": "push", "contract": wider | {"version": version}}
        answer = client.put(f"/v1/sources/{name}", json={"definition": json.dumps(text)})
        assert (answer.status_code == 200) is taken
        if not taken:
            assert answer.json()["error"]["code"] == "ContractVersionTooLow"
    assert send(client, name, rows(10, 4000, flow=70.0), arrow=True).json()["quarantined"] == 0
    assert drift(client, name) == {}


@pytest.mark.parametrize("arrow", [False, True])
@pytest.mark.parametrize("others", ["allow", "refuse"])
@pytest.mark.parametrize("policy", ["accept", "quarantine", "stop"])
def test_a_new_field_is_dealt_with_by_its_policy_whether_it_is_allowed_or_not(
    client: httpx.Client, name: str, policy: str, others: str, arrow: bool
) -> None:
    """The sixth event has a field that neither the contract nor the model knows, the seventh one that its model has."""
    describe(client, name, policy={"new": policy}, others=others)
    ways = [
        (p, o, a)
        for p in ("accept", "quarantine", "stop")
        for o in ("allow", "refuse")
        for a in (False, True)
    ]
    given = rows(8, 20_000 + 10 * ways.index((policy, others, arrow)), torque=7.5)
    given[6] = given[6]._replace(values=given[6].values | {"label": "x"})
    answer = send(client, name, given, arrow=arrow)
    shown = client.get(f"/v1/sources/{name}").json()
    if policy == "stop":
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "DriftNew")
        assert (shown["state"], shown["errorCode"], shown["counts"]["events"]) == ("failed", "DriftNew", 0)
        return
    result = answer.json()
    told = {each["field"]: each for each in client.get(f"/v1/sources/{name}/drift").json()["value"]}
    assert {field: (each["finding"], each["count"], each["policy"]) for field, each in told.items()} == {
        "data.torque": ("new", 1, policy), "data.label": ("new", 1, policy),
    }  # fmt: skip
    assert told["data.torque"]["example"] == "7.5"
    codes = [(each["index"], each["code"]) for each in result["rejected"]]
    if policy == "accept":
        assert (result["accepted"] + result["late"], codes) == (17, [])
    else:
        assert (result["accepted"] + result["late"], codes) == (12, [(5, "DriftNew"), (6, "DriftNew")])
        held = client.get(f"/v1/quarantine/{result['rejected'][0]['quarantine']}").json()
        assert json.loads(held["raw"])["data"]["torque"] == 7.5
    assert shown["counts"]["quarantined"] == len(codes)


def test_new_fields_that_are_accepted_are_counted_in_all_events_and_none_is_lost_whole(
    client: httpx.Client, name: str
) -> None:
    describe(client, name)
    more = {"flow": 1.0, "torque": 1.0}
    given = [each._replace(values=each.values | more) for each in rows(700, 30_000)]
    # What has nothing else waits whole.
    given[3] = given[3]._replace(values={"torque": 1.0})
    answer = send(client, name, given, arrow=False).json()
    assert (answer["accepted"] + answer["late"], answer["quarantined"]) == (1398, 1)
    assert [(each["index"], each["code"]) for each in answer["rejected"]] == [(3, "PathNotInModel")]
    assert drift(client, name) == {"new": ("data.torque", 700, "accept")}
    # Without a contract nobody has said that they may be left out.
    plain = send(client, "nobody", given[:2], arrow=False).json()
    assert [each["code"] for each in plain["rejected"]] == ["PathNotInModel"] * 2


def test_a_field_that_the_contract_names_and_the_model_lacks_is_not_new(
    client: httpx.Client, name: str
) -> None:
    fields = CONTRACT["fields"] | {"data.torque": {"type": "number"}, "data.pipe": {}}
    describe(client, name, fields=fields)
    base = rows(3, 40_000)
    base[0] = base[0]._replace(values=base[0].values | {"torque": 1.0})
    base[1] = base[1]._replace(values=base[1].values | {"pipe.width": 1.0})
    for arrow in (False, True):
        answer = send(client, name, base, arrow=arrow).json()
        assert [(each["index"], each["code"]) for each in answer["rejected"]] == [
            (0, "PathNotInModel"), (1, "PathNotInModel"),
        ]  # fmt: skip
    assert drift(client, name) == {}


def test_one_event_in_binary_mode_is_taken_by_the_contract_of_its_source(
    client: httpx.Client, name: str
) -> None:
    describe(client, name, policy={"range": "quarantine"})
    headers = {f"ce-{key}": value for key, value in {
        "specversion": "1.0", "id": name, "source": "/b", "type": "t", "subject": "p-1",
        "time": "2026-02-03T12:00:00Z",
    }.items()}  # fmt: skip
    sent = {"flow": 99.0, "torque": 1.0}
    answer = client.post("/v1/events", json=sent, headers=headers | {"Gemel-Source": name}).json()
    assert [each["code"] for each in answer["rejected"]] == ["DriftRange"]
    good = client.post(
        "/v1/events", json=sent | {"flow": 9.0}, headers=headers | {"Gemel-Source": name}
    ).json()
    assert (good["accepted"] + good["late"], good["quarantined"]) == (1, 0)
    assert {key: each[1] for key, each in drift(client, name).items()} == {"range": 1, "new": 2}
