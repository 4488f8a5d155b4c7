"""The API over gRPC, by a client of its own stubs: ingest, read, subscribe, and who may."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest

from gemel.base.settings import Settings
from gemel.rpc.ingest import STREAMS_MAX
from gemel.rpc.server import SERVICE
from gemel.security.principal import Scope
from support.api_site import MODELS, PUMP, Site
from support.arrow import Row, stream_of, table_of
from support.postgres import Dsns
from support.rpc import messages

TIME_US = 1_769_860_800_000_000
TWIN = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}, "label": "of-one"}
SECRET = "of-one"


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(database, Settings(body_bytes_max=1 << 20))
    try:
        client = site.client("one")
        assert client.post("/models", json=MODELS).status_code == 201
        for twin in ("a", "b"):
            assert client.put(f"/digitaltwins/{twin}", json=TWIN).status_code == 200
        yield site
    finally:
        site.close()


def event(number: int, twin: str = "a", **data: Any) -> Any:
    pb = messages()
    made = pb.Event(id=str(number), source="/rpc", type="t", subject=twin)
    made.time.FromMicroseconds(TIME_US + number * 1_000_000)
    for path, value in data.items():
        kind = {float: "number", int: "integer", bool: "flag", str: "text"}[type(value)]
        setattr(made.data[path.replace("__", ".")], kind, value)
    return made


def batch(number: int, *events: Any, **options: Any) -> Any:
    pb = messages()
    return pb.IngestBatch(number=number, events=pb.Events(events=events), **options)


def refused(work: Any) -> tuple[str, str]:
    """Return the status and our code of a call that is refused."""
    with pytest.raises(grpc.RpcError) as error:
        list(work) if hasattr(work, "__next__") else work()
    told = error.value
    code = dict(told.trailing_metadata() or ()).get("gemel-code", "")
    assert told.details().startswith(f"{code}: ") or not code
    return told.code().name, code


def test_batches_are_answered_one_by_one(site: Site) -> None:
    table = table_of([Row("b", TIME_US + n, {"flow": float(n)}) for n in range(100)], wide=True)
    sent = [
        batch(7, event(1, flow=1.0, count=3, label="x", motor__speed=2.0), source="line", position="p1"),
        batch(8, event(1, flow=1.0), event(2, "nobody", flow=1.0), event(3, count=1.5)),
        messages().IngestBatch(number=9, arrow=stream_of(table)),
        messages().IngestBatch(number=10, arrow=b"junk"),
        messages().IngestBatch(number=11, json=b"[]"),
        messages().IngestBatch(number=12),
        batch(13, event(4, "new", flow=1.0), create_model=PUMP),
        batch(14, event(5, flow=9.0), source="line", position="p2"),
    ]
    acks = list(site.stub().Ingest(iter(sent), metadata=site.metadata()))
    assert [ack.number for ack in acks] == [7, 8, 9, 10, 11, 12, 13, 14]
    assert (acks[0].accepted + acks[0].late, acks[0].quarantined) == (4, 0)
    assert (acks[1].duplicate, acks[1].quarantined) == (1, 2)
    assert [(each.index, each.code) for each in acks[1].rejected] == [(1, "TwinUnknown"), (2, "WrongType")]
    assert acks[2].accepted == 100
    assert [acks[n].failure.code for n in (3, 5)] == ["BodyMalformed", "MissingArgument"]
    assert not acks[4].HasField("failure")
    assert acks[6].accepted == 1
    assert (
        site.stub().Position(messages().PositionRequest(source="line"), metadata=site.metadata()).position
        == "p2"
    )
    nothing = site.stub().Position(messages().PositionRequest(source="x"), metadata=site.metadata())
    assert not nothing.HasField("position")
    audited = [row for row in site.audited("one") if row[0] == "events.ingest"]
    assert {"BodyMalformed", "MissingArgument", "ok"} <= {row[2] for row in audited}


def test_an_ack_is_durable_and_visible(site: Site) -> None:
    """What is acknowledged is read back before the stream goes on."""
    stub, metadata, reader = site.stub(), site.metadata(), site.client("one")
    outbox: queue.Queue[Any] = queue.Queue()
    acks = stub.Ingest(iter(outbox.get, None), metadata=metadata)
    for number in range(20):
        outbox.put(batch(number, event(100 + number, "b", flow=float(number))))
        assert next(acks).accepted == 1
        values = reader.get("/v1/twins/b/telemetry").json()["values"]
        assert values["flow"]["value"] == float(number)
    outbox.put(None)
    assert list(acks) == []


def test_reading_is_as_over_http(site: Site) -> None:
    pb, stub, metadata, client = messages(), site.stub(), site.metadata(), site.client("one")
    list(
        stub.Ingest(iter([batch(1, *(event(200 + n, flow=float(n)) for n in range(50)))]), metadata=metadata)
    )
    twin = stub.GetTwin(pb.TwinRequest(twin="a"), metadata=metadata)
    assert json.loads(twin.json) == client.get("/digitaltwins/a").json()
    assert twin.etag == client.get("/digitaltwins/a").headers["etag"]
    told = client.get("/v1/twins/a/telemetry").json()["values"]
    values = stub.LastValues(pb.TwinRequest(twin="a"), metadata=metadata).samples
    assert {each.path: getattr(each.value, each.value.WhichOneof("kind")) for each in values} == {
        path: held["value"] for path, held in told.items()
    }
    request = pb.HistoryRequest(twin="a", paths=["flow"], limit=20)
    getattr(request, "from").FromMicroseconds(TIME_US + 200_000_000)
    pages = list(stub.History(request, metadata=metadata))
    samples = [sample for page in pages for sample in page.samples]
    assert [sample.value.number for sample in samples] == [float(n) for n in range(20)]
    assert samples[3].time.ToMicroseconds() == TIME_US + 203_000_000
    query = pb.QueryRequest(query="SELECT $dtId FROM digitaltwins", page_size=1)
    pages = list(stub.Query(query, metadata=metadata))
    assert len(pages) >= 2
    assert {"a", "b"} <= {json.loads(item)["$dtId"] for page in pages for item in page.items}
    past = pb.TwinRequest(twin="a")
    past.moment.as_of.FromMicroseconds(TIME_US + 205_500_000)
    then = {each.path: each for each in stub.LastValues(past, metadata=metadata).samples}
    assert then["flow"].value.number == 5.0


def test_changes_are_followed_and_gone_on_from(site: Site) -> None:
    pb, stub, metadata = messages(), site.stub(), site.metadata()
    call = stub.Subscribe(pb.SubscribeRequest(twins=["a"]), metadata=metadata)
    start = next(call)
    assert (start.kind, start.number > 0) == ("", True)
    sent = [batch(n, event(300 + n, "ab"[n % 2], flow=float(n))) for n in range(6)]
    list(stub.Ingest(iter(sent), metadata=metadata))
    got = [next(call) for _ in range(3)]
    call.cancel()
    assert [json.loads(each.json)["samples"][0]["value"] for each in got] == [0.0, 2.0, 4.0]
    again = stub.Subscribe(pb.SubscribeRequest(after=got[0].number, twins=["a"]), metadata=metadata)
    assert next(again).number == got[0].number
    assert [next(again), next(again)] == got[1:]
    again.cancel()
    assert refused(stub.Subscribe(pb.SubscribeRequest(after=10**9), metadata=metadata)) == (
        "OUT_OF_RANGE",
        "ChangesGone",
    )


def test_a_slow_subscriber_holds_little(site: Site) -> None:
    """It takes nothing while much changes, and gets all of it afterwards, in order."""
    pb, stub, metadata = messages(), site.stub(), site.metadata()
    call = stub.Subscribe(pb.SubscribeRequest(), metadata=metadata)
    start = next(call).number
    table = [
        stream_of(
            table_of(
                [Row("b", TIME_US - 10**9 - n * 2000 - k, {"flow": 1.0}) for k in range(2000)], wide=True
            )
        )
        for n in range(20)
    ]
    acks = list(
        stub.Ingest((pb.IngestBatch(number=n, arrow=body) for n, body in enumerate(table)), metadata=metadata)
    )
    assert sum(ack.accepted + ack.late for ack in acks) == 40_000
    seen, number = 0, start
    while seen < 40_000:
        change = next(call)
        seen += len(json.loads(change.json)["samples"])
        assert change.number in (0, number + 1)
        number = change.number or number
    call.cancel()


ASKED: dict[str, Any] = {
    "Ingest": lambda pb: iter([pb.IngestBatch(json=b"[]")]),
    "Position": lambda pb: pb.PositionRequest(source="line"),
    "GetTwin": lambda pb: pb.TwinRequest(twin="a"),
    "LastValues": lambda pb: pb.TwinRequest(twin="a"),
    "Query": lambda pb: pb.QueryRequest(query="SELECT * FROM digitaltwins"),
    "History": lambda pb: pb.HistoryRequest(twin="a"),
    "Subscribe": lambda pb: pb.SubscribeRequest(),
}
STREAMED = ("Ingest", "Query", "History", "Subscribe")


def asked(site: Site, name: str, metadata: Any) -> Any:
    call = getattr(site.stub(), name)
    request = ASKED[name](messages())
    return call(request, metadata=metadata) if name in STREAMED else lambda: call(request, metadata=metadata)


def test_every_method_is_asked_below() -> None:
    methods = messages().DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]].methods
    assert {method.name for method in methods} == set(ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_who_may(site: Site, name: str) -> None:
    assert refused(asked(site, name, ())) == ("UNAUTHENTICATED", "TokenInvalid")
    wrong = (("authorization", "Bearer gk_1_aaaaaaaa_x"),)
    assert refused(asked(site, name, wrong)) == ("UNAUTHENTICATED", "TokenInvalid")
    scope = Scope.READ if name in ("Ingest", "Position") else Scope.INGEST
    assert refused(asked(site, name, site.metadata("one", scope))) == ("PERMISSION_DENIED", "ScopeMissing")
    if name == "Ingest":
        assert ("events.ingest", "", "ScopeMissing") in [row[:3] for row in site.audited("one")]
        assert ("events.ingest", "", "TokenInvalid") in [row[:3] for row in site.audited(0)]


@pytest.mark.parametrize("name", ASKED)
def test_another_tenant_sees_nothing(site: Site, name: str) -> None:
    pb, stub, metadata = messages(), site.stub(), site.metadata("two")
    owner = site.metadata("one")
    if name == "Subscribe":
        call = stub.Subscribe(pb.SubscribeRequest(after=0), metadata=metadata)
        assert next(call).kind == ""
        list(stub.Ingest(iter([batch(1, event(900, label=SECRET))]), metadata=owner))
        told: list[Any] = []
        thread = threading.Thread(target=lambda: told.extend(_until_cancelled(call)))
        thread.start()
        thread.join(0.5)
        call.cancel()
        thread.join(5)
        assert told == []
    elif name == "Ingest":
        before = site.client("one").get("/digitaltwins/a").json()
        (ack,) = stub.Ingest(iter([batch(1, event(901, label="taken"))]), metadata=metadata)
        assert [each.code for each in ack.rejected] == ["TwinUnknown"]
        assert site.client("one").get("/digitaltwins/a").json() == before
    elif name == "Position":
        list(
            stub.Ingest(
                iter([batch(1, event(902, flow=1.0), source="line", position=SECRET)]), metadata=owner
            )
        )
        assert not stub.Position(ASKED[name](pb), metadata=metadata).HasField("position")
    elif name == "Query":
        assert [item for page in asked(site, name, metadata) for item in page.items] == []
    else:
        assert refused(asked(site, name, metadata)) == ("NOT_FOUND", "DigitalTwinNotFound")


def _until_cancelled(call: Any) -> Iterator[Any]:
    try:
        yield from call
    except grpc.RpcError:
        return


def test_create_model_needs_write(site: Site) -> None:
    metadata = site.metadata("one", Scope.INGEST)
    call = site.stub().Ingest(
        iter([batch(1, event(1, "n2", flow=1.0), create_model=PUMP)]), metadata=metadata
    )
    assert refused(call) == ("PERMISSION_DENIED", "ScopeMissing")


def test_limits(site: Site) -> None:
    pb, stub, metadata = messages(), site.stub(), site.metadata()
    big = pa.table({"x": [0.0] * 200_000})
    assert refused(stub.Ingest(iter([pb.IngestBatch(arrow=stream_of(big))]), metadata=metadata))[0] == (
        "RESOURCE_EXHAUSTED"
    )
    (ack,) = stub.Ingest(iter([pb.IngestBatch(number=1, json=b" " * ((1 << 20) + 1))]), metadata=metadata)
    assert ack.failure.code == "BodyTooLarge"
    outbox: queue.Queue[Any] = queue.Queue()
    held = []
    for number in range(STREAMS_MAX):
        first: queue.Queue[Any] = queue.Queue()
        first.put(batch(number, event(950, flow=1.0)))
        call = stub.Ingest(iter(first.get, None), metadata=metadata)
        assert next(call).number == number
        held.append((call, first))
    assert refused(stub.Ingest(iter(outbox.get, None), metadata=metadata)) == (
        "RESOURCE_EXHAUSTED",
        "Overloaded",
    )
    outbox.put(None)
    for call, first in held:
        first.put(None)
        assert list(call) == []
    (ack,) = stub.Ingest(iter([batch(2, event(951, flow=1.0))]), metadata=metadata)
    assert ack.number == 2


def test_bad_events_go_to_quarantine_and_never_end_a_stream(site: Site) -> None:
    pb, stub, metadata = messages(), site.stub(), site.metadata()
    odd = [pb.Event(), event(960), event(961, flow=float("nan")), event(962, label="x\x00")]
    late = event(963, flow=1.0)
    late.time.seconds = 10**17
    quality = event(964, flow=1.0)
    quality.quality = 9
    empty = event(965)
    empty.data["flow"].SetInParent()
    broken = event(966)
    broken.data["flow"].json = "{"
    sent = [*odd, late, quality, empty, broken, event(967, flow=1.0)]
    (ack,) = stub.Ingest(iter([batch(1, *sent)]), metadata=metadata)
    assert [each.code for each in ack.rejected] == [
        "EventMalformed",
        "EventEmpty",
        "ValueNotFinite",
        "ValueOutOfRange",
        "TimeMalformed",
        "QualityInvalid",
        "WrongType",
        "WrongType",
    ]
    assert ack.accepted + ack.late == 1


def test_a_revoked_key_ends_the_stream(site: Site) -> None:
    client = site.client("one")
    made = client.post("/v1/keys", json={"name": "rpc", "scopes": ["ingest"]}).json()
    metadata = (("authorization", f"Bearer {made['key']}"),)
    outbox: queue.Queue[Any] = queue.Queue()
    call = site.stub().Ingest(iter(outbox.get, None), metadata=metadata)
    outbox.put(batch(1, event(970, flow=1.0)))
    assert next(call).number == 1
    assert client.delete(f"/v1/keys/{made['keyId']}").status_code in (200, 204)
    outbox.put(batch(2, event(971, flow=1.0)))
    assert refused(call) == ("UNAUTHENTICATED", "TokenInvalid")
    outbox.put(None)


def test_a_trace_is_continued(site: Site) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = (*site.metadata(), ("traceparent", f"00-{trace}-b7ad6b7169203331-01"))
    call = site.stub().Ingest(iter([batch(1, event(980, flow=1.0))]), metadata=metadata)
    assert len(list(call)) == 1
    assert dict(call.trailing_metadata())["traceresponse"].split("-")[1] == trace
    assert trace in {row[5] for row in site.audited("one")}
