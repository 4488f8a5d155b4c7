"""The first steps of the README, typed in as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.command_line import serving
from support.source_tree import ROOT

STEPS_S_MAX = 120


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="the README's steps need curl, which is not installed"
)
def test_the_first_steps_work(tmp_path: Path) -> None:
    steps = (ROOT / "README.md").read_text("utf-8").split("## First steps")[1]
    _, *blocks = re.findall(r"^```sh\n(.*?)^```", steps, re.MULTILINE | re.DOTALL)
    with serving() as site:
        script = "set -eux\n" + "\n".join(blocks).replace("http://127.0.0.1:8080", site.url)
        (tmp_path / "gemel").write_text(f'#!/bin/sh\nexec {sys.executable} -m gemel "$@"\n', "utf-8")
        (tmp_path / "gemel").chmod(0o755)
        path = f"{tmp_path}:{sysconfig.get_path('scripts')}:/usr/local/bin:/usr/bin:/bin"
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=STEPS_S_MAX,
            cwd=tmp_path,
            env=site.environment({"PATH": path}),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"accepted":1' in done.stdout
    assert '"temperature":21.5' in done.stdout
    assert done.stdout.count("2026-01-31T12:00:00.000000Z") >= 3, done.stdout
