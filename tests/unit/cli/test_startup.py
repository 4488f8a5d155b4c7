from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "cryptography",
    "httpx",
    "litestar",
    "numpy",
    "pint",
    "psycopg",
    "pyarrow",
    "rich",
    "uvicorn",
    "yaml",
)


def test_help_waits_for_no_heavy_library() -> None:
    code = f"import gemel.cli, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
