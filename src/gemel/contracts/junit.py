"""The outcome of a check as JUnit XML, which build servers show: a test for each promise."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gemel.contracts.checking import Checker, Finding, Rule, rules_of

__all__ = ["junit_report", "told"]

UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_report(checker: Checker, file: str) -> str:
    """Return the report of a check; `file` is what was checked."""
    rules = list(dict.fromkeys([*rules_of(checker.contract), *checker.findings]))
    name = f"contract {checker.contract.label}"
    suites = Element("testsuites", name=_clean(name))
    counts = {"tests": str(len(rules)), "failures": str(len(checker.findings)), "errors": "0", "skipped": "0"}
    suite = SubElement(suites, "testsuite", {"name": _clean(name)} | counts)
    properties = SubElement(suite, "properties")
    for key, value in {"file": file, "samples": str(checker.samples)}.items():
        SubElement(properties, "property", name=key, value=_clean(value))
    for rule in rules:
        title = rule.field or checker.contract.name
        case = SubElement(suite, "testcase", classname=_clean(title), name=rule.kind)
        finding = checker.findings.get(rule)
        if finding is not None:
            failure = SubElement(case, "failure", type=rule.kind, message=_clean(told(rule, finding)))
            failure.text = _clean("\n".join(f"sample {number}: {what}" for number, what in finding.examples))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def told(rule: Rule, finding: Finding) -> str:
    """Return a finding as one line."""
    where = f"{rule.field}: " if rule.field else ""
    number, what = finding.examples[0]
    times = f"{finding.count} sample{'' if finding.count == 1 else 's'}"
    return f"{where}{rule.kind}, {times}, first {number}: {what}"


def _clean(text: str) -> str:
    return UNPRINTABLE.sub("\ufffd", text)
