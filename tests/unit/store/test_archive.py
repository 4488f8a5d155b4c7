from __future__ import annotations

import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemel.base.errors import EnvironmentFaultError, InvalidError
from gemel.store.archive import Manifest, opened_archive, written_archive

CONTENTS = st.dictionaries(
    st.sampled_from(["database.dump", "hmac.key", "default.key"]), st.binary(max_size=2000)
)


def write(path: Path, contents: dict[str, bytes]) -> None:
    with written_archive(path, 1_700_000_000) as archive:
        for name, data in contents.items():
            archive.add(name, io.BytesIO(data))
        archive.finish(Manifest("0.1", ["0001"], "me", "2026-01-01T00:00:00Z", dict(archive.members)))


@given(contents=CONTENTS)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]) -> None:
    path = tmp_path_factory.mktemp("archive") / "a.tar"
    write(path, contents)
    with opened_archive(path) as archive:
        assert {name: archive.stream(name).read() for name in archive.manifest.members} == contents
    # Any tar program reads it.
    with tarfile.open(path) as tar:
        assert sorted(tar.getnames()) == sorted([*contents, "manifest.json"])


@given(contents=CONTENTS.filter(bool), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_damage_to_a_member_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes], where: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("archive") / "a.tar"
    write(path, contents)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(data)
    # Damage to padding, or to a header's field that says nothing of the content, may pass.
    with suppress(InvalidError), opened_archive(path) as archive:
        assert {name: archive.stream(name).read() for name in archive.manifest.members} == contents


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_text("old")

    class Full(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("disk full")

    with (
        pytest.raises(EnvironmentFaultError, match="disk full") as failed,
        written_archive(path, 0) as archive,
    ):
        archive.add("x", Full())
    assert failed.value.code == "CommandFailed"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.tar"]
    with pytest.raises(EnvironmentFaultError), written_archive(tmp_path / "absent" / "a.tar", 0):
        pass


def test_a_format_of_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with written_archive(path, 0) as archive:
        archive.finish(Manifest("9", [], "me", "2026-01-01T00:00:00Z", {}, format=2))
    with pytest.raises(InvalidError, match="reads format 1"), opened_archive(path):
        pass
