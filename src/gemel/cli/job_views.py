"""What commands print of a job."""

from __future__ import annotations

from typing import Any

from gemel.cli import output

__all__ = ["OVER", "print_job"]

OVER = frozenset({"succeeded", "failed", "cancelled"})


def print_job(job: dict[str, Any]) -> None:
    """Print a job: how it stands, its counts, and the first of the lines that were not taken."""
    rows = [("status", job["status"]), ("created", job["created"]), ("finished", job["finished"])]
    if job["status"] not in OVER and job["section"]:
        rows.append(("at", f"{job['section']}, line {job['line']:,}"))
    rows += [(name, f"{number:,}") for name, number in sorted(job["counts"].items())]
    if job["problemCount"]:
        rows.append(("not taken", f"{job['problemCount']:,}"))
    if job["error"]:
        rows.append(("error", f"{job['error']['message']} [{job['error']['code']}]"))
    output.print_table((job["kind"], job["id"]), rows)
    if job["problems"]:
        problems = [(_said(each), each["code"]) for each in job["problems"]]
        output.print_table(("line", "code"), problems, title=f"the first of {job['problemCount']:,}")
        output.note(f"All of them: `gemel jobs log {job['id']}`.")


def _said(problem: dict[str, Any]) -> str:
    details = problem.get("details") or []
    return " ".join([problem["message"], *(each["message"] for each in details[:1])])
