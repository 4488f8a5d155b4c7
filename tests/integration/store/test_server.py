from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from gemel.base.errors import ConflictError, EnvironmentFaultError
from gemel.store import postmaster
from gemel.store.server import BundledServer, DirectoryLock
from support.postgres import FAST

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="is about running as root, and this is not root")
SOON_S = 15.0
"""Without waiting for what would be waited for in vain, on a busy machine too."""
SOURCE = Path(__file__).parents[3] / "src"

# Imports first: the other account may not be able to read Python's own files.
BECOME = """
import os, pathlib, signal, sys, psycopg
from gemel.store.server import BundledServer
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
"""


def show(server: BundledServer, name: str) -> str:
    with psycopg.connect(server.owner_dsn("postgres")) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def socket_dir(server: BundledServer) -> Path:
    return Path(str(psycopg.conninfo.conninfo_to_dict(server.owner_dsn())["host"]))


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *arguments]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


def test_from_nothing_to_ready_and_back(data_dir: Path) -> None:
    server = BundledServer(data_dir)
    assert not server.is_alive()
    server.start()
    mark = postmaster.marker(server.cluster)
    assert server.is_alive()
    assert server.responds()
    assert [show(server, name) for name in ("data_checksums", "fsync", "synchronous_commit")] == ["on"] * 3
    assert [show(server, name) for name in ("server_encoding", "TimeZone")] == ["UTF8", "UTC"]
    assert show(server, "listen_addresses") == ""
    assert show(server, "max_wal_size") == "512MB"
    with psycopg.connect(server.owner_dsn("postgres")) as connection:
        locale = "SELECT datlocprovider::text, datlocale FROM pg_database WHERE datname = 'template1'"
        assert connection.execute(locale).fetchone() == ("b", "C.UTF-8")
        assert connection.execute("SELECT upper('ärger')").fetchone() == ("ÄRGER",)
    assert (server.cluster.stat().st_mode & 0o777, server.log.stat().st_mode & 0o777) == (0o700, 0o600)
    assert server.create_database("gemel")
    assert not server.create_database("gemel")
    server.stop()
    assert not server.is_alive()
    assert not server.responds()
    assert postmaster.processes(mark) == []
    server.stop()

    begun = time.monotonic()
    server.start()
    assert time.monotonic() - begun < SOON_S
    with psycopg.connect(server.owner_dsn()) as connection:
        assert connection.info.dbname == "gemel"


def test_a_running_server_is_adopted(data_dir: Path) -> None:
    first, second = BundledServer(data_dir, changes=FAST), BundledServer(data_dir, changes=FAST)
    first.start()
    second.start()
    assert second.pid == first.pid
    assert second.owner_dsn() == first.owner_dsn() == BundledServer(data_dir).owner_dsn()
    second.stop()
    assert not first.is_alive()


