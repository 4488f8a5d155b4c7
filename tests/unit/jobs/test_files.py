"""Files of jobs stay below the tenant's folder, whatever the URI and whatever lies there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gemel.base.errors import InvalidError
from gemel.jobs.files import JobFolder, is_file_uri


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root with folders of two tenants, and a secret beside and above."""
    for tenant in ("one", "two"):
        (tmp_path / "root" / tenant / "sub").mkdir(parents=True)
        (tmp_path / "root" / tenant / "data.ndjson").write_text(tenant)
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "root"


def read(folder: JobFolder, uri: str) -> str:
    with folder.open(uri) as file:
        return file.read().decode()


async def parts() -> AsyncIterator[str]:
    yield "a\n"
    yield "ä\n"


async def broken() -> AsyncIterator[str]:
    yield "a\n"
    raise ZeroDivisionError


def test_names_below_the_folder(root: Path) -> None:
    folder = JobFolder(root, "one")
    (root / "one/sub/a b.ndjson").write_text("deep")
    assert read(folder, "file:data.ndjson") == "one"
    assert read(folder, "FILE:data.ndjson") == "one"
    assert read(folder, f"file://{root}/one/data.ndjson") == "one"
    assert read(folder, f"file://localhost{root}/one/data.ndjson") == "one"
    assert read(folder, "file:sub/a%20b.ndjson") == "deep"


@pytest.mark.parametrize(
    "uri",
    [
        "file:",
        "file:/",
        "file:///",
        "file:../two/data.ndjson",
        "file:sub/../../two/data.ndjson",
        "file:sub/%2e%2e/%2e%2e/two/data.ndjson",
        "file:..%2ftwo%2fdata.ndjson",
        "file:./data.ndjson",
        "file:sub//data.ndjson",
        "file:///{root}/two/data.ndjson",
        "file://{root}/one/../two/data.ndjson",
        "file://{root}/onetwo",
        "file:///etc/passwd",
        "file://other/data.ndjson",
        "file:data.ndjson?x=1",
        "file:data.ndjson#x",
        "file:nul%00.ndjson",
        "file:sub/",
    ],
)
def test_uris_that_lead_elsewhere(root: Path, uri: str) -> None:
    folder = JobFolder(root, "one")
    for act in (folder.check, folder.open):
        with pytest.raises(InvalidError) as caught:
            act(uri.replace("{root}", str(root)))
        assert caught.value.code == "ValidationFailed"


def test_links_and_things_that_are_no_files(root: Path) -> None:
    folder = JobFolder(root, "one")
    (root / "one/link").symlink_to(root.parent / "secret")
    (root / "one/inside").symlink_to("data.ndjson")
    (root / "one/there").symlink_to(root / "two")
    os.mkfifo(root / "one/pipe")
    for name in ("link", "inside", "there/data.ndjson", "pipe", "sub", "none", "data.ndjson/x"):
        with pytest.raises(InvalidError) as caught:
            folder.open(f"file:{name}")
        assert caught.value.code == "FileUnreadable", name


def test_writing_is_whole_or_not_at_all(root: Path) -> None:
    folder = JobFolder(root, "one")
    (root / "one/there").symlink_to(root / "two")
    (root / "one/log").symlink_to(root.parent / "secret")
    asyncio.run(folder.write("file:sub/log", parts()))
    assert (root / "one/sub/log").read_text() == "a\nä\n"
    asyncio.run(folder.write("file:log", parts()))  # takes the link's place, and leaves what it led to
    assert (root / "one/log").read_text() == "a\nä\n"
    assert (root.parent / "secret").read_text() == "secret"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(folder.write("file:sub/other", broken()))
    for name in ("there/x", "none/x", "sub"):
        with pytest.raises(InvalidError) as caught:
            asyncio.run(folder.write(f"file:{name}", parts()))
        assert caught.value.code == "FileUnreadable"
    assert sorted(each.name for each in (root / "one/sub").iterdir()) == ["log"]
    assert sorted(each.name for each in (root / "two").iterdir()) == ["data.ndjson", "sub"]


def test_without_a_root_none_are_taken() -> None:
    with pytest.raises(InvalidError, match="GEMEL_JOBS_ROOT"):
        JobFolder(None, "one").check("file:data.ndjson")


def test_which_are_files() -> None:
    assert is_file_uri("file:x")
    assert is_file_uri("FILE:///x")
    assert not is_file_uri("https://a.example/file:")
