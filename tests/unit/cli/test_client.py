from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gemel.base.errors import (
    ConflictError,
    Detail,
    EnvironmentFaultError,
    ForbiddenError,
    GemelError,
    InternalError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from gemel.base.settings import Settings
from gemel.cli.client import Address, Client, locate
from gemel.cli.rows import rows_of
from gemel.security.certificate import ensure_certificate, own_files

URL = "http://127.0.0.1:8080"


def client(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client(Address(URL, "gk_1_abc_secret"), httpx.MockTransport(answer))


def refusing(status: int, code: str, headers: dict[str, str] | None = None) -> Client:
    body = {"error": {"code": code, "message": "Said so.", "details": [{"code": "X", "message": "y"}]}}
    return client(lambda _: httpx.Response(status, json=body, headers=headers))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidError),
        (401, UnauthenticatedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, InvalidError),
        (409, ConflictError),
        (412, PreconditionError),
        (413, TooLargeError),
        (415, InvalidError),
        (429, OverloadedError),
        (500, InternalError),
        (503, UnavailableError),
    ],
)
def test_a_refusal_is_the_error_that_its_body_describes(status: int, kind: type[GemelError]) -> None:
    with pytest.raises(kind) as raised:
        refusing(status, "SomeCode").get("/models")
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.message) == ("SomeCode", "Said so.")
    assert raised.value.details == (Detail("X", "y"),)


def test_when_to_try_again_is_kept() -> None:
    with pytest.raises(UnavailableError) as raised:
        refusing(503, "DatabaseUnavailable", {"Retry-After": "7"}).get("/models")
    assert raised.value.retry_after_s == 7


@pytest.mark.parametrize("status", [200, 404, 502])
def test_an_answer_that_is_not_ours_says_so(status: int) -> None:
    with pytest.raises(EnvironmentFaultError, match="not a gemel") as raised:
        client(lambda _: httpx.Response(status, text="<html>")).get("/models")
    assert raised.value.code == "ServerUnreachable"


def test_a_server_that_does_not_answer_says_how_to_start_one() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    with pytest.raises(EnvironmentFaultError, match="does not answer") as raised:
        client(refuse).get("/models")
    assert raised.value.code == "ServerUnreachable"
    assert "gemel up" in str(raised.value.hint)


def test_pages_are_followed_on_this_server_only() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        more = "http://elsewhere.example/models?continuationToken=t%201" if len(asked) == 1 else None
        return httpx.Response(200, json={"value": [len(asked)], "nextLink": more})

    assert list(client(answer).pages("/models", dependenciesFor=None)) == [1, 2]
    assert [str(request.url) for request in asked] == [
        f"{URL}/models",
        f"{URL}/models?continuationToken=t%201",
    ]
    assert {request.headers["Authorization"] for request in asked} == {"Bearer gk_1_abc_secret"}


def test_rows_of_a_query_follow_its_token() -> None:
    bodies: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        token = "t" if len(bodies) == 1 else None
        return httpx.Response(200, json={"value": [{"n": len(bodies)}], "continuationToken": token})

    assert list(rows_of(client(answer).query_pages("SELECT *"))) == [{"n": 1}, {"n": 2}]
    assert bodies == [{"query": "SELECT *"}, {"continuationToken": "t"}]


def test_a_stream_that_is_refused_raises_the_error() -> None:
    with pytest.raises(ForbiddenError), refusing(403, "ScopeMissing").stream("/v1/changes", [], {}):
        pass


def serve_from(folder: Path, url: str = URL) -> None:
    (folder / "gemel.lock").write_text(json.dumps({"pid": 1, "url": url}))
    (folder / "default.key").write_text("gk_file\n")


def test_server_and_key_are_found_in_the_data_directory(tmp_path: Path) -> None:
    serve_from(tmp_path)
    assert locate(Settings(data_dir=tmp_path)) == Address(URL, "gk_file")


