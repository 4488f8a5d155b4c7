"""The documents: what is made from the code is up to date, what is named exists, what exists is named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gemel.cli import app
from support.source_tree import ROOT, offences
from tools.docs import PAGES

LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
FENCE = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:gemel|make) [^`]+)`")
WORD = re.compile(r"[a-z][a-z-]*\Z")
SHARED = {"--url", "--key", "--data", "--json"}
"""Options of so many commands that a page of commands tells of them once."""


@pytest.mark.parametrize("name", PAGES)
def test_pages_made_from_the_code_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == PAGES[name](), f"{name} is out of date: run `make docs`"


def test_every_command_and_option_is_documented() -> None:
    sections, found = _sections(), []
    for names, command in _commands(get_command(app)):
        line = " ".join(("gemel", *names))
        if line not in sections:
            found.append(f"docs/cli.md: has no section `### {line}`")
        found += [
            f"docs/cli.md: does not tell of {option} of `{line}`"
            for parameter in command.params
            for option in parameter.opts[:1]
            if option.startswith("--") and option not in SHARED and f"`{option}" not in sections.get(line, "")
        ]
    offences(found)


def test_no_command_is_documented_that_does_not_exist() -> None:
    known = {" ".join(("gemel", *names)) for names, _ in _commands(get_command(app))}
    found = [f"docs/cli.md: no such command: {line}" for line in _sections() if line not in known]
    offences(found)


def test_commands_that_documents_show_exist() -> None:
    known = dict(_commands(get_command(app), groups=True))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    found = []
    for path in _documents():
        for line in _shown(path.read_text("utf-8")):
            if line.startswith("make "):
                words = [word for word in line.split("#", maxsplit=1)[0].split()[1:] if WORD.match(word)]
                found += [
                    f"{path.name}: no such target: make {word}" for word in words if word not in targets
                ]
            elif line.startswith("gemel "):
                found += [f"{path.name}: {fault}: {line}" for fault in _faults(line, known)]
    offences(found)


def test_links_lead_somewhere() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {target} is not there"
        for path in _documents()
        for target in LINK.findall(path.read_text("utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    offences(found)


def test_every_document_is_reachable_from_the_readme() -> None:
    seen, pending = set(), [ROOT / "README.md"]
    while pending:
        path = pending.pop()
        seen.add(path)
        for target in LINK.findall(path.read_text("utf-8")):
            to = (path.parent / target).resolve()
            if to.suffix == ".md" and to.exists() and to not in seen:
                pending.append(to)
    offences([f"{path.relative_to(ROOT)}: no page leads here" for path in _documents() if path not in seen])


def _sections() -> dict[str, str]:
    """Return what docs/cli.md says of each command, by its heading."""
    _, *parts = re.split(r"^### ", (ROOT / "docs/cli.md").read_text("utf-8"), flags=re.MULTILINE)
    return {
        head: re.split(r"^## ", body, flags=re.MULTILINE)[0]
        for head, body in (part.split("\n", 1) for part in parts)
    }


def _documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def _commands(
    command: Any, names: tuple[str, ...] = (), *, groups: bool = False
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command by its words; its groups too where they are asked for."""
    below = getattr(command, "commands", None)
    if below is None or groups:
        yield names, command
    for name, child in (below or {}).items():
        yield from _commands(child, (*names, name), groups=groups)


def _shown(text: str) -> Iterator[str]:
    """Yield the command lines of a page: those of its shell blocks, and those in the running text."""
    for block in FENCE.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield re.sub(r"^(\$ )?(\.venv/bin/)?", "", line.strip())
    yield from INLINE.findall(FENCE.sub("", text))


def _faults(line: str, known: dict[tuple[str, ...], Any]) -> Iterator[str]:
    """Say what of a `gemel` line does not exist: the command, or one of its options."""
    words = shlex.split(re.split(r" [|#]", line, maxsplit=1)[0])[1:]
    names: tuple[str, ...] = ()
    while words and (*names, words[0]) in known:
        names = (*names, words.pop(0))
    if getattr(known[names], "commands", None) is not None and words and WORD.match(words[0]):
        yield f"no such command {words[0]!r}"
        return
    options = {
        option for parameter in known[names].params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and option not in {*options, "--help"}:
            yield f"no such option {option}"
