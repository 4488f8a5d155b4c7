"""The Python programs of the guide on clients, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from gemel.security.certificate import own_files
from support.command_line import ASSETS, Site, serving
from support.source_tree import ROOT

GUIDE = (ROOT / "docs" / "guides" / "clients.md").read_text("utf-8")
PROGRAMS = re.findall(r"^```python\n(.+?)^```", GUIDE, re.MULTILINE | re.DOTALL)
RUN_S_MAX = 60
RIG = ["dtmi:gemel:demo:Laboratory;1", "dtmi:gemel:demo:PumpRig;1", "dtmi:gemel:demo:RigMotor;1"]


def outcome(site: Site, program: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEMEL_")}
    access = {
        "GEMEL_URL": site.url,
        "GEMEL_KEY": (site.data / "default.key").read_text().strip(),
        "GEMEL_CA": str(own_files(site.data).certificate),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_S_MAX,
        env={**kept, **access},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("options", [("--tls",), ()], ids=["https", "http"])
def test_the_programs_of_the_guide_work(options: tuple[str, ...]) -> None:
    https, http, asynchronous = PROGRAMS
    with serving(*options) as site:
        assert site.run("models", "add", str(ASSETS / "pump-rig" / "models.json")).code == 0
        for program in [https, asynchronous] if options else [http]:
            assert outcome(site, program) == RIG