def test_what_is_named_wins(tmp_path: Path) -> None:
    serve_from(tmp_path)
    settings = Settings(data_dir=tmp_path, url="http://[::1]:9/", key="gk_own")
    assert locate(settings) == Address("http://[::1]:9", "gk_own")


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.1.2.3", "http://[::1]:1"])
def test_the_key_file_serves_any_url_of_this_machine(tmp_path: Path, url: str) -> None:
    serve_from(tmp_path)
    assert locate(Settings(data_dir=tmp_path, url=url)).key == "gk_file"


@pytest.mark.parametrize("url", ["http://10.0.0.1:1", "https://twins.example", "http://localhost.example"])
def test_the_key_file_is_never_shown_to_another_machine(tmp_path: Path, url: str) -> None:
    serve_from(tmp_path)
    with pytest.raises(UnauthenticatedError, match="No key is given"):
        locate(Settings(data_dir=tmp_path, url=url))


def test_the_server_on_the_data_directory_gets_its_key_at_any_address(tmp_path: Path) -> None:
    serve_from(tmp_path, "http://192.0.2.7:8080")
    assert locate(Settings(data_dir=tmp_path)).key == "gk_file"


def serve_https(folder: Path, url: str = "https://127.0.0.1:8080") -> Path:
    ensure_certificate(folder, "127.0.0.1")
    certificate = own_files(folder).certificate
    (folder / "gemel.lock").write_text(json.dumps({"pid": 1, "url": url, "certificate": str(certificate)}))
    (folder / "default.key").write_text("gk_file\n")
    return certificate


def test_the_server_on_the_data_directory_is_known_by_its_certificate(tmp_path: Path) -> None:
    certificate = serve_https(tmp_path)
    shown = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    for settings in (
        Settings(data_dir=tmp_path),
        Settings(data_dir=tmp_path, url="https://localhost:8080"),
        Settings(data_dir=tmp_path, ca="/nowhere"),  # is of remote servers
    ):
        trust = locate(settings).trust
        assert trust is not None
        assert not trust.check_hostname
        assert trust.get_ca_certs(binary_form=True) in ([], [shown])  # a leaf is not listed as an authority
        assert trust.cert_store_stats()["x509"] == 1


def test_a_remote_server_is_verified_by_the_file_that_is_named(tmp_path: Path) -> None:
    certificate = serve_https(tmp_path)
    remote = Settings(data_dir=tmp_path, url="https://plant.example", key="k")
    assert locate(remote).trust is None
    trust = locate(replace(remote, ca=str(certificate))).trust
    assert trust is not None
    assert trust.check_hostname
    assert locate(replace(remote, url="http://plant.example", ca="/nowhere")).trust is None
    with pytest.raises(InvalidError, match="nowhere") as raised:
        locate(replace(remote, ca="/nowhere"))
    assert raised.value.code == "CertificateInvalid"


def test_a_server_that_is_not_to_be_trusted_says_what_to_do() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    with pytest.raises(EnvironmentFaultError, match="not one to trust") as raised:
        client(refuse).get("/models")
    assert "GEMEL_CA" in str(raised.value.hint)


@pytest.mark.parametrize("lock", [None, "", "{", "[]", '{"pid": 3}', '{"url": 7}'])
def test_without_a_server_the_error_says_how_to_start_one(tmp_path: Path, lock: str | None) -> None:
    if lock is not None:
        (tmp_path / "gemel.lock").write_text(lock)
    with pytest.raises(EnvironmentFaultError, match="No gemel serves") as raised:
        locate(Settings(data_dir=tmp_path))
    assert raised.value.code == "ServerUnreachable"


def test_without_a_key_file_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(UnauthenticatedError, match=r"default\.key"):
        locate(Settings(data_dir=tmp_path, url=URL))


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x"])
def test_a_url_without_http_is_a_usage_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidError) as raised:
        locate(Settings(data_dir=tmp_path, url=url))
    assert raised.value.code == "UsageInvalid"


def test_the_key_is_not_in_the_text_of_an_address() -> None:
    assert "secret" not in repr(Address(URL, "secret"))
