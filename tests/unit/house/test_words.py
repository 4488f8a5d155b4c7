"""What no file of the project may hold: promises for later, and the paths of somebody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from support.source_tree import ROOT, offences

FOLDERS = ("src", "tests", "bench", "tools", "docs", ".ci")
TEXTS = {".py", ".sql", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".svg", ""}
FORBIDDEN = {
    "a promise in place of the work": re.compile(r"\b(TO" r"DO|FIX" r"ME|HA" r"CK)\b"),
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(ho" r"me|Us" r"ers|ro" r"ot|wo" r"rk)/\w"),
}


def test_no_forbidden_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:80]}"
        for path in _texts()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]
    offences(found)


def _texts() -> Iterator[Path]:
    for path in sorted(ROOT.iterdir()):
        # In a second work tree .git is a file, and holds a path.
        if path.is_file() and path.suffix in TEXTS and path.name not in {"LICENSE", ".git"}:
            yield path
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts:
                yield path
