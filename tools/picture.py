"""Draw docs/images/demo.svg: the demo's view as it stands after a while, on a real platform."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from gemel.base.settings import load_settings
from gemel.cli.client import Address, Client
from gemel.demo.assets import STATION, load_site
from gemel.demo.platform import Access, open_platform
from gemel.demo.prepare import prepare
from gemel.demo.session import Session, plan_live
from gemel.demo.view import Snapshot, render

__all__ = ["main"]

FILE = Path(__file__).resolve().parents[1] / "docs/images/demo.svg"
SECONDS = 75.0
WIDTH, HEIGHT = 100, 44


class Camera:
    """A screen that keeps the last picture."""

    def __init__(self) -> None:
        self.last: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Keep the newest state."""
        self.last = snapshot


def main() -> None:
    """Run the demo in a directory of its own, and write what it shows at the end."""
    camera = Camera()
    with tempfile.TemporaryDirectory(prefix="gemel-picture-") as folder:
        settings = load_settings({}, data_dir=Path(folder))
        access = Access(settings, lambda holder, key: Client(Address(holder.url, key)))
        with open_platform(access, 8080, lambda: False) as platform:
            assert platform is not None
            plan = plan_live(load_site(STATION))
            with platform.client() as server:
                prepare(server, plan.site)
            Session(plan, platform).play(camera, lambda elapsed_s: elapsed_s >= SECONDS)
    assert camera.last is not None
    console = Console(
        record=True,
        width=WIDTH,
        height=HEIGHT,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(render(camera.last))
    FILE.parent.mkdir(exist_ok=True)
    # Without the fonts that rich would have a reader's browser fetch from elsewhere.
    drawn = re.sub(
        r"@font-face \{.*?\}\s*", "", console.export_svg(title="gemel demo", theme=MONOKAI), flags=re.DOTALL
    )
    FILE.write_text(drawn, "utf-8")


if __name__ == "__main__":
    main()
