"""Who is let in by an OPC UA server and how: signed and encrypted, with a user, by certificates; and what it shows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.server.user_managers import UserManager
from cryptography.x509.oid import ExtendedKeyUsageOID

from gemel.base.errors import InvalidError, UnavailableError
from gemel.connectors.opcua import Login, Security
from gemel.connectors.opcua_browse import look, look_at_endpoints
from gemel.connectors.opcua_link import connect
from gemel.outbound import OutboundPolicy
from gemel.sources.permits import Permits, Place
from support.opcua import Plant
from support.sources import Workshop

Play = Callable[[Callable[[Workshop], Awaitable[None]]], None]
PASSWORD = "0pc-pa55word"
OPEN = Place("", Permits(((None, Path("/")),), frozenset({(None, "OPC_PASSWORD")})))


class _Users(UserManager):  # type: ignore[misc]
    """One user."""

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> Any:
        from asyncua.crypto.permission_rules import User, UserRole

        good = (username, password) == ("operator", PASSWORD)
        return User(role=UserRole.User, name="operator") if good else None


class Guarded:
    """A server that takes encrypted or signed connections alone, and one user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arguments = {"user_manager": _Users()}

    async def apply(self, server: Server) -> None:
        await certificate(self.folder, "server", server._application_uri)
        await server.load_certificate(str(self.folder / "server.der"))
        await server.load_private_key(str(self.folder / "server.pem"))
        server.set_security_policy(
            [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt, ua.SecurityPolicyType.Basic256Sha256_Sign]
        )


async def certificate(folder: Path, name: str, uri: str) -> None:
    """Make a key (PEM) and a certificate of its own (DER)."""
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    await setup_self_signed_certificate(
        folder / f"{name}.pem",
        folder / f"{name}.der",
        uri,
        socket.gethostname(),
        usage,
        {"organizationName": "test"},
    )


def login(plant: Plant, folder: Path, *, mode: str = "sign_and_encrypt", theirs: str = "server") -> Login:
    security = Security(
        policy="Basic256Sha256",
        mode=mode,
        certificate=str(folder / "client.der"),
        key_file=str(folder / "client.pem"),
        key_password=None,
        server_certificate=str(folder / f"{theirs}.der"),
    )
    return Login(plant.url, security, "operator", "${env:OPC_PASSWORD}", 5.0)


def test_a_host_that_may_not_be_called_is_not() -> None:
    async def scene() -> None:
        with pytest.raises(InvalidError) as refused:
            await connect(Login("opc.tcp://127.0.0.1:4840", None, None, None, 1.0), OPEN, OutboundPolicy())
        assert refused.value.code == "OutboundRefused"

    asyncio.run(scene())


def test_signed_or_encrypted_with_user_and_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPC_PASSWORD", PASSWORD)

    async def scene() -> None:
        await certificate(tmp_path, "client", "urn:gemel:test:client")
        await certificate(tmp_path, "other", "urn:gemel:test:other")
        plant = Plant(setup=Guarded(tmp_path))
        await plant.put("t0", "Temperature", 0, 1.5)
        async with plant.running():
            for mode in ("sign_and_encrypt", "sign"):
                sights, _ = await look(login(plant, tmp_path, mode=mode), OPEN, ["Plant/**"])
                assert [sight.path for sight in sights] == [("Plant", "t0", "Temperature")]
            offered = await look_at_endpoints(login(plant, tmp_path))
            assert {each.mode for each in offered} == {"Sign", "SignAndEncrypt"}
            with pytest.raises(UnavailableError):
                await look(Login(plant.url, None, None, None, 2.0), OPEN, ["**"])
            with pytest.raises(UnavailableError):
                # It is not the server that it must be.
                await look(login(plant, tmp_path, theirs="other"), OPEN, ["**"])
            monkeypatch.setenv("OPC_PASSWORD", "wrong-" + PASSWORD)
            with pytest.raises(InvalidError) as refused:
                await look(login(plant, tmp_path), OPEN, ["**"])
            assert refused.value.code == "SourceInvalid"
            assert PASSWORD not in str(refused.value)

    asyncio.run(scene())


