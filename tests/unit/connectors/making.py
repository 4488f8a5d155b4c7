"""Mappings and files for the tests of connectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gemel.mapping.tables import FileFormat, Mapping, TimeColumn, TwinName, TwinRule, ValueColumn

__all__ = ["mapping_of", "rule_of", "saved"]


def rule_of(*values: ValueColumn, twin: str = "t", model: str | None = None, **constants: Any) -> TwinRule:
    """Return a rule for one twin."""
    return TwinRule(TwinName(twin), model, values, constants)


def mapping_of(form: FileFormat, *rules: TwinRule, time: str = "at") -> Mapping:
    """Return a mapping with ISO times in UTC."""
    return Mapping("m.yaml", "src", form, TimeColumn(time, "iso", "UTC"), rules)


def saved(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
