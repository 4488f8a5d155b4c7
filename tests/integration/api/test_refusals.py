"""What a caller reads who got something wrong: where it belongs, and what was likely meant."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

MODEL = "dtmi:test:Tagged;1"
TAGGED = {
    "@context": "dtmi:dtdl:context;3",
    "@id": MODEL,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "tags", "schema": {"@type": "Array", "elementSchema": "string"}},
        {"@type": "Property", "name": "name", "schema": "string"},
        {"@type": "Component", "name": "motor", "schema": "dtmi:test:Motor;1"},
        {"@type": "Relationship", "name": "feeds"},
    ],
}
BODY = {"$metadata": {"$model": MODEL}, "motor": {"$metadata": {}}}


@pytest.fixture(scope="module")
def tagged(client: httpx.Client) -> httpx.Client:
    assert client.post("/models", json=[TAGGED]).status_code == 201
    for twin in ("t1", "t2"):
        assert client.put(f"/digitaltwins/{twin}", json=BODY).status_code == 200
    return client


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "said"),
    [
        (
            "PUT",
            "/digitaltwins/t1/relationships/r",
            {"$targetId": "t2", "$relationshipName": "fedes"},
            "InvalidRelationship",
            f"The model {MODEL} has no relationship named fedes. Did you mean feeds?",
        ),
        (
            "PUT",
            "/digitaltwins/t1/relationships/r",
            {"$targetId": "t2", "$relationshipName": "zzz"},
            "InvalidRelationship",
            "zzz. It has feeds.",
        ),
        (
            "POST",
            "/v1/indexes",
            {"model": MODEL, "path": "motor.sped"},
            "InvalidArgument",
            "has no property 'motor.sped'. Did you mean motor.speed?",
        ),
        (
            "POST",
            "/v1/indexes",
            {"model": MODEL, "path": "tags"},
            "InvalidArgument",
            "The values of tags are arrays or objects, by which an index finds nothing.",
        ),
        (
            "GET",
            "/v1/twins/t1/explain?path=motor.sped",
            None,
            "PathNotInModel",
            "has no path 'motor.sped'. Did you mean motor.speed?",
        ),
        (
            "PUT",
            "/digitaltwins/t3",
            {"$metadata": {"$model": "dtmi:test:None;1"}},
            "ValidationFailed",
            "Invalid twin specified. ",
        ),
        (
            "POST",
            "/digitaltwins/nobody/telemetry",
            {"temperature": 1.0},
            "DigitalTwinNotFound",
            "There is no digital twin instance that exists with the ID nobody. Please verify",
        ),
    ],
)
def test_a_refusal_says_what_was_meant(
    tagged: httpx.Client, method: str, path: str, body: Any, code: str, said: str
) -> None:
    answer = tagged.request(method, path, json=body, headers={"Message-Id": "m"})
    assert answer.json()["error"]["code"] == code, answer.text
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"$validFrom": "2026-01-01T00:00:00Z"},
            "$validFrom does not appear on the DTDL for Twin. "
            'Write it into $metadata: {"$metadata": {"$validFrom": …}}.',
        ),
        ({"name": None}, "Expected a string, not null."),
        ({"name": True}, "Expected a string, not true."),
    ],
)
def test_a_fault_of_a_twin_says_what_to_do(tagged: httpx.Client, more: dict[str, Any], said: str) -> None:
    answer = tagged.put("/digitaltwins/t3", json=BODY | more).json()["error"]
    assert answer["code"] == "ValidationFailed"
    assert said in answer["details"][0]["message"]
