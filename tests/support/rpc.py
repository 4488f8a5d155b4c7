"""The stubs of gemel.proto, made as users make them: by grpcio-tools, in a folder of their own."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tools.protos import PROTO

__all__ = ["messages", "stubs"]


@cache
def _made() -> tuple[Any, Any]:
    folder = Path(tempfile.mkdtemp(prefix="gemel-stubs-"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", PROTO.name], check=True)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("gemel_pb2"), importlib.import_module("gemel_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


def messages() -> Any:
    """Return the module of messages."""
    return _made()[0]


def stubs() -> Any:
    """Return the module of stubs."""
    return _made()[1]
