"""`gemel contract`: what a producer promises about its data, and whether samples keep it; without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemel.base.clock import now_us
from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.exits import Exit

if TYPE_CHECKING:
    from gemel.contracts.checking import Checker

__all__ = ["app"]

app = group("contract", "Contracts: what a producer promises about its data, and whether samples keep it.")

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.", rich_help_panel="Shared options")]


@command(
    app,
    "check",
    ("gemel contract check samples.ndjson --contract meters.yaml", "says which promises are not kept"),
    ("gemel contract check day.csv --contract meters.yaml --junit report.xml", "for a build server"),
)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Samples: JSON, JSON lines, CSV or Parquet.")],
    contract: Annotated[Path, typer.Option("--contract", metavar="CONTRACT", help="The contract, in YAML.")],
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="REPORT", help="Write a JUnit report there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check samples against a contract. Exit code 4 where a promise is not kept."""
    from gemel.contracts.checking import Checker
    from gemel.contracts.document import load_contract
    from gemel.contracts.junit import junit_report
    from gemel.contracts.reading import check_file

    checker = Checker(load_contract(contract), now_us())
    check_file(checker, file)
    if junit is not None:
        _write(junit, junit_report(checker, str(file)))
    if as_json:
        output.print_json(_json_of(checker))
    else:
        _print(checker)
    if not checker.kept:
        raise typer.Exit(Exit.PARTLY)


@command(
    app,
    "diff",
    ("gemel contract diff meters-1.0.yaml meters.yaml", "what changed, and which version that needs"),
)
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The earlier contract.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The later one.")],
    as_json: Json = False,
) -> None:
    """Say what changed between two contracts, and what breaks. Exit code 1 where the new one's version is too low."""
    from gemel.contracts.document import load_contract
    from gemel.contracts.versions import compare, needed_version

    before, after = load_contract(old), load_contract(new)
    changes = compare(before, after)
    needed = needed_version(before, changes)
    good = after.version >= needed
    if as_json:
        listed = [{"where": each.where, "what": each.what, "breaking": each.breaking} for each in changes]
        told = {"changes": listed, "version": str(after.version), "neededVersion": str(needed), "good": good}
        output.print_json(told)
    else:
        rows = [(each.where, each.what, "breaks" if each.breaking else "compatible") for each in changes]
        output.print_table(("where", "change", "is"), rows)
        verdict = "does" if good else f"needs {needed} at least"
        output.note(f"{after.label} after {before.label}: the version {verdict}.")
    if not good:
        raise typer.Exit(Exit.FAILED)


def _print(checker: Checker) -> None:
    rows = [
        (rule.field, rule.kind, finding.count, *finding.examples[0])
        for rule, finding in checker.findings.items()
    ]
    if rows:
        output.print_table(("field", "finding", "count", "first sample", "what was there"), rows)
    if checker.unnamed and checker.contract.others:
        output.note(f"Not in the contract: {', '.join(sorted(checker.unnamed))}.")
    kept = "all promises kept" if checker.kept else f"{len(rows)} promises not kept"
    output.note(f"{checker.samples} samples against {checker.contract.label}: {kept}.")


def _json_of(checker: Checker) -> dict[str, Any]:
    return {
        "contract": checker.contract.name,
        "version": str(checker.contract.version),
        "samples": checker.samples,
        "kept": checker.kept,
        "findings": [
            {
                "field": rule.field or None,
                "finding": rule.kind,
                "count": finding.count,
                "examples": [{"sample": number, "what": what} for number, what in finding.examples],
            }
            for rule, finding in checker.findings.items()
        ],
        "unnamed": checker.unnamed,
    }


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        message = f"The report {file} cannot be written: {error.strerror or error}."
        raise InvalidError("FileUnreadable", message, "Check the path and its rights.") from error
