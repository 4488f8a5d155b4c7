"""An S3-compatible server for a test: moto's, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

__all__ = ["s3_server"]

WAIT_S = 30.0


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """Serve a bucket; yield the endpoint's URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_s = time.monotonic() + WAIT_S
        while True:
            try:
                assert httpx.put(f"{url}/{bucket}").status_code == 200
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < until_s
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()