def test_a_secured_source_is_read_and_a_wrong_password_fails_it(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPC_PASSWORD", PASSWORD)
    mapping = (
        "version: 2\nsource: plant\ntime: {path: time, format: iso}\n"
        "twins: [{twin: '{thing}', quality: quality, values: {temperature: value}}]"
    )

    async def scene(shop: Workshop) -> None:
        await certificate(tmp_path, "client", "urn:gemel:test:client")
        plant = Plant(setup=Guarded(tmp_path))
        await plant.put("t0", "Temperature", 0, 1.5)
        text = (
            f"name: s\nkind: opcua\nmapping: m.yaml\nbackoff: {{first_s: 0.05, max_s: 0.2}}\nconnection:\n"
            f"  url: {plant.url}\n  nodes: [Plant/*/*]\n  publishing_ms: 20\n"
            "  user: operator\n  password: ${env:OPC_PASSWORD}\n"
            f"  security: {{policy: Basic256Sha256, certificate: {tmp_path}/client.der, "
            f"key_file: {tmp_path}/client.pem, server_certificate: {tmp_path}/server.der}}\n"
        )
        async with plant.running():
            with pytest.raises(InvalidError) as refused:
                await shop.describe(text, mapping)
            assert refused.value.code == "SourceNotAllowed"
            shop.allow = f"{tmp_path},env:OPC_PASSWORD"
            await shop.describe(text, mapping)
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] > 0)
                await plant.put("t0", "Temperature", 1, 2.5)
                await shop.until(lambda row: row.counts["events"] > 1)
                monkeypatch.setenv("OPC_PASSWORD", "wrong-" + PASSWORD)
                await shop.describe(text + "  queue: 7\n", mapping, start=False)
                row = await shop.until(lambda row: row.state == "failed")
        assert await shop.values() == [1.5, 2.5]
        assert row.error_code == "SourceInvalid"
        assert PASSWORD not in str(row)

    play(scene)


def test_units_structures_and_arrays(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = (
        "version: 2\nsource: plant\ntime: {path: time, format: iso}\ntwins:\n"
        "  - twin: '{thing}'\n    values:\n      place: {path: values.Place, expr: \"{'x': value.X, 'y': value.Y}\"}\n"
        "      temperature: {path: values.Temperature, unit: degF, to: degC}\n      count: 'values.Counts[1]'\n"
    )

    async def scene(shop: Workshop) -> None:
        plant = Plant()
        await plant.put("t0", "Temperature", 0, 212.0)
        await plant.put("t0", "Counts", 0, [1, 2, 3])
        async with plant.running():
            assert plant.server is not None
            kind, _ = await new_struct(
                plant.server,
                2,
                "Spot",
                [new_struct_field("X", ua.VariantType.Double), new_struct_field("Y", ua.VariantType.Double)],
            )
            await plant.server.load_data_type_definitions()
            thing = await plant.nodes["t0", "Temperature"].get_parent()
            spot = ua.Spot(X=1.5, Y=2.5)
            # The server shares the library's memory with us, whose classes would be known here, too.
            encoding = next(key for key, of in ua.extension_objects_by_typeid.items() if of is ua.Spot)
            monkeypatch.delitem(ua.extension_objects_by_typeid, encoding)
            await thing.add_variable(ua.NodeId("t0.Place", 2), "2:Place", spot, datatype=kind.nodeid)
            unit = ua.EUInformation(
                NamespaceUri="http://www.opcfoundation.org/UA/units/un/cefact",
                UnitId=4604232,
                DisplayName=ua.LocalizedText("°F"),
            )
            await plant.nodes["t0", "Temperature"].add_property(
                ua.NodeId("t0.Temperature.EU", 2), "0:EngineeringUnits", unit
            )
            sights, unfit = await look(
                Login(plant.url, None, None, None, 5.0), OPEN, ["Plant/{*}/**", "None/*"]
            )
            assert [(sight.names, sight.type, sight.pint) for sight in sights] == [
                (("Counts",), "Int64[]", None),
                (("Place",), "Spot", None),
                (("Temperature",), "Double", "degF"),
            ]
            assert unfit == ["None/*"]
            await shop.describe(
                f"name: s\nkind: opcua\nmapping: m.yaml\nconnection: {{url: '{plant.url}', nodes: [Plant/*/*]}}",
                mapping,
            )
            async with shop.process():
                await shop.until(lambda row: row.counts["events"] == 3)
        assert await shop.values() == [100.0]
        assert await shop.values("count") == [2.0]
        places = await shop.parts.db.query(
            shop.parts.tenant, "SELECT doc FROM sample WHERE tenant = current_tenant() AND doc IS NOT NULL"
        )
        assert places == [({"x": 1.5, "y": 2.5},)]

    play(scene)
