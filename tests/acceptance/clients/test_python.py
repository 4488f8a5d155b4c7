"""The published azure-digitaltwins-core, unmodified: each of its methods, in both forms, over https and http."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.digitaltwins.core import DigitalTwinsEventRoute

from support.azure_clients import BODY, CONTEXT, FORMS, MODELS, PUMP, TANK, Caller, calling, public_methods
from support.command_line import Site, serving

# The client itself calls datetime.utcnow, which newer Pythons warn of.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

SCHEMES: dict[str, tuple[str, ...]] = {"https": ("--tls",), "http": ()}
numbers = itertools.count(1)


@pytest.fixture(scope="module", params=SCHEMES)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with serving(*SCHEMES[request.param], GEMEL_OUTBOUND_ALLOW="127.0.0.1:9") as site:
        with calling("sync", site) as call:
            call("create_models", MODELS)
        # The client offers no endpoints: the original service has them in its control plane.
        assert site.run("endpoint", "add", "hooks", "http://127.0.0.1:9/").code == 0
        yield site


@pytest.fixture(params=FORMS)
def call(request: pytest.FixtureRequest, site: Site) -> Iterator[Caller]:
    with calling(request.param, site) as call:
        yield call


def new_id(kind: str) -> str:
    return f"{kind}-{next(numbers)}"


def new_twin(call: Caller, **values: Any) -> str:
    twin_id = new_id("pump")
    body = {
        "$metadata": {"$model": PUMP},
        "body": {"$metadata": {}},
        "tank": {"$metadata": {}, "volume": 1.5},
        **values,
    }
    made = call("upsert_digital_twin", twin_id, body)
    assert made["$dtId"] == twin_id
    assert made["$metadata"]["$model"] == PUMP
    return twin_id


def new_model(call: Caller, **more: Any) -> str:
    model_id = f"dtmi:clients:{new_id('Model').replace('-', '')};1"
    call("create_models", [{"@context": CONTEXT, "@id": model_id, "@type": "Interface", **more}])
    return model_id


def related(call: Caller) -> tuple[str, str, str]:
    source, target, name = new_twin(call), new_twin(call), new_id("link")
    body = {"$targetId": target, "$relationshipName": "feeds", "length": 2.0}
    made = call("upsert_relationship", source, name, body)
    assert made["$relationshipId"] == name
    assert (made["$sourceId"], made["$targetId"]) == (source, target)
    return source, target, name


def refused(kind: type[HttpResponseError], code: str, attempt: Callable[[], Any]) -> Any:
    with pytest.raises(kind) as raised:
        attempt()
    assert type(raised.value) is kind
    error = cast("Any", raised.value)
    assert error.error.code == code
    assert error.response.headers["x-ms-error-code"] == code
    assert error.error.message
    return error


def create_models(call: Caller) -> None:
    pair = [f"dtmi:clients:{new_id('New').replace('-', '')};1" for _ in range(2)]
    documents = [{"@context": CONTEXT, "@id": each, "@type": "Interface"} for each in pair]
    made = call("create_models", documents)
    assert [model.id for model in made] == pair
    assert made[0].upload_time.tzinfo is not None
    assert (made[0].decommissioned, made[0].description) == (False, {})
    refused(ResourceExistsError, "ModelIdAlreadyExists", lambda: call("create_models", documents))
    bad = {"@context": CONTEXT, "@id": "dtmi:clients:Bad;1", "@type": "Nonsense"}
    refused(HttpResponseError, "DTDLParserError", lambda: call("create_models", [bad]))
    refused(ResourceNotFoundError, "ModelNotFound", lambda: call("get_model", bad["@id"]))


def get_model(call: Caller) -> None:
    plain = call("get_model", PUMP)
    assert (plain.id, plain.display_name, plain.model) == (PUMP, {"en": "Pump"}, None)
    whole = call("get_model", PUMP, include_model_definition=True)
    assert whole.model == MODELS[1]
    refused(ResourceNotFoundError, "ModelNotFound", lambda: call("get_model", "dtmi:clients:None;1"))
    refused(HttpResponseError, "InvalidArgument", lambda: call("get_model", "nonsense"))


def list_models(call: Caller) -> None:
    assert {BODY, PUMP, TANK} <= {model.id for model in call("list_models")}
    needed = call("list_models", [PUMP], include_model_definition=True)
    assert {model.id: model.model for model in needed} == {each["@id"]: each for each in MODELS}
    only = call("list_models", dependencies_for=[BODY])
    assert [model.id for model in only] == [BODY]
    missing = ["dtmi:clients:None;1"]
    refused(ResourceNotFoundError, "ModelNotFound", lambda: call("list_models", missing))


def decommission_model(call: Caller) -> None:
    model_id = new_model(call)
    call("decommission_model", model_id)
    assert call("get_model", model_id).decommissioned is True
    body = {"$metadata": {"$model": model_id}}
    refused(HttpResponseError, "ModelDecommissioned", lambda: call("upsert_digital_twin", "x", body))
    base = new_model(call)
    new_model(call, extends=base)
    refused(ResourceExistsError, "ModelReferencesNotDecommissioned", lambda: call("decommission_model", base))
    missing = "dtmi:clients:None;1"
    refused(ResourceNotFoundError, "ModelNotFound", lambda: call("decommission_model", missing))


def delete_model(call: Caller) -> None:
    base = new_model(call)
    heir = new_model(call, extends=base)
    refused(ResourceExistsError, "ModelReferencesNotDeleted", lambda: call("delete_model", base))
    call("delete_model", heir)
    call("delete_model", base)
    refused(ResourceNotFoundError, "ModelNotFound", lambda: call("delete_model", base))


def upsert_digital_twin(call: Caller) -> None:
    twin_id = new_twin(call, label="one", weight=3.5)
    again = {
        "$metadata": {"$model": PUMP},
        "body": {"$metadata": {}},
        "tank": {"$metadata": {}},
        "label": "two",
    }
    replaced = call("upsert_digital_twin", twin_id, again)
    assert replaced["label"] == "two"
    assert "weight" not in replaced
    missing = {"match_condition": MatchConditions.IfMissing}
    refused(
        ResourceExistsError,
        "PreconditionFailed",
        lambda: call("upsert_digital_twin", twin_id, again, **missing),
    )
    assert call("upsert_digital_twin", new_id("pump"), again, **missing)["label"] == "two"
    wrong = {**again, "label": 7}
    error = refused(
        HttpResponseError, "ValidationFailed", lambda: call("upsert_digital_twin", twin_id, wrong)
    )
    assert error.status_code == 400
    assert "label" in error.error.details[0].message


def get_digital_twin(call: Caller) -> None:
    twin_id = new_twin(call, label="one")
    twin = call("get_digital_twin", twin_id)
    assert (twin["label"], twin["tank"]["volume"]) == ("one", 1.5)
    assert twin["$etag"].startswith('W/"')
    assert twin["$metadata"]["label"]["lastUpdateTime"].endswith("Z")
    refused(ResourceNotFoundError, "DigitalTwinNotFound", lambda: call("get_digital_twin", "none"))


def update_digital_twin(call: Caller) -> None:
    twin_id = new_twin(call, label="one")
    patch = [
        {"op": "replace", "path": "/label", "value": "two"},
        {"op": "add", "path": "/weight", "value": 2.0},
        {"op": "replace", "path": "/tank/volume", "value": 4.0},
    ]
    stale = call("get_digital_twin", twin_id)["$etag"]
    unmodified = {"match_condition": MatchConditions.IfNotModified}
    assert call("update_digital_twin", twin_id, patch, etag=stale, **unmodified) is None
    twin = call("get_digital_twin", twin_id)
    assert (twin["label"], twin["weight"], twin["tank"]["volume"]) == ("two", 2.0, 4.0)
    refused(
        ResourceModifiedError,
        "PreconditionFailed",
        lambda: call("update_digital_twin", twin_id, patch, etag=stale, **unmodified),
    )
    call("update_digital_twin", twin_id, [{"op": "remove", "path": "/weight"}])
    present = MatchConditions.IfPresent
    call("update_digital_twin", twin_id, patch[:1], match_condition=present)
    assert "weight" not in call("get_digital_twin", twin_id)
    move = [{"op": "move", "from": "/label", "path": "/x"}]
    refused(HttpResponseError, "JsonPatchInvalid", lambda: call("update_digital_twin", twin_id, move))
    refused(ResourceNotFoundError, "DigitalTwinNotFound", lambda: call("update_digital_twin", "none", patch))


def delete_digital_twin(call: Caller) -> None:
    source, target, link = related(call)
    refused(HttpResponseError, "RelationshipsNotDeleted", lambda: call("delete_digital_twin", source))
    call("delete_relationship", source, link)
    stale = call("get_digital_twin", target)["$etag"]
    call("update_digital_twin", target, [{"op": "add", "path": "/label", "value": "x"}])
    unmodified = {"match_condition": MatchConditions.IfNotModified}
    refused(
        ResourceModifiedError,
        "PreconditionFailed",
        lambda: call("delete_digital_twin", target, etag=stale, **unmodified),
    )
    call("delete_digital_twin", target, etag=call("get_digital_twin", target)["$etag"], **unmodified)
    refused(ResourceNotFoundError, "DigitalTwinNotFound", lambda: call("delete_digital_twin", target))
    call("delete_digital_twin", source)


def get_component(call: Caller) -> None:
    twin_id = new_twin(call)
    tank = call("get_component", twin_id, "tank")
    assert tank["volume"] == 1.5
    assert tank["$metadata"]["volume"]["lastUpdateTime"].endswith("Z")
    refused(ResourceNotFoundError, "ComponentNotFound", lambda: call("get_component", twin_id, "none"))
    refused(ResourceNotFoundError, "DigitalTwinNotFound", lambda: call("get_component", "none", "tank"))


def update_component(call: Caller) -> None:
    twin_id = new_twin(call)
    patch = [{"op": "replace", "path": "/volume", "value": 9.0}]
    stale = call("get_digital_twin", twin_id)["$etag"]
    unmodified = {"match_condition": MatchConditions.IfNotModified}
    call("update_component", twin_id, "tank", patch, etag=stale, **unmodified)
    assert call("get_component", twin_id, "tank")["volume"] == 9.0
    refused(
        ResourceModifiedError,
        "PreconditionFailed",
        lambda: call("update_component", twin_id, "tank", patch, etag=stale, **unmodified),
    )
    wrong = [{"op": "replace", "path": "/volume", "value": "full"}]
    refused(HttpResponseError, "ValidationFailed", lambda: call("update_component", twin_id, "tank", wrong))


def upsert_relationship(call: Caller) -> None:
    source, target, name = related(call)
    body = {"$targetId": target, "$relationshipName": "feeds", "length": 3.0}
    assert call("upsert_relationship", source, name, body)["length"] == 3.0
    missing = {"match_condition": MatchConditions.IfMissing}
    refused(
        ResourceExistsError,
        "PreconditionFailed",
        lambda: call("upsert_relationship", source, name, body, **missing),
    )
    nowhere = {**body, "$targetId": "none"}
    refused(
        ResourceNotFoundError,
        "TargetTwinNotFound",
        lambda: call("upsert_relationship", source, new_id("link"), nowhere),
    )
    unknown = {**body, "$relationshipName": "owns"}
    refused(
        HttpResponseError, "InvalidRelationship", lambda: call("upsert_relationship", source, "r", unknown)
    )


def get_relationship(call: Caller) -> None:
    source, _, name = related(call)
    found = call("get_relationship", source, name)
    assert (found["$relationshipName"], found["length"]) == ("feeds", 2.0)
    assert found["$etag"].startswith('W/"')
    refused(ResourceNotFoundError, "RelationshipNotFound", lambda: call("get_relationship", source, "none"))


def update_relationship(call: Caller) -> None:
    source, _, name = related(call)
    stale = call("get_relationship", source, name)["$etag"]
    unmodified = {"match_condition": MatchConditions.IfNotModified}
    patch = [{"op": "replace", "path": "/length", "value": 8.0}]
    call("update_relationship", source, name, patch, etag=stale, **unmodified)
    assert call("get_relationship", source, name)["length"] == 8.0
    refused(
        ResourceModifiedError,
        "PreconditionFailed",
        lambda: call("update_relationship", source, name, patch, etag=stale, **unmodified),
    )


def delete_relationship(call: Caller) -> None:
    source, _, name = related(call)
    stale = call("get_relationship", source, name)["$etag"]
    call("update_relationship", source, name, [{"op": "replace", "path": "/length", "value": 8.0}])
    unmodified = {"match_condition": MatchConditions.IfNotModified}
    refused(
        ResourceModifiedError,
        "PreconditionFailed",
        lambda: call("delete_relationship", source, name, etag=stale, **unmodified),
    )
    call("delete_relationship", source, name)
    refused(ResourceNotFoundError, "RelationshipNotFound", lambda: call("delete_relationship", source, name))


def list_relationships(call: Caller) -> None:
    source, target, name = related(call)
    for number in range(120):
        call(
            "upsert_relationship",
            source,
            f"more-{number}",
            {"$targetId": target, "$relationshipName": "feeds"},
        )
    pages = call.pages("list_relationships", source)
    assert len(pages) == 2
    found = {each["$relationshipId"] for page in pages for each in page}
    assert found == {name, *(f"more-{number}" for number in range(120))}
    assert len(call("list_relationships", source, "feeds")) == 121
    assert call("list_relationships", source, relationship_id="owns") == []
    refused(ResourceNotFoundError, "DigitalTwinNotFound", lambda: call("list_relationships", "none"))


def list_incoming_relationships(call: Caller) -> None:
    source, target, name = related(call)
    (found,) = call("list_incoming_relationships", target)
    assert (found.relationship_id, found.source_id, found.relationship_name) == (name, source, "feeds")
    assert found.relationship_link == f"/digitaltwins/{source}/relationships/{name}"
    assert call("list_incoming_relationships", source) == []


def publish_telemetry(call: Caller) -> None:
    twin_id = new_twin(call)
    assert call("publish_telemetry", twin_id, {"flow": 3.5}) is None
    call("publish_telemetry", twin_id, {"flow": 4.5}, message_id="mine")
    for wrong in ({"flow": "much"}, {"nothing": 1}):
        refused(HttpResponseError, "ValidationFailed", lambda: call("publish_telemetry", twin_id, wrong))  # noqa: B023
    refused(
        ResourceNotFoundError, "DigitalTwinNotFound", lambda: call("publish_telemetry", "none", {"flow": 1})
    )


def publish_component_telemetry(call: Caller) -> None:
    twin_id = new_twin(call)
    assert call("publish_component_telemetry", twin_id, "tank", {"level": 0.5}) is None
    refused(
        ResourceNotFoundError,
        "ComponentNotFound",
        lambda: call("publish_component_telemetry", twin_id, "none", {"level": 1}),
    )


def query_twins(call: Caller) -> None:
    label = new_id("label")
    wanted = {new_twin(call, label=label) for _ in range(5)}
    text = f"SELECT * FROM digitaltwins T WHERE T.label = '{label}'"
    assert {twin["$dtId"] for twin in call("query_twins", text)} == wanted
    # What was written is seen by the very next query, and a page is followed by the rest.
    late = new_twin(call, label=label)
    pages = call.pages("query_twins", text, headers={"max-items-per-page": "2"})
    assert [len(page) for page in pages if page] == [2, 2, 2]
    assert {twin["$dtId"] for page in pages for twin in page} == {*wanted, late}
    (counted,) = call("query_twins", f"SELECT COUNT() FROM digitaltwins T WHERE T.label = '{label}'")
    assert counted == {"COUNT": 6}
    error = refused(HttpResponseError, "SqlQueryError", lambda: call("query_twins", "foo"))
    assert error.status_code == 400


def new_route(call: Caller) -> str:
    route_id = new_id("route")
    wanted = DigitalTwinsEventRoute(
        endpoint_name="hooks", filter="type = 'Microsoft.DigitalTwins.Twin.Update'"
    )
    assert call("upsert_event_route", route_id, wanted) is None
    return route_id


def upsert_event_route(call: Caller) -> None:
    route_id = new_route(call)
    call("upsert_event_route", route_id, DigitalTwinsEventRoute(endpoint_name="hooks", filter="true"))
    assert call("get_event_route", route_id).filter == "true"
    nowhere = DigitalTwinsEventRoute(endpoint_name="nowhere", filter="true")
    refused(
        HttpResponseError,
        "EventRouteEndpointInvalid",
        lambda: call("upsert_event_route", new_id("route"), nowhere),
    )
    wrong = DigitalTwinsEventRoute(endpoint_name="hooks", filter="foo foo")
    refused(
        HttpResponseError,
        "EventRouteFilterInvalid",
        lambda: call("upsert_event_route", new_id("route"), wrong),
    )
    call("delete_event_route", route_id)


def get_event_route(call: Caller) -> None:
    route_id = new_route(call)
    found = call("get_event_route", route_id)
    assert (found.id, found.endpoint_name) == (route_id, "hooks")
    assert found.filter == "type = 'Microsoft.DigitalTwins.Twin.Update'"
    refused(ResourceNotFoundError, "EventRouteNotFound", lambda: call("get_event_route", "none"))
    call("delete_event_route", route_id)


def list_event_routes(call: Caller) -> None:
    wanted = [new_route(call) for _ in range(3)]
    assert {route.id for route in call("list_event_routes")} == set(wanted)
    pages = call.pages("list_event_routes", headers={"max-items-per-page": "2"})
    assert [len(page) for page in pages] == [2, 1]
    for route_id in wanted:
        call("delete_event_route", route_id)


def delete_event_route(call: Caller) -> None:
    route_id = new_route(call)
    call("delete_event_route", route_id)
    refused(ResourceNotFoundError, "EventRouteNotFound", lambda: call("delete_event_route", route_id))


def close(call: Caller) -> None:
    call("close")


SCENARIOS: dict[str, Callable[[Caller], None]] = {
    each.__name__: each
    for each in (
        create_models, get_model, list_models, decommission_model, delete_model,
        upsert_digital_twin, get_digital_twin, update_digital_twin, delete_digital_twin,
        get_component, update_component, upsert_relationship, get_relationship, update_relationship,
        delete_relationship, list_relationships, list_incoming_relationships,
        publish_telemetry, publish_component_telemetry, query_twins, close,
        upsert_event_route, get_event_route, list_event_routes, delete_event_route,
    )
}  # fmt: skip


@pytest.mark.parametrize("method", sorted({name for form in FORMS for name in public_methods(form)}))
def test_every_method_works(call: Caller, method: str) -> None:
    if not hasattr(call.client, method):
        assert method == "close", "the two forms of the client differ"
        return
    SCENARIOS[method](call)
    assert method in call.called


def test_how_many_items_a_page_has_is_asked_by_a_header(call: Caller) -> None:
    pages = call.pages("list_models", headers={"max-items-per-page": "2"})
    assert [len(page) for page in pages[:-1]] == [2] * (len(pages) - 1)
    # Version 1.3.0 offers results_per_page as well, and fails over it before it sends anything.
    with pytest.raises(TypeError, match="max_item_count"):
        call("list_models", results_per_page=2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", ["2020-10-31", "2022-05-31", "2023-06-30", "2023-10-31"])
def test_every_version_of_the_api_is_served(site: Site, form: str, version: str) -> None:
    with calling(form, site, api_version=version) as call:
        assert call("get_digital_twin", new_twin(call))["$metadata"]["$model"] == PUMP
    with calling(form, site, api_version="2019-01-01") as call:
        refused(HttpResponseError, "InvalidArgument", lambda: call("get_model", PUMP))


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_key_is_an_authentication_error(site: Site, form: str) -> None:
    with calling(form, site, key="gk_1_wrong_key") as call:
        refused(ClientAuthenticationError, "TokenInvalid", lambda: call("get_model", PUMP))


@pytest.mark.parametrize("form", FORMS)
def test_without_a_policy_the_client_sends_no_key_over_http(site: Site, form: str) -> None:
    if site.url.startswith("https:"):
        with (
            calling(form, site, connection_verify=True, retry_total=0) as call,
            pytest.raises(ServiceRequestError, match=r"(?i)certificate.verify.failed"),
        ):
            call("get_model", PUMP)
        return
    with (
        calling(form, site, authentication_policy=None) as call,
        pytest.raises(ServiceRequestError, match="https"),
    ):
        call("get_model", PUMP)
