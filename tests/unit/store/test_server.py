from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gemel.base.errors import EnvironmentFaultError
from gemel.store import postmaster, sockets
from gemel.store.binaries import Account, account_for, locate, usable_by
from gemel.store.pgconfig import SETTINGS, render_access, render_settings, render_users
from gemel.store.server import BundledServer, DirectoryLock

ME = Account("me", os.geteuid(), os.getegid(), foreign=False, caller="me")
OTHER = Account("other", 4242, 4242, foreign=True, caller="root")


def test_each_setting_stands_once_with_its_reason() -> None:
    names = [name for name, _, _ in SETTINGS]
    assert len(names) == len(set(names))
    assert all(why for _, _, why in SETTINGS)
    text = render_settings({})
    assert "fsync = 'on'  # " in text
    assert "listen_addresses = ''  # " in text


def test_changes_replace_or_add_settings_and_are_quoted() -> None:
    text = render_settings({"fsync": "off", "unix_socket_directories": '"it\'s \\ here"'})
    assert "fsync = 'off'  # " in text
    assert "fsync = 'on'" not in text
    assert text.endswith("unix_socket_directories = '\"it''s \\\\ here\"'\n")


def test_only_the_caller_gets_in() -> None:
    assert [line for line in render_access().splitlines() if line[:1] != "#"] == [
        "local all all peer map=gemel"
    ]
    assert render_users('od"d').splitlines()[-1] == 'gemel "od""d" all'


@pytest.mark.parametrize(
    ("folder", "account", "inside"),
    [
        ("/data", ME, True),
        ("/" + "x" * 81, ME, True),
        ("/" + "x" * 82, ME, False),
        ("/" + "ü" * 60, ME, False),
        ("/with,comma", ME, False),
        ("/data", OTHER, False),
    ],
)
def test_where_the_socket_goes(
    folder: str, account: Account, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    chosen = sockets.choose(Path(folder), account)
    assert (chosen == Path(folder, "run")) is inside
    assert len(os.fsencode(chosen / sockets.SOCKET)) <= sockets.SOCKET_BYTES_MAX
    assert chosen == sockets.choose(Path(folder), account)
    assert chosen != sockets.choose(Path(folder + "2"), account)


def test_the_runtime_folder_is_used_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Path("/tmp") / f"rt{os.getpid()}"
    runtime.mkdir()
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        assert sockets.choose(Path("/with,comma"), ME).parent == runtime
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "absent"))
        assert sockets.choose(Path("/with,comma"), ME).parent == Path("/tmp")
    finally:
        runtime.rmdir()


def test_only_a_private_folder_of_the_account_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sockets.make(folder, ME)
    sockets.make(folder, ME)
    with pytest.raises(EnvironmentFaultError):
        sockets.make(folder, OTHER)
    folder.chmod(0o750)
    with pytest.raises(EnvironmentFaultError, match="mode 0700"):
        sockets.make(folder, ME)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(EnvironmentFaultError, match="mode 0700"):
        sockets.make(link, ME)


def test_clearing_leaves_what_is_not_the_servers(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sockets.clear(folder, remove=True)
    folder.mkdir()
    (folder / sockets.SOCKET).touch()
    (folder / "letter").touch()
    sockets.clear(folder, remove=True)
    assert os.listdir(folder) == ["letter"]
    (folder / "letter").unlink()
    sockets.clear(folder, remove=True)
    assert not folder.exists()


WHOLE = "4711\n/proc/self/fd/3\n1795406223\n5432\n/tmp/s\n\n  9979682   4\nready   \n"


@pytest.mark.parametrize("text", [None, "", "x", "4711\n", WHOLE[: WHOLE.index("ready")], "x" + WHOLE])
def test_a_pid_file_that_is_absent_or_half_written_says_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "postmaster.pid").write_text(text)
    assert postmaster.read_pid_file(tmp_path) is None


def test_a_whole_pid_file(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(WHOLE)
    assert postmaster.read_pid_file(tmp_path) == postmaster.Postmaster(4711, Path("/tmp/s"), "ready")


def test_this_process_is_no_postgres(tmp_path: Path) -> None:
    mark = postmaster.marker(tmp_path)
    assert not postmaster.alive(os.getpid(), mark)
    assert not postmaster.is_postgres(os.getpid())
    assert postmaster.processes(mark) == []
    assert postmaster.kill_all(mark) == 0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "url": ""}', '{"pid": 4194305, "url": "u"}']
)
def test_a_lock_file_that_names_no_living_process_has_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "gemel.lock").write_text(text)
    assert DirectoryLock(tmp_path).holder() is None


def test_nothing_is_made_by_asking(tmp_path: Path) -> None:
    server = BundledServer(tmp_path / "data")
    assert not server.is_alive()
    assert "user=gemel_owner" in server.owner_dsn()
    assert "user=gemel_serve dbname=other" in server.serve_dsn("other")
    server.stop()
    assert DirectoryLock(tmp_path / "data").holder() is None
    assert os.listdir(tmp_path) == []


def test_the_newest_postgresql_of_the_wheel_is_found() -> None:
    install = locate()
    assert int(install.name.removeprefix("pginstall")) >= 18
    assert all((install / "bin" / name).exists() for name in ("postgres", "initdb", "pg_dump", "pg_restore"))


def test_a_missing_wheel_is_an_environment_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemel.store.binaries.PACKAGE", "no_such_package")
    with pytest.raises(EnvironmentFaultError, match="no_such_package") as fault:
        locate()
    assert fault.value.code == "DatabaseFailed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")
def test_programs_behind_a_closed_folder_are_copied_once(tmp_path: Path) -> None:
    account = account_for(tmp_path / "absent")
    assert account.foreign
    assert account.caller == "root"
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    package = locate().parent
    (site / package.name).symlink_to(package)
    (site / f"{package.name}.libs").symlink_to(package.parent / f"{package.name}.libs")
    install = site / package.name / locate().name
    cache = Path("/tmp") / f"gemel-test-cache-{os.getpid()}"
    try:
        copy = usable_by(account, install, cache)
        assert cache in copy.parents
        made = copy.stat().st_ino
        assert usable_by(account, install, cache).stat().st_ino == made
        assert len(os.listdir(cache)) == 1
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    assert usable_by(account, locate(), cache) == locate()
    assert not cache.exists()


def test_an_account_of_ones_own_uses_the_wheel_as_it_is(tmp_path: Path) -> None:
    assert usable_by(ME, tmp_path / "not looked at") == tmp_path / "not looked at"
