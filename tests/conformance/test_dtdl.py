"""The DTDL parser against the published parser cases, and against the examples of the language description.

A verdict is right when a model is accepted or refused as its case says. The codes of a refusal are right when
there is one and each is among those that the case lists. A list of several codes names alternatives:

- the three versions of a case share one list although their rules differ: of noTypeThatAllows and
  propertyIrrelevantDtmiOrTerm, v2 can only report the first, and v3 and v4 the second;
- pairs exclude each other: one bound is valueBelowMin or valueBelowRange;
- cases with one code forbid what others list beside it: an undefined type with a property of its own is
  typeUndefinedTerm alone in CommandGroupMemberWithoutAioContextV4, and has propertyUndefinedTerm beside it in
  CommandRequestWithAdjunctTypeOptionalWithoutContextV4. Reporting every code of the second kind breaks the first;
- invalidId beside a code of layers is what a parser without layers reports: ours is one.

How often the codes are exactly those listed is counted and printed too.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gemel.models import ModelParsingError, ModelSet, Primitive, Schema, parse, parse_dtmi, validate_value
from gemel.models.linker import standard_element
from gemel.models.schema_builder import SchemaBuilder

CASES = Path(__file__).parents[3] / "shared" / "conformance" / "dtdl"
EXCEPTIONS: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("dtdl_exceptions.json").read_text("utf-8")
)
PRIMITIVE = "dtmi:dtdl:instance:Schema:"

Case = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="the cases are not here: ../shared/conformance/dtdl"
)


@cache
def read_cases(name: str) -> list[Case]:
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()]


def parse_case(case: Case) -> ModelSet:
    """Parse the input of a case; its resolver answers what the case says, and to nothing else."""
    options = case["options"]
    allow = "AllowUndefinedExtensions" in options or None
    steps = {frozenset(step["request"]): step["response"] for step in case.get("resolution", ())}
    return parse(
        list(case["input"]),
        resolve=(lambda wanted: steps[frozenset(wanted)]) if steps else None,
        allow_undefined_extensions=False if "DisallowUndefinedExtensions" in options else allow,
        max_dtdl_version=case.get("maxDtdlVersion", 4),
        acceptable_limits=case.get("acceptableLimits", ()),
    )


def errors_of(case: Case) -> list[str]:
    try:
        parse_case(case)
    except ModelParsingError as error:
        return [each.code for each in error.errors]
    return []


def version_of(case: Case) -> str:
    return str(case["name"])[-2:]


@pytest.mark.parametrize("name", ["generated", "doc-examples"])
def test_models(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    wrong_verdicts: list[str] = []
    wrong_codes: set[str] = set()
    cases = read_cases(name)
    for case in cases:
        version = version_of(case)
        found = errors_of(case)
        expected = [each["ValidationID"] for each in case.get("expect", {}).get("parsingErrors", ())]
        counts[version, "cases"] += 1
        if (not found) == case["valid"]:
            counts[version, "verdict right"] += 1
        else:
            wrong_verdicts.append(f"{case['name']}: expected {expected or 'no error'}, got {found or 'none'}")
        if not expected:
            continue
        counts[version, "with codes"] += 1
        counts[version, "codes exactly as listed"] += set(found) == set(expected)
        if len(set(expected)) == 1:
            counts[version, "with one code"] += 1
            counts[version, "with one code and exact"] += set(found) == set(expected)
        if found and set(found) <= set(expected):
            counts[version, "codes right"] += 1
        else:
            wrong_codes.add(case["name"])
    with capsys.disabled():
        print(f"\nDTDL {name}: " + "; ".join(f"{v} {what} {n}" for (v, what), n in sorted(counts.items())))
    assert wrong_verdicts == []
    total = sum(number for (_, what), number in counts.items() if what == "with codes")
    right = sum(number for (_, what), number in counts.items() if what == "codes right")
    assert right >= 0.98 * total
    assert wrong_codes == {each["name"] for each in cases} & set(EXCEPTIONS["codes"])


def test_instances(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case for case in read_cases("generated") if case.get("instances")]
    wrong: dict[str, list[str]] = {}
    count = 0
    for case in cases:
        models = parse_case(case)
        for instance in case["instances"]:
            count += 1
            schema = schema_of(models, instance["subject"])
            if instance.get("throws"):
                assert schema is None, f"{case['name']}: {instance['subject']} is a schema"
            elif schema is None or conforms(schema, instance["submit"]) != instance["conforms"]:
                wrong.setdefault(case["name"], []).append(instance["submit"])
    with capsys.disabled():
        print(f"\nDTDL instances: {len(cases)} cases, {count} values, cases with a wrong one {sorted(wrong)}")
    assert set(wrong) == set(EXCEPTIONS["instances"]), wrong
    assert all(submitted == ["-0"] for submitted in wrong.values())


def schema_of(models: ModelSet, subject: str) -> Schema | None:
    """The schema that a case speaks of; None when it is another kind of element."""
    if subject.startswith(PRIMITIVE):
        return Primitive(subject[len(PRIMITIVE) :].partition(";")[0])
    element = models.elements.get(subject) or standard_element(subject)
    assert element is not None, subject
    return SchemaBuilder().build(element) if "Schema" in element.rule.ancestors else None


def conforms(schema: Schema, text: str) -> bool:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return False
    return validate_value(schema, value) is None


def test_identifiers() -> None:
    for case in read_cases("dtmis"):
        found = parse_dtmi(case["idText"])
        assert (found is not None) == case["valid"], case["name"]
        if found is not None:
            expected = case["expect"]
            assert found.major == expected["MajorVersion"], case["name"]
            assert found.minor == expected["MinorVersion"], case["name"]
            assert found.versionless == expected["Versionless"], case["name"]
            assert list(found.labels) == expected["Labels"], case["name"]
            assert found.reserved == expected["IsReserved"], case["name"]
            assert found.fragment == expected["Fragment"], case["name"]
