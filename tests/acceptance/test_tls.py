"""`gemel up --tls`: https with a certificate of its own, which the commands on the machine trust by themselves."""

from __future__ import annotations

import json
import signal
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from bench.platform import free_port
from gemel.security.certificate import ensure_certificate, own_files
from support.command_line import ASSETS, Site, serving
from support.rpc import messages, stubs

RIG = ASSETS / "pump-rig"
HEADER = (
    "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;"
    "Temperature;Thermocouple;Voltage;Volume Flow RateRMS"
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving("--tls") as site:
        yield site


def test_it_serves_https_alone_and_keeps_its_key_to_itself(site: Site) -> None:
    assert site.url.startswith("https://127.0.0.1:")
    files = own_files(site.data)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    trusted = ssl.create_default_context(cafile=files.certificate)
    port = site.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        assert httpx.get(f"https://{host}:{port}/healthz", verify=trusted).status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{site.url}/healthz")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_it_stops_though_callers_idle() -> None:
    """Long before the time that calls under way have: an idle connection is none."""
    with serving("--tls", "--grpc-port", str(port := free_port()), GEMEL_STOP_GRACE_S="600") as own:
        files = own_files(own.data)
        trusted = ssl.create_default_context(cafile=files.certificate)
        credentials = grpc.ssl_channel_credentials(files.certificate.read_bytes())
        with (
            httpx.Client(base_url=own.url, verify=trusted) as client,
            grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel,
        ):
            assert client.get("/healthz").status_code == 200
            with pytest.raises(grpc.RpcError):
                stubs().GemelStub(channel).GetTwin(messages().TwinRequest(), timeout=10)
            assert own.stop() == 0


def test_commands_find_and_trust_it(site: Site, tmp_path: Path) -> None:
    assert site.run("models", "add", str(RIG / "models.json"), "--json").code == 0
    (tmp_path / "rig.csv").write_text(
        f"{HEADER}\n2020-03-09 10:00:00;0.03;0.04;1.5;0.25;70.5;25.25;220.5;32.0\n"
    )
    done = site.run(
        "ingest",
        str(tmp_path / "rig.csv"),
        "--mapping",
        str(RIG / "mapping.yaml"),
        "--create-twins",
        "--json",
    )
    assert done.json()["events"] == 1
    checks = {each["check"]: each for each in site.run("doctor", "--json").json()}
    assert checks["server"]["verdict"] == "ok", checks
    assert checks["certificate"]["verdict"] == "ok", checks


def test_the_change_feed_is_followed_over_https(site: Site) -> None:
    watching = site.popen("watch", "--json", "--after", "0")
    try:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate()


def test_grpc_shows_the_same_certificate() -> None:
    with serving("--tls", "--grpc-port", str(port := free_port())) as own:
        trusted = grpc.ssl_channel_credentials(own_files(own.data).certificate.read_bytes())
        metadata = (("authorization", f"Bearer {(own.data / 'default.key').read_text().strip()}"),)
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            query = messages().QueryRequest(query="SELECT * FROM digitaltwins")
            pages = list(stubs().GemelStub(channel).Query(query, metadata=metadata, timeout=20))
        assert [list(page.items) for page in pages] == [[]]
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            stub = stubs().GemelStub(channel)
            with pytest.raises(grpc.RpcError):
                list(stub.Query(query, metadata=metadata, timeout=5))


def test_a_remote_one_is_trusted_by_a_file(site: Site, tmp_path: Path) -> None:
    elsewhere = {"GEMEL_DATA": str(tmp_path), "GEMEL_URL": site.url, "GEMEL_KEY": "gk_1_x_y"}
    refused = site.run("models", "list", "--json", **elsewhere)
    assert refused.code == 3, refused
    assert "GEMEL_CA" in refused.error()["next"]
    certificate = str(own_files(site.data).certificate)
    heard = site.run("models", "list", "--json", **elsewhere, GEMEL_CA=certificate)
    assert heard.error()["code"] == "TokenInvalid"


def test_the_certificate_outlives_a_restart(site: Site) -> None:
    before = own_files(site.data).certificate.read_bytes()
    assert site.stop() == 0
    site.start()
    assert own_files(site.data).certificate.read_bytes() == before
    assert site.run("models", "list").code == 0


def test_an_own_certificate_is_served_and_trusted_by_the_commands(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    ensure_certificate(tmp_path / "own", "plant.example")
    own = own_files(tmp_path / "own")
    with serving("--tls-cert", str(own.certificate), "--tls-key", str(own.key)) as site:
        assert not own_files(site.data).certificate.exists()
        assert site.run("models", "list").code == 0


def test_files_that_do_not_serve_are_said_before_anything_starts(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    refused = site.run("up", "--port", "0", "--json", "--tls-cert", str(tmp_path / "nowhere.crt"))
    assert refused.code == 1, refused
    assert refused.error()["code"] == "CertificateInvalid"
    assert not (tmp_path / "data" / "postgres").exists()
    assert site.run("up", "--tls-key", "x", "--json").error()["code"] == "UsageInvalid"
