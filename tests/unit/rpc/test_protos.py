"""The contract and what is made from it."""

from __future__ import annotations

from pathlib import Path

from gemel.base.errors import GemelError, OverloadedError
from gemel.rpc.calls import STATUSES, status_of
from gemel.rpc.server import SERVICE
from support.rpc import messages
from tools.protos import RPC, make


def test_messages_are_made_from_the_contract(tmp_path: Path) -> None:
    make(tmp_path)
    for name in ("gemel_pb2.py", "gemel_pb2.pyi"):
        assert (RPC / name).read_text() == (tmp_path / name).read_text(), "run `make protos`"


def test_every_error_has_a_status() -> None:
    assert set(GemelError.__subclasses__()) == set(STATUSES)
    assert status_of(OverloadedError("Overloaded", "")).name == "RESOURCE_EXHAUSTED"


def test_the_service_is_named() -> None:
    assert messages().DESCRIPTOR.services_by_name["Gemel"].full_name == SERVICE
