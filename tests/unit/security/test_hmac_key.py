from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gemel.base.errors import EnvironmentFaultError
from gemel.security.hmac_key import load_hmac_key


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = load_hmac_key(tmp_path)
    assert len(key) == 32
    assert load_hmac_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "hmac.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["hmac.key"]


def test_of_many_callers_at_once_one_makes_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_hmac_key(tmp_path), range(32)))
    assert len(keys) == 1


def test_a_damaged_file_is_said_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hmac.key").write_bytes(b"short")
    with pytest.raises(EnvironmentFaultError, match="5 bytes") as caught:
        load_hmac_key(tmp_path)
    assert caught.value.code == "DataDirectoryUnusable"
    assert (tmp_path / "hmac.key").read_bytes() == b"short"


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFaultError, match="nowhere"):
        load_hmac_key(tmp_path / "nowhere")
