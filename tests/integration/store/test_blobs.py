"""Files written once, in a folder and in a bucket of a real S3-compatible server."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gemel.base.errors import InvalidError, UnavailableError
from gemel.store.blobs import Blobs, open_blobs
from support.s3 import s3_server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server("plant") as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def blobs(
    request: pytest.FixtureRequest, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Blobs:
    if request.param == "folder":
        return open_blobs(str(tmp_path / "cold"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return open_blobs(f"s3://plant/{tmp_path.name}?region=us-east-1&endpoint={endpoint}")


def test_what_is_put_is_there_until_it_is_deleted(blobs: Blobs) -> None:
    assert blobs.names("1") == []
    blobs.put("1/a/x.parquet", b"first")
    blobs.put("1/b/y.parquet", b"second" * 100_000)
    blobs.put("2/z.parquet", b"other")
    blobs.put("1/a/x.parquet", b"again")
    assert blobs.get("1/a/x.parquet") == b"again"
    with blobs.open("1/b/y.parquet") as file:
        file.seek(6)
        assert file.read(6) == b"second"
    assert blobs.names("1") == ["1/a/x.parquet", "1/b/y.parquet"]
    blobs.delete("1/a/x.parquet")
    blobs.delete("1/a/x.parquet")
    assert blobs.names("1") == ["1/b/y.parquet"]
    with pytest.raises(UnavailableError) as told:
        blobs.get("1/a/x.parquet")
    assert told.value.code == "ColdFileMissing"


def test_files_of_a_folder_are_their_owners_alone(tmp_path: Path) -> None:
    open_blobs(str(tmp_path / "cold")).put("1/x", b"a")
    assert stat.S_IMODE((tmp_path / "cold" / "1" / "x").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "cold" / "1").stat().st_mode) == 0o700


def test_a_bucket_that_is_not_there_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(UnavailableError) as told:
        open_blobs(f"s3://nowhere/x?region=us-east-1&endpoint={endpoint}").put("a", b"")
    assert told.value.code == "ColdStoreUnavailable"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError) as told:
        open_blobs(str(tmp_path / "file")).put("a/b", b"")
    assert told.value.code == "ColdStoreUnavailable"


@pytest.mark.parametrize(
    "url",
    [
        "cold",
        "ftp://host/x",
        "s3://",
        "s3://key:secret@bucket/x",
        "s3://bucket/x?secret=1",
        "s3://bucket/x?endpoint=localhost:9000",
    ],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidError) as told:
        open_blobs(url)
    assert told.value.code == "InvalidArgument"
    assert "secret" not in told.value.message
