from __future__ import annotations

import re
from pathlib import Path

from gemel.mapping.tables import load_mapping
from gemel.mapping.units import Conversion, conversion

ROOT = Path(__file__).parents[3]


def test_the_guides_mapping_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/guides/files.md").read_text("utf-8"), re.DOTALL)
    path = tmp_path / "m.yaml"
    path.write_text(text, "utf-8")
    mapping = load_mapping(path)
    assert len(mapping.twins[0].values) == 4
    assert conversion("g", "m/s^2") == Conversion(9.80665, 0.0)


def test_the_shipped_mapping_is_one() -> None:
    mapping = load_mapping(ROOT / "src/gemel/demo/assets/pump-rig/mapping.yaml")
    assert mapping.optional_columns == {"anomaly", "changepoint"}