def test_stop_does_not_wait_for_clients(data_dir: Path) -> None:
    server = BundledServer(data_dir, changes=FAST)
    server.start()
    with psycopg.connect(server.owner_dsn("postgres")) as connection:
        connection.execute("CREATE TABLE t ()")
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < SOON_S
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_after_kill_9_with_a_query_that_does_not_notice(data_dir: Path) -> None:
    server = BundledServer(data_dir)
    server.start()
    with psycopg.connect(server.owner_dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    # It computes, and looks neither at its socket nor at its postmaster.
    loop = "DO $$ BEGIN FOR n IN 1..2000000000 LOOP PERFORM sqrt(n); END LOOP; END $$"
    code = "import sys, psycopg; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
    with python(code, server.owner_dsn("postgres"), loop, stderr=subprocess.DEVNULL) as busy:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%' AND state = 'active'"
        with psycopg.connect(server.owner_dsn("postgres"), autocommit=True) as connection:
            while connection.execute(running).fetchone() != (1,):
                assert busy.poll() is None
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        begun = time.monotonic()
        time.sleep(0.2)
        assert busy.poll() is None
        BundledServer(data_dir).start()
        assert time.monotonic() - begun < SOON_S
        assert busy.wait(10) == 1
    with psycopg.connect(server.owner_dsn("postgres")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.parametrize("name", ["x" * 120, "with, comma", 'quote\'s \\ back "slash" ü'])
def test_awkward_paths(data_dir: Path, name: str) -> None:
    server = BundledServer(data_dir / name, changes=FAST)
    server.start()
    try:
        assert show(server, "server_encoding") == "UTF8"
        folder = socket_dir(server)
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
    assert not folder.exists()


def test_a_trap_in_place_of_the_socket_folder_is_refused(data_dir: Path) -> None:
    server = BundledServer(data_dir / ("x" * 120), changes=FAST)
    folder = socket_dir(server)
    folder.mkdir()
    try:
        for mode in (0o755, 0o777):
            folder.chmod(mode)
            with pytest.raises(EnvironmentFaultError, match="with mode 0700") as refused:
                server.start()
            assert refused.value.code == "DataDirectoryUnusable"
        folder.rmdir()
        folder.symlink_to(data_dir)
        with pytest.raises(EnvironmentFaultError, match="with mode 0700"):
            server.start()
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()


def test_an_interrupted_initdb_is_begun_again(data_dir: Path) -> None:
    (data_dir / "postgres.new/base").mkdir(parents=True)
    (data_dir / "postgres").mkdir()
    server = BundledServer(data_dir, changes=FAST)
    server.start()
    assert server.is_alive()
    assert not (data_dir / "postgres.new").exists()


def test_foreign_files_are_left_alone(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres/thesis.txt").write_text("dear")
    with pytest.raises(EnvironmentFaultError) as refused:
        BundledServer(data_dir).start()
    assert refused.value.code == "DataDirectoryUnusable"
    assert (data_dir / "postgres/thesis.txt").read_text() == "dear"


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EnvironmentFaultError) as refused:
        BundledServer(tmp_path / "data").start()
    assert refused.value.code == "DataDirectoryUnusable"
    with pytest.raises(EnvironmentFaultError):
        DirectoryLock(tmp_path / "data").acquire("http://x")


def test_a_process_id_that_went_to_another_program(data_dir: Path) -> None:
    server = BundledServer(data_dir, changes=FAST)
    server.start()
    assert server.pid is not None
    file = server.cluster / "postmaster.pid"
    stale = file.read_text()
    os.kill(server.pid, signal.SIGKILL)
    account = server.cluster.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=account) as other:
        file.write_text(stale.replace(str(server.pid), str(other.pid), 1))
        assert BundledServer(data_dir)._running() is None
        server.start()
        assert other.poll() is None
        other.kill()
    assert server.is_alive()


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    server = BundledServer(data_dir, changes=FAST)
    server.start()
    server.stop()
    (server.cluster / "PG_VERSION").write_text("12\n")
    begun = time.monotonic()
    with pytest.raises(EnvironmentFaultError, match="incompatible with server") as failed:
        server.start()
    assert time.monotonic() - begun < SOON_S
    assert failed.value.code == "DatabaseFailed"
    assert str(server.log) in str(failed.value)
    assert not server.is_alive()


def test_a_large_log_is_moved_aside(data_dir: Path) -> None:
    data_dir.mkdir()
    with (data_dir / "postgres.log").open("wb") as log:
        log.truncate(11 << 20)
    BundledServer(data_dir, changes=FAST).start()
    assert (data_dir / "postgres.log.1").stat().st_size == 11 << 20
    assert 0 < (data_dir / "postgres.log").stat().st_size < 1 << 20


def test_the_lock_names_its_holder_and_ends_with_it_not_with_postgres(data_dir: Path) -> None:
    first, second = DirectoryLock(data_dir), DirectoryLock(data_dir)
    assert first.holder() is None
    first.acquire("http://127.0.0.1:8080")
    server = BundledServer(data_dir, changes=FAST)
    server.start()
    with pytest.raises(ConflictError, match=f"process {os.getpid()}, at http://127.0.0.1:8080") as refused:
        second.acquire("http://127.0.0.1:8081")
    assert refused.value.code == "DataDirectoryInUse"
    first.release()
    first.release()
    assert second.holder() is None
    second.acquire("http://127.0.0.1:8081")
    holder = first.holder()
    assert holder is not None
    assert (holder.pid, holder.url) == (os.getpid(), "http://127.0.0.1:8081")
    assert server.is_alive()
    second.release()


def test_the_lock_of_a_killed_process_is_free(data_dir: Path) -> None:
    code = """
import sys, time, pathlib
from gemel.store.server import DirectoryLock
lock = DirectoryLock(pathlib.Path(sys.argv[1]))
lock.acquire("http://there")
print(flush=True)
time.sleep(60)
"""
    with python(code, str(data_dir)) as other:
        assert other.stdout is not None
        other.stdout.readline()
        mine = DirectoryLock(data_dir)
        with pytest.raises(ConflictError, match="http://there"):
            mine.acquire("http://here")
        other.kill()
    assert mine.holder() is None
    mine.acquire("http://here")
    mine.release()


def test_ctrl_c_does_not_reach_the_database(data_dir: Path) -> None:
    code = """
import sys, time, pathlib
from gemel.store.server import BundledServer
BundledServer(pathlib.Path(sys.argv[1]), changes={"fsync": "off"}).start(); print(flush=True); time.sleep(60)
"""
    with python(code, str(data_dir), process_group=0, stderr=subprocess.DEVNULL) as terminal:
        assert terminal.stdout is not None
        terminal.stdout.readline()
        server = BundledServer(data_dir)
        state = server._running()
        assert state is not None
        assert os.getsid(state.pid) == state.pid
        os.killpg(terminal.pid, signal.SIGINT)
        assert terminal.wait(10) != 0
    time.sleep(0.2)
    assert server.is_alive()
    assert server.responds()


@needs_root
def test_as_root_it_runs_as_another_account_behind_closed_folders(data_dir: Path) -> None:
    assert data_dir.parent.stat().st_mode & 0o077 == 0
    server = BundledServer(data_dir, changes=FAST)
    server.start()
    owner = server.cluster.stat().st_uid
    assert owner != 0
    assert server.pid is not None
    assert os.stat(f"/proc/{server.pid}").st_uid == owner
    assert data_dir.stat().st_mode & 0o077 == 0

    # Not even the account itself gets in as a database role: the kernel says that it is not root.
    code = BECOME + "psycopg.connect(sys.argv[2])"
    with python(code, str(owner), server.owner_dsn("postgres"), stderr=subprocess.PIPE) as other:
        _, words = other.communicate()
    assert b"Peer authentication failed" in words


@needs_root
def test_as_an_ordinary_account(tmp_path: Path) -> None:
    account = pwd.getpwnam("nobody")
    folder = Path("/tmp") / f"gemel-test-{os.getpid()}-plain"
    code = """
server = BundledServer(pathlib.Path(sys.argv[2]), changes={"fsync": "off"})
server.start(); server.create_database()
os.kill(server.pid, signal.SIGKILL)
server.start()
with psycopg.connect(server.owner_dsn()) as connection:
    print(connection.info.host, os.stat(f"/proc/{server.pid}").st_uid)
server.stop()
"""
    folder.mkdir()
    try:
        os.chown(folder, account.pw_uid, account.pw_gid)
        with python(BECOME + code, str(account.pw_uid), str(folder)) as plain:
            words, _ = plain.communicate()
        assert plain.returncode == 0
        assert words.decode().split() == [str(folder / "run"), str(account.pw_uid)]
    finally:
        shutil.rmtree(folder)
