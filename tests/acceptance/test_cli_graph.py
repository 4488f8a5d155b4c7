from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.command_line import ASSETS, Site, serving

PUMP, TANK, STATION = (f"dtmi:gemel:demo:{name};1" for name in ("Pump", "Tank", "Station"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        done = served.run("models", "add", str(ASSETS / "station" / "models.json"))
        assert done.code == 0, done.err
        yield served


def test_models_are_added_listed_and_shown(site: Site) -> None:
    listed = site.run("models", "list", "--json").json()
    assert {PUMP, TANK, STATION} <= {model["id"] for model in listed}
    assert PUMP in site.run("models", "list").out
    documents = json.loads((ASSETS / "station" / "models.json").read_text())
    shown = json.loads(site.run("models", "show", PUMP).out)
    assert shown == next(document for document in documents if document["@id"] == PUMP)


def test_models_that_are_there_are_refused_with_code_and_next_step(site: Site) -> None:
    done = site.run("models", "add", str(ASSETS / "station" / "models.json"))
    assert (done.code, done.out) == (1, "")
    assert "[ModelIdAlreadyExists]" in done.err
    assert "next" in done.err


def test_a_model_that_is_not_dtdl_is_refused_and_nothing_of_the_upload_stays(
    site: Site, tmp_path: Path
) -> None:
    good = {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:x:Good;1", "@type": "Interface"}
    (tmp_path / "a.json").write_text(json.dumps(good))
    (tmp_path / "b.json").write_text(json.dumps({**good, "@id": "not a dtmi"}))
    done = site.run("models", "add", str(tmp_path), "--json")
    assert done.code == 1
    assert done.error()["code"] == "DTDLParserError"
    assert done.error()["details"]
    assert site.run("models", "show", "dtmi:x:Good;1", "--json").error()["code"] == "ModelNotFound"


@pytest.mark.parametrize(
    ("text", "code"), [(None, "FileUnreadable"), ("{", "FileUnreadable"), ("[]", "UsageInvalid")]
)
def test_a_file_that_holds_no_model_is_named(site: Site, tmp_path: Path, text: str | None, code: str) -> None:
    file = tmp_path / "m.json"
    if text is not None:
        file.write_text(text)
    done = site.run("models", "add", str(file), "--json")
    assert done.error()["code"] == code
    assert str(file) in done.error()["message"]


def test_a_twin_lives_from_create_to_delete(site: Site) -> None:
    start = "2020-03-01T00:00:00Z"
    made = site.run(
        "twins", "create", "p#1?a%", "--model", PUMP, "--set", "motor.speed=1450", "--set", "label=P-101",
        "--valid-from", start, "--json",
    )  # fmt: skip
    assert made.json()["motor"]["speed"] == 1450
    again = site.run("twins", "create", "p#1?a%", "--model", PUMP, "--json")
    assert (again.code, again.error()["code"]) == (1, "PreconditionFailed")
    assert again.error()["message"] == "There is already a twin p#1?a%."
    assert "gemel twins patch" in again.error()["next"]

    patched = site.run(
        "twins", "patch", "p#1?a%", "--set", "motor.speed=1480.5", "--remove", "label", "--json"
    )
    twin = site.run("twins", "get", "p#1?a%", "--json").json()
    assert twin["$etag"] == patched.json()["$etag"]
    assert twin["motor"]["speed"] == 1480.5
    assert "label" not in twin

    shown = site.run("twins", "get", "p#1?a%").out
    assert "1480.5" in shown
    assert "rpm" in shown

    assert site.run("twins", "delete", "p#1?a%").code == 0
    gone = site.run("twins", "get", "p#1?a%", "--json")
    assert (gone.code, gone.error()["code"]) == (1, "DigitalTwinNotFound")


def test_what_was_is_read_after_the_deletion(site: Site) -> None:
    created = site.run(
        "twins", "create", "was", "--model", TANK, "--set", "level=1.5", "--valid-from", "2020-03-01T00:00:00Z",
        "--json",
    ).json()  # fmt: skip
    known = ["--known-at", created["$metadata"]["$lastUpdateTime"]]
    then = ["--as-of", "2020-03-02T00:00:00Z"]
    assert site.run("twins", "patch", "was", "--set", "level=9.5").code == 0
    assert site.run("twins", "get", "was", "--json", *known).json() == created
    assert site.run("twins", "delete", "was").code == 0
    assert site.run("twins", "get", "was", "--json", *then).json()["level"] == 1.5
    assert "1.5" in site.run("twins", "get", "was", *then).out
    rows = site.run("history", "show", "was", "level", "--json", *then).json()
    assert [row["value"] for row in rows] == [1.5]
    assert "1.5" in site.run("history", "show", "was", *then).out
    assert "was" in {twin["$dtId"] for twin in site.run("twins", "list", "--json", *then).json()}
    text = "SELECT T.$dtId FROM digitaltwins T WHERE T.level = 1.5 AND T.$dtId = 'was'"
    assert site.run("query", text, "--json", *then).json() == [{"$dtId": "was"}]
    assert site.run("query", text, "--json").json() == []
    meant = site.run("history", "show", "was", "levle", "--json", *then)
    assert "level" in meant.error()["next"]
    refused = site.run("twins", "get", "was", "--as-of", "then", "--json")
    assert (refused.code, refused.error()["code"]) == (1, "InvalidArgument")


def test_a_wrong_value_is_refused_with_its_path(site: Site) -> None:
    done = site.run("twins", "create", "t", "--model", TANK, "--set", "level=high", "--json")
    assert (done.code, done.error()["code"]) == (1, "ValidationFailed")
    assert "level" in done.error()["details"][0]["message"]


@pytest.mark.parametrize("arguments", [["--set", "level"], ["--set", "level=NaN"], []])
def test_a_patch_that_says_nothing_clear_is_a_usage_error(site: Site, arguments: list[str]) -> None:
    done = site.run("twins", "patch", "t", *arguments, "--json")
    assert (done.code, done.error()["code"]) == (2, "UsageInvalid")


def test_twins_are_listed_by_model_and_queried(site: Site) -> None:
    for number in range(3):
        level = f"level={number}.5"
        assert site.run("twins", "create", f"tank-{number}", "--model", TANK, "--set", level).code == 0
    listed = site.run("twins", "list", "--model", "dtmi:gemel:demo:Asset;1", "--json").json()
    assert {"tank-0", "tank-1", "tank-2"} <= {twin["$dtId"] for twin in listed}

    text = "SELECT * FROM digitaltwins T WHERE T.level > 1"
    assert {twin["$dtId"] for twin in site.run("query", text, "--json").json()} == {"tank-1", "tank-2"}
    one = site.run("query", text, "--limit", "1")
    assert "There are more; --limit was 1" in one.err
    assert "level" in one.out
    assert ("tank-1" in one.out) != ("tank-2" in one.out)


def test_a_query_that_does_not_parse_says_where(site: Site) -> None:
    done = site.run("query", "SELECT * FROM nowhere", "--json")
    assert (done.code, done.error()["code"]) == (1, "SqlQueryError")


def test_twins_are_related_and_unrelated(site: Site) -> None:
    assert site.run("twins", "create", "station", "--model", STATION).code == 0
    assert site.run("twins", "create", "tank", "--model", TANK).code == 0
    made = site.run("relate", "station", "contains", "tank", "--json").json()
    assert (made["$relationshipId"], made["$targetId"]) == ("contains-tank", "tank")
    assert "contains-tank" in site.run("twins", "get", "station").out
    assert "from" in site.run("twins", "get", "tank").out

    held = site.run("twins", "delete", "station", "--json")
    assert (held.code, held.error()["code"]) == (1, "RelationshipsNotDeleted")
    again = site.run("relate", "station", "contains", "tank", "--json")
    assert again.error()["message"] == "There is already a relationship contains-tank of station."
    assert site.run("unrelate", "station", "contains-tank").code == 0
    assert site.run("twins", "delete", "station").code == 0


def test_the_lifecycle_of_a_twin_is_told_shown_and_corrected(site: Site) -> None:
    start = "2026-01-01T00:00:00Z"
    place = ("twins", "lifecycle", "old-tank")
    made = site.run(
        "twins", "create", "old-tank", "--model", TANK, "--valid-from", start, "--lifecycle", "planned"
    )
    assert made.code == 0, made.err
    assert (
        site.run(*place, "commissioned", "--reason", "delivered", "--from", "2026-02-01T00:00:00Z").code == 0
    )
    done = site.run(*place, "planned", "--reason", "sent back", "--json")
    assert (done.code, done.error()["code"]) == (1, "LifecycleTransitionInvalid")
    assert "active or maintenance or decommissioned may follow" in done.error()["message"]
    shown = site.run(*place)
    for word in ("commissioned", "delivered", "planned", "2026-02-01", "default"):
        assert word in shown.out, word
    assert site.run(*place, "--json").json()["state"] == "commissioned"
    assert "commissioned" in site.run("twins", "get", "old-tank").out
    for arguments in (["active"], ["--reason", "x"], ["--from", start]):
        done = site.run(*place, *arguments, "--json")
        assert (done.code, done.error()["code"]) == (2, "UsageInvalid")


def test_the_graph_is_checked(site: Site) -> None:
    done = site.run("check")
    assert (done.code, done.out) == (0, "")
    assert "Findings: 0." in done.err
    for version in (1, 2):
        document = {
            "@context": "dtmi:dtdl:context;3",
            "@id": f"dtmi:x:Valve;{version}",
            "@type": "Interface",
            "contents": [
                {"@type": "Relationship", "name": "next", "target": f"dtmi:x:Valve;{version}"},
            ],
        }
        (site.data / f"valve-{version}.json").write_text(json.dumps(document))
        assert site.run("models", "add", str(site.data / f"valve-{version}.json")).code == 0
    for name in ("v1", "v2"):
        assert site.run("twins", "create", name, "--model", "dtmi:x:Valve;1").code == 0
    assert site.run("relate", "v1", "next", "v2").code == 0
    patch = [{"op": "replace", "path": "/$metadata/$model", "value": "dtmi:x:Valve;2"}]
    headers = {"Authorization": f"Bearer {(site.data / 'default.key').read_text().strip()}"}
    answer = httpx.patch(f"{site.url}/digitaltwins/v1", json=patch, headers=headers)
    assert answer.status_code == 204, answer.text
    done = site.run("check", "--json")
    assert done.code == 1
    finding = json.loads(done.out)
    assert (finding["severity"], finding["kind"], finding["twin"]) == ("error", "target", "v1")
    shown = site.run("check")
    assert (shown.code, "next-v2" in shown.out, "Findings: 1." in shown.err) == (1, True, True)
