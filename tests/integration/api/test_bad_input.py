"""What is wrong gets its code, in our error body, and nothing crashes."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from gemel.api.failures import STATUSES
from gemel.base.codes import CODES
from gemel.base.settings import Settings
from support.api_site import PUMP, Site

TWIN: dict[str, Any] = {"$metadata": {"$model": PUMP}, "motor": {"$metadata": {}}}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(body_bytes_max=100_000, in_flight_bytes_max=300_000)


def check(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-ms-error-code"] == code
    assert "traceresponse" in response.headers
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert code in CODES
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe",
        b'{"a": "\xc3\x28"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\\\\\u0000"}',
        b"[" * 50_000,
        b'{"a":' * 16_000 + b"1" + b"}" * 16_000,
        b"{} {}",
        b"\x00",
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize(
    "place", ["/digitaltwins/t1", "/models", "/query", "/digitaltwins/t1/relationships/r"]
)
def test_a_body_that_is_no_json_is_said_to_be_malformed(
    client: httpx.Client, place: str, body: bytes
) -> None:
    method = "POST" if place in ("/models", "/query") else "PUT"
    response = client.request(method, place, content=body, headers={"Content-Type": "application/json"})
    check(response, 400, "BodyMalformed")


@pytest.mark.parametrize(
    "body", ["[]", "null", "1", '"x"', "{}", '{"$metadata": 1}', '{"$metadata": {"$model": 1}}']
)
def test_json_of_another_shape_is_no_twin(client: httpx.Client, body: str) -> None:
    response = client.put("/digitaltwins/t1", content=body)
    assert response.status_code == 400, response.text
    check(response, 400, response.json()["error"]["code"])


@pytest.mark.parametrize("body", ["{}", "null", "1", '"x"', "[1]", "[{}]", '[{"op": "move"}]', "[[]]"])
def test_json_of_another_shape_is_no_patch(client: httpx.Client, body: str) -> None:
    assert client.put("/digitaltwins/t2", json=TWIN).status_code == 200
    for place in ("/digitaltwins/t2", "/digitaltwins/t2/components/motor"):
        check(client.patch(place, content=body), 400, "JsonPatchInvalid")


def test_an_escaped_backslash_before_u0000_is_text(client: httpx.Client) -> None:
    body = {**TWIN, "label": "\\u0000 is how JSON writes it"}
    assert client.put("/digitaltwins/t3", json=body).json()["label"] == body["label"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (2**31, "count"),
        (2**64, "count"),
        (1.5, "count"),
        (True, "count"),
        ("1", "count"),
        (1, "label"),
        (None, "label"),
    ],
)
def test_a_value_of_the_wrong_type_names_its_path(client: httpx.Client, value: Any, path: str) -> None:
    error = check(client.put("/digitaltwins/t4", json={**TWIN, path: value}), 400, "ValidationFailed")
    assert path in error["details"][0]["message"]


@pytest.mark.parametrize(
    "twin_id",
    ["%FF", "%00", "a%2Fb", "a%20b", "a%0Ab", "%F0%9F%98%80", "x" * 129, "%E2%80%AE"],
)
def test_an_id_that_cannot_be_is_refused(client: httpx.Client, twin_id: str) -> None:
    operations = [{"op": "add", "path": "/label", "value": "x"}]
    for method, body in (("GET", None), ("PUT", TWIN), ("PATCH", operations), ("DELETE", None)):
        check(client.request(method, f"/digitaltwins/{twin_id}", json=body), 400, "InvalidArgument")


@pytest.mark.parametrize(
    "twin_id",
    ["a%25b", "100%25", "%2Da", "a%2Cb", "*", "$x", "a'b", "@", "%3D", "%23"],
)
def test_odd_ids_are_kept_as_they_are(client: httpx.Client, twin_id: str) -> None:
    made = client.put(f"/digitaltwins/{twin_id}", json=TWIN)
    assert made.status_code == 200, made.text
    assert made.json()["$dtId"] == httpx.URL(f"http://x/{twin_id}").path[1:]
    assert client.get(f"/digitaltwins/{twin_id}").json() == made.json()
    assert client.get(f"/v1/twins/{twin_id}/telemetry").status_code == 200
    assert client.delete(f"/digitaltwins/{twin_id}").status_code == 204


def test_a_model_id_works_encoded_or_not(client: httpx.Client) -> None:
    one = client.get(f"/models/{PUMP}")
    assert one.status_code == 200
    assert client.get("/models/" + PUMP.replace(":", "%3A").replace(";", "%3B")).json() == one.json()
    check(client.get("/models/dtmi:test:Nothing;1"), 404, "ModelNotFound")
    check(client.get("/models/nonsense"), 400, "InvalidArgument")


def test_unknown_routes_and_methods_have_our_error_body(client: httpx.Client) -> None:
    for path in (
        "/nowhere",
        "/digitaltwins",
        "/digitaltwins/a/b",
        "/v1",
        "/v1/twins/a",
        "/models/a/b/c",
    ):
        check(client.get(path), 404, "RouteNotFound")
    response = client.delete("/models")
    check(response, 405, "MethodNotAllowed")
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "POST"}
    check(client.request("PROPFIND", "/models"), 405, "MethodNotAllowed")


def test_other_content_types_are_refused(client: httpx.Client) -> None:
    for kind in ("text/plain", "application/xml", "multipart/form-data", "x", ""):
        headers = {"Content-Type": kind}
        check(client.post("/models", content=b"[]", headers=headers), 415, "MediaTypeUnsupported")
    for kind in ("application/json-patch+json", "Application/JSON; charset=utf-8"):
        response = client.patch(
            "/digitaltwins/none",
            content=b'[{"op":"add","path":"/a","value":1}]',
            headers={"Content-Type": kind},
        )
        assert response.status_code == 404


def test_api_versions_outside_the_range_are_refused(client: httpx.Client) -> None:
    for version in ("2020-10-31", "2022-05-31", "2023-10-31", "2023-02-27-preview"):
        assert client.get("/models", params={"api-version": version}).status_code == 200
    for version in ("2019-01-01", "2024-01-01", "x", "", "2023-10-31'", "2021-02-30", "2022-05-31-preview"):
        check(client.get("/models", params={"api-version": version}), 400, "InvalidArgument")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/models", {"max-items-per-page": "x"}),
        ("/models", {"max-items-per-page": "0"}),
        ("/models?includeModelDefinition=maybe", {}),
        ("/models?continuationToken=nonsense", {}),
        ("/v1/quarantine?limit=0", {}),
        ("/v1/quarantine?after=-1", {}),
        ("/v1/quarantine?after=9223372036854775808", {}),
        ("/v1/audit?limit=1001", {}),
        ("/v1/audit?before=x", {}),
        ("/v1/changes", {"Last-Event-ID": "x"}),
        ("/v1/changes", {"Last-Event-ID": "-1"}),
        ("/v1/quarantine?code=%00", {}),
        ("/models?dependenciesFor=%00", {}),
    ],
)
def test_bad_parameters_are_named(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    check(client.get(path, headers=headers), 400, "InvalidArgument")


def test_a_number_that_is_no_number_is_no_route(client: httpx.Client) -> None:
    check(client.get("/v1/quarantine/x"), 404, "RouteNotFound")
    check(client.get("/v1/quarantine/1"), 404, "QuarantineNotFound")
    check(client.get("/v1/quarantine/99999999999999999999"), 400, "InvalidArgument")


def test_a_body_over_the_limit_is_refused_before_it_is_read(site: Site, client: httpx.Client) -> None:
    check(client.put("/digitaltwins/t5", content=b" " * 100_001), 413, "BodyTooLarge")
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        head = f"PUT /digitaltwins/t5 HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['Authorization']}\r\n"
        raw.sendall(f"{head}Content-Length: 99999999\r\n\r\n".encode())
        assert b" 413 " in raw.recv(4096).split(b"\r\n")[0]


def test_a_chunked_body_over_the_limit_is_refused_as_it_comes(client: httpx.Client) -> None:
    def parts() -> Any:
        for _ in range(30):
            yield b" " * 10_000

    check(client.put("/digitaltwins/t5", content=parts()), 413, "BodyTooLarge")
    twin = client.put(
        "/digitaltwins/t5",
        content=iter([b'{"$metadata": {"$model": "', PUMP.encode(), b'"},', b'"motor": {"$metadata": {}}}']),
    )
    assert twin.status_code == 200, twin.text


def in_flight(client: httpx.Client) -> float:
    (line,) = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("gemel_in_flight")
    ]
    return float(line.split()[1])


def wait_in_flight(client: httpx.Client, count: int) -> None:
    for _ in range(200):
        if in_flight(client) == count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{in_flight(client)} bytes are in flight, not {count}")


def test_over_the_bytes_in_flight_a_request_is_sent_away(site: Site, client: httpx.Client) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    head = f"PUT /digitaltwins/t6 HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['Authorization']}\r\n"
    wait_in_flight(client, 0)
    with ExitStack() as held:
        for _ in range(3):
            raw = held.enter_context(socket.create_connection((host, int(port)), timeout=10))
            raw.sendall(f"{head}Content-Length: 100000\r\n\r\n ".encode())
        wait_in_flight(client, 300_000)
        response = client.put("/digitaltwins/t6", json=TWIN)
        check(response, 429, "Overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        # What has no body is still answered.
        assert client.get("/digitaltwins/t6").status_code == 404
    wait_in_flight(client, 0)
    assert client.put("/digitaltwins/t6", json=TWIN).status_code == 200


def test_every_error_class_has_a_status() -> None:
    from gemel.base import errors

    classes = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.GemelError) and kind is not errors.GemelError
    ]
    assert set(STATUSES) == set(classes)


def test_not_ready_is_said(site: Site, client: httpx.Client) -> None:
    site.is_ready = False
    try:
        response = client.get("/readyz")
        check(response, 503, "DatabaseUnavailable")
        assert response.headers["Retry-After"] == "1"
        assert client.get("/healthz").status_code == 200
    finally:
        site.is_ready = True
    assert client.get("/readyz").json()["status"] == "ready"


def test_a_parameter_is_told_by_the_name_that_it_was_sent_by(client: httpx.Client) -> None:
    for path, headers, name in [
        ("/models", {"max-items-per-page": "x"}, "max-items-per-page"),
        ("/models?includeModelDefinition=maybe", {}, "includeModelDefinition"),
    ]:
        answer = client.get(path, headers=headers)
        assert answer.json()["error"]["message"].startswith(f"{name}: "), answer.text
