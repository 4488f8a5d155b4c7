"""Make src/gemel/rpc/gemel_pb2.py from gemel.proto: `make protos`. A test holds it up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["PROTO", "main", "make"]

RPC = Path(__file__).resolve().parents[1] / "src/gemel/rpc"
PROTO = RPC / "proto/gemel.proto"


def make(folder: Path) -> None:
    """Write the messages' module and its types into a folder."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}", f"--python_out={folder}"]
    subprocess.run([*command, f"--pyi_out={folder}", PROTO.name], check=True)


def main() -> None:
    """Make them anew where they belong."""
    make(RPC)


if __name__ == "__main__":
    main()
