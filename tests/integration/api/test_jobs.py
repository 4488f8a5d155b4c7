"""Jobs over HTTP: the contract of the data plane, and what stands beside it. Nothing works on them here."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from gemel.base.settings import Settings
from gemel.security.principal import Scope
from support.api_site import Site
from support.postgres import Dsns

FIELDS = {
    "id",
    "inputBlobUri",
    "outputBlobUri",
    "status",
    "createdDateTime",
    "lastActionDateTime",
    "purgeDateTime",
}
URIS = {"inputBlobUri": "https://8.8.8.8/in?sig=s", "outputBlobUri": "https://8.8.4.4/out"}


@pytest.fixture(scope="module")
def site(database: Dsns) -> Iterator[Site]:
    site = Site(database, Settings())
    try:
        yield site
    finally:
        site.close()


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    site.owner.execute("DELETE FROM job")
    yield site.client("one")
    site.owner.execute("DELETE FROM job")


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def over(site: Site, job: str) -> None:
    site.owner.execute("UPDATE job SET status = 'succeeded', finished = now() WHERE job_id = %s", (job,))


def test_an_import_from_put_to_delete(site: Site, client: httpx.Client) -> None:
    made = client.put("/jobs/imports/j1", json=URIS, params={"api-version": "2023-10-31"})
    assert made.status_code == 201
    job = made.json()
    assert job.keys() == FIELDS
    assert (job["id"], job["status"]) == ("j1", "notstarted")
    assert client.get("/jobs/imports/j1").json() == job
    assert client.get("/jobs/imports").json() == {"value": [job], "nextLink": None}
    assert code(client.put("/jobs/imports/j2", json=URIS)) == (400, "JobLimitReached")
    assert code(client.post("/jobs/deletions")) == (400, "JobLimitReached")
    assert code(client.delete("/jobs/imports/j1")) == (400, "ValidationFailed")
    cancelled = client.post("/jobs/imports/j1/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelling")
    over(site, "j1")
    assert client.get("/jobs/imports/j1").json()["finishedDateTime"].endswith("Z")
    assert code(client.post("/jobs/imports/j1/cancel")) == (400, "ValidationFailed")
    assert code(client.put("/jobs/imports/j1", json=URIS)) == (400, "ValidationFailed")
    assert client.delete("/jobs/imports/j1").status_code == 204
    for answer in (
        client.get("/jobs/imports/j1"),
        client.delete("/jobs/imports/j1"),
        client.post("/jobs/imports/j1/cancel"),
    ):
        assert code(answer) == (404, "ImportJobNotFound")
    acts = [(row[0], row[1], row[2]) for row in site.audited("one") if row[1] == "j1"]
    assert acts[:2] == [("import.create", "j1", "ok"), ("import.delete", "j1", "ValidationFailed")]
    assert acts[2] == ("import.cancel", "j1", "ok")


def test_imports_in_pages(site: Site, client: httpx.Client) -> None:
    names = [f"p{number}" for number in range(5)]
    for name in names:
        assert client.put(f"/jobs/imports/{name}", json=URIS).status_code == 201
        over(site, name)
    found: list[str] = []
    link: str | None = "/jobs/imports"
    while link:
        page = client.get(link, headers={"max-items-per-page": "2"}).json()
        found += [job["id"] for job in page["value"]]
        link = page["nextLink"]
    assert found == names


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"inputBlobUri": "https://8.8.8.8/"},
        {"inputBlobUri": 1, "outputBlobUri": "x"},
        {"inputBlobUri": "https://8.8.8.8/", "outputBlobUri": "https://8.8.8.8/"},
        {"inputBlobUri": "http://127.0.0.1/in", "outputBlobUri": "https://8.8.8.8/out"},
        {"inputBlobUri": "https://8.8.8.8/in", "outputBlobUri": "http://169.254.169.254/latest"},
        {"inputBlobUri": "https://u:p@8.8.8.8/in", "outputBlobUri": "https://8.8.8.8/out"},
        {"inputBlobUri": "file:x.ndjson", "outputBlobUri": "https://8.8.8.8/out"},
        {"inputBlobUri": "upload:x", "outputBlobUri": "https://8.8.8.8/out"},
    ],
)
def test_requests_that_are_no_import(client: httpx.Client, body: object) -> None:
    assert code(client.put("/jobs/imports/j", json=body)) == (400, "ValidationFailed")
    assert client.get("/jobs/imports").json()["value"] == []


@pytest.mark.parametrize("job_id", ["op-1", "a/b", "a b?c#d", "50%é"])
def test_a_deletion(site: Site, client: httpx.Client, job_id: str) -> None:
    headers = httpx.Headers({"operation-id": job_id}, encoding="latin-1")
    made = client.post("/jobs/deletions", headers=headers, params={"timeoutInMinutes": 15})
    assert made.status_code == 202
    assert made.headers["operation-location"] == f"{site.url}/jobs/deletions/{quote(job_id, safe='')}"
    job = made.json()
    assert job.keys() == {"id", "status", "createdDateTime", "purgeDateTime"}
    assert (
        httpx.get(
            made.headers["operation-location"], headers={"Authorization": client.headers["authorization"]}
        ).json()
        == job
    )
    assert client.get("/jobs/deletions").json() == {"value": [job], "nextLink": None}
    assert client.get("/jobs/imports").json()["value"] == []
    over(site, job_id)
    assert code(client.post("/jobs/deletions", headers=headers)) == (400, "ValidationFailed")
    for minutes in (14, 1441):
        answer = client.post("/jobs/deletions", params={"timeoutInMinutes": minutes})
        assert code(answer) == (400, "ValidationFailed")
    assert code(client.get("/jobs/deletions/none")) == (404, "DeleteJobNotFound")
    assert len(client.post("/jobs/deletions").json()["id"]) == 32


def test_progress_and_log(site: Site, client: httpx.Client) -> None:
    client.put("/jobs/imports/j", json=URIS)
    site.owner.execute(
        "INSERT INTO job_log SELECT tenant, kind, job_id, n, n || E'\\n' FROM job, generate_series(1, 120) AS n"
    )
    view = client.get("/v1/jobs/imports/j").json()
    assert (view["kind"], view["status"], view["counts"], view["problems"]) == (
        "import",
        "notstarted",
        {},
        [],
    )
    assert client.get("/v1/jobs").json() == {"value": [view]}
    log = client.get("/v1/jobs/imports/j/log")
    assert log.headers["content-type"].startswith("application/x-ndjson")
    assert log.text.split() == [str(number) for number in range(1, 121)]
    assert code(client.get("/v1/jobs/deletions/j")) == (404, "DeleteJobNotFound")
    assert client.get("/v1/jobs/exports/j").status_code == 404


def test_an_import_whose_file_comes_with_the_request(site: Site, client: httpx.Client) -> None:
    size = site.settings.body_bytes_max + 1_000_000

    def parts() -> Iterator[bytes]:
        for _ in range(size // 65_536):
            yield b"x" * 65_536

    made = client.post("/v1/imports", params={"id": "sent"}, content=parts())
    assert made.status_code == 201, made.text
    assert made.json()["status"] == "notstarted"
    kept = list((site.settings.data_dir / "jobs").glob("*.ndjson"))
    assert [file.stat().st_size for file in kept] == [size // 65_536 * 65_536]
    assert code(client.post("/v1/imports", content=b"more")) == (400, "JobLimitReached")
    assert len(list((site.settings.data_dir / "jobs").glob("*.ndjson"))) == 1
    reader = site.client("one", Scope.READ)
    assert code(reader.post("/v1/imports", content=b"x")) == (403, "ScopeMissing")
    assert code(reader.put("/jobs/imports/r", json=URIS)) == (403, "ScopeMissing")
    assert code(reader.post("/jobs/deletions")) == (403, "ScopeMissing")
    assert reader.get("/v1/jobs/imports/sent").status_code == 200
