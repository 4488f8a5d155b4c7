"""How timelines, explanations and differences look in a terminal: green came, red went, yellow changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.text import Text

from gemel.cli import output

__all__ = ["print_differences", "print_explained", "print_timeline"]

MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
ENDS = {"created": "green", "deleted": "red", "removed": "red"}
LABEL_WIDTH = 12


def print_timeline(entries: list[dict[str, Any]]) -> None:
    """Print what happened, an entry a line; values that lost stand below the one that won."""
    rows = [row for entry in entries for row in _entry_rows(entry)]
    if not rows:
        output.note("Nothing happened there.")
        return
    output.print_table(("time", "what", "was", "is", "how", "by", "note"), rows)


def print_explained(values: list[dict[str, Any]]) -> None:
    """Print each value with what explains it, a line for each."""
    console = output.console()
    for index, value in enumerate(values):
        if index:
            console.print()
        unit = f" {value['unit']}" if value["unit"] else ""
        shown = "removed" if value["removed"] else f"{output.cell(value['value'])}{unit}"
        console.print(
            Text.assemble((value["path"], "bold"), " = ", (output.plain(shown), "bold green")), soft_wrap=True
        )
        for label, text in _explained_lines(value):
            console.print(
                Text.assemble((f"  {label:<{LABEL_WIDTH}}", "dim"), output.plain(text)), soft_wrap=True
            )


def print_differences(items: list[dict[str, Any]]) -> None:
    """Print what came, went and changed, a path a line."""
    if not items:
        output.note("Nothing differs.")
        return
    rows = [row for item in items for row in _difference_rows(item)]
    output.print_table(("", "twin", "what", "was", "is"), rows)


def _entry_rows(entry: dict[str, Any]) -> Iterator[Sequence[Any]]:
    kind = entry["what"].rpartition(".")[2]
    style = ENDS.get(kind, "")
    shown = SHOWN.get(entry["what"].partition(".")[0], output.cell)
    yield (
        entry["time"].replace(".000000Z", "Z"),
        Text(_what(entry), style),
        Text(shown(entry["before"]), "red" if entry["after"] is None else ""),
        Text(shown(entry["after"]), "green"),
        *_how_and_by(entry["cause"]),
        _note(entry),
    )
    for lost in entry.get("superseded", ()):
        beaten = "removal" if lost["removed"] else output.cell(lost["value"])
        yield "", Text("  won against", "dim"), Text(beaten, "dim"), "", *_how_and_by(lost["cause"]), ""


def _what(entry: dict[str, Any]) -> str:
    if "path" in entry:
        return str(entry["path"])
    if "relationship" in entry:
        incoming = f" of {entry['source']}" if entry["direction"] == "incoming" else ""
        return f"{entry['what']} {entry['relationship']}{incoming}"
    return str(entry["what"])


def _standing(value: dict[str, Any] | None) -> str:
    """Return a twin's model and lifecycle, or which of them are told of."""
    return ", ".join(map(str, (value or {}).values()))


def _link(value: dict[str, Any] | None) -> str:
    """Return a relationship's name and target, and its properties if it has any."""
    if value is None:
        return ""
    properties = {name: held for name, held in value.items() if not name.startswith("$")}
    more = f" {output.cell(properties)}" if properties else ""
    return f"{value['$relationshipName']} → {value['$targetId']}{more}"


SHOWN: dict[str, Callable[[Any], str]] = {"twin": _standing, "relationship": _link}
"""How what was and what is are shown, by what an entry is of; values are shown as they are."""


def _how_and_by(cause: dict[str, Any] | None) -> tuple[str, str]:
    if cause is None:
        return "not kept", ""
    event = cause["event"]
    return (_named(event) if event else cause["action"]), cause["actor"]


def _named(event: dict[str, Any]) -> str:
    """Return an event's id and source; the ids of `gemel ingest` start with their source."""
    is_told = event["id"].startswith(f"{event['source']}:")
    return str(event["id"]) if is_told else f"{event['id']} of {event['source']}"


def _note(entry: dict[str, Any]) -> str:
    notes = [
        *(["late"] if entry.get("late") else []),
        *(["corrected"] if entry.get("superseded") else []),
        *([entry["quality"]] if entry.get("quality", "good") != "good" else []),
        *([entry["reason"]] if entry.get("reason") else []),
    ]
    return ", ".join(notes)


def _explained_lines(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "so at", value["sourceTime"]
    late = ", late" if value["late"] else ""
    yield "recorded", f"{value['recorded']}{late}"
    if value["quality"] != "good" or value["revision"]:
        yield "quality", f"{value['quality']}, revision {value['revision']}"
    yield from _cause_lines(value["cause"])
    for rule in value["rules"]:
        yield "rule", f"{rule['text']} ({rule['rule']})"
    for lost in value["superseded"]:
        how, by = _how_and_by(lost["cause"])
        shown = "a removal" if lost["removed"] else output.cell(lost["value"])
        told = f"{shown}, revision {lost['revision']}, recorded {lost['recorded']}: {how}"
        yield "won against", f"{told} by {by}" if by else told
    if value["beforeTime"]:
        yield "before", f"{output.cell(value['before']) or 'removed'}, of {value['beforeTime']}"


def _cause_lines(cause: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if cause is None:
        yield "cause", "not kept: written before origins were, or forgotten with its history"
        return
    event = cause["event"]
    if event:
        yield (
            "event",
            f"{event['id']} of {event['source']}, type {event['type']}, place {event['place']} of its request",
        )
        read = [event[name] for name in ("file", "readFrom", "position") if event[name]]
        if read:
            yield "read from", ", ".join(read)
        if event["mapping"]:
            yield "mapping", event["mapping"]
    key = f", key {cause['keyId']}" if cause["keyId"] else ""
    yield "request", f"{cause['action']} {cause['target']} by {cause['actor']}{key}, trace {cause['traceId']}"


def _difference_rows(item: dict[str, Any]) -> Iterator[Sequence[Any]]:
    mark, style = MARKS[item["change"]]
    before, after = item["before"], item["after"]
    if "relationship" in item:
        what = f"relationship {item['relationship']}"
        yield (
            Text(mark, style),
            Text(item["twin"], style),
            what,
            *_both(_link(before), _link(after)),
        )
        return
    shown = (_standing(before), _standing(after)) if before != after else ("", "")
    yield Text(mark, style), Text(item["twin"], style), "twin" if before != after else "", *_both(*shown)
    for each in item.get("values", ()):
        yield "", "", each["path"], *_both(output.cell(each["before"]), output.cell(each["after"]))


def _both(before: str, after: str) -> tuple[Text, Text]:
    return Text(before, "red"), Text(after, "green")
