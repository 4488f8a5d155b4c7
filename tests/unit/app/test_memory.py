"""What is freed is kept, where the C library can be told so."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from gemel.app.memory import SETTINGS, keep_freed_memory


def test_the_allocator_is_told_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda name, value: told.append((name, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()
    assert tuple(told) == SETTINGS


def test_a_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    keep_freed_memory()
