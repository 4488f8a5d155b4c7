"""Drive @azure/digital-twins-core against a Gemel over https: make javascript.

Needs node and npm, which installs the packages of package-lock.json into a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gemel.security.certificate import own_files
from support.command_line import serving

HERE = Path(__file__).parent
INSTALL_S_MAX = 300
DRIVE_S_MAX = 120


def main() -> int:
    """Return 0 where every method of the client was driven and answered rightly."""
    if shutil.which("npm") is None:
        print("This needs node and npm.", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="gemel-test-") as folder,
        serving("--tls", GEMEL_OUTBOUND_ALLOW="127.0.0.1:9") as site,
    ):
        assert site.run("endpoint", "add", "hooks", "http://127.0.0.1:9/").code == 0
        for name in ("package.json", "package-lock.json", "drive.mjs"):
            shutil.copy(HERE / name, folder)
        subprocess.run(["npm", "ci", "--silent"], cwd=folder, check=True, timeout=INSTALL_S_MAX)
        access = {
            "GEMEL_URL": site.url,
            "GEMEL_KEY": (site.data / "default.key").read_text().strip(),
            "NODE_EXTRA_CA_CERTS": str(own_files(site.data).certificate),
        }
        driven = subprocess.run(
            ["node", "drive.mjs"], cwd=folder, check=False, timeout=DRIVE_S_MAX, env={**os.environ, **access}
        )
    return driven.returncode


if __name__ == "__main__":
    sys.exit(main())
