"""Errors tell where they are: document, line, column, and how to mend what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from gemel.models import ModelError, ModelParsingError, parse
from gemel.models.positions import Position, TextMap

TEXT = """\
[
  { "@context": "dtmi:dtdl:context;3", "@id": "dtmi:test:A;1", "@type": "Interface" },
  {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:B;1",
    "@type": "Interface",
    "contents": [
      { "@type": "Property", "name": "x",
        "schema": "dubble" },
      { "@type": ["Telemetry", "Nonsense"], "name": "y", "schema": "double" }
    ]
  }
]
"""
INTERFACE = {"@context": "dtmi:dtdl:context;3", "@type": "Interface"}


def errors_of(*documents: object) -> tuple[ModelError, ...]:
    with pytest.raises(ModelParsingError) as caught:
        parse(documents)
    return caught.value.errors


def test_a_text_keeps_its_lines() -> None:
    schema, *_, kind = errors_of({**INTERFACE, "@id": "dtmi:test:C;1"}, TEXT)
    assert (schema.code, schema.value) == ("dtmi:dtdl:parsingError:badDtmiOrTerm", "dubble")
    assert schema.primary_id == "dtmi:test:B:_contents:__x;1"
    assert (schema.document, schema.line, schema.column, schema.width) == (1, 9, 19, 8)
    assert kind.code == "dtmi:dtdl:parsingError:typeUndefinedTerm"
    assert (kind.document, kind.line, kind.column, kind.width) == (1, 10, 32, 10)


def test_bytes_with_a_byte_order_mark_are_a_text() -> None:
    first, *_ = errors_of(b"\xef\xbb\xbf" + TEXT.encode())
    assert (first.document, first.line, first.column) == (0, 9, 19)


def test_a_decoded_document_counts_as_written_with_two_spaces() -> None:
    documents = json.loads(TEXT)
    schema, *_ = errors_of(*documents)
    line = json.dumps(documents[1], indent=2).splitlines()[(schema.line or 0) - 1]
    assert schema.document == 1
    assert line.strip() == '"schema": "dubble"'
    assert line[(schema.column or 0) - 1 :].startswith('"dubble"')


def test_every_error_says_how_to_mend_it() -> None:
    for error in errors_of(TEXT):
        assert error.hint
        assert error.message.endswith(error.hint)
        assert error.hint != error.message


@pytest.mark.parametrize(
    ("text", "line"), [('{\n  "a": 1,\n}', 3), ("", 1), ('[\n1,\n\n"\n', 4), ("{}\n[]", 2), ("\n[NaN]", None)]
)
def test_what_is_not_json_is_placed_too(text: str, line: int | None) -> None:
    (error,) = errors_of(text)
    assert error.code == "dtmi:dtdl:parsingError:invalidJson"
    assert (error.document, error.line) == (0, line)


def test_bytes_that_are_not_utf8_and_endless_nesting_are_not_json() -> None:
    for document in (b"\xff\xfe", "[" * 200_000):
        (error,) = errors_of(document)
        assert error.code == "dtmi:dtdl:parsingError:invalidJson"
        assert error.document == 0


def test_a_second_definition_is_the_one_at_fault() -> None:
    text = '{"@context": "dtmi:dtdl:context;3", "@id": "dtmi:test:A;1", "@type": "Interface"}'
    (error,) = errors_of(f"[{text},\n {text}]")
    assert error.code == "dtmi:dtdl:parsingError:duplicateDefinition"
    assert (error.line, error.column) == (2, 2)


def test_the_last_of_those_that_must_differ_is_at_fault() -> None:
    text = json.dumps(
        {
            **INTERFACE,
            "@id": "dtmi:test:A;1",
            "contents": [{"@type": "Property", "name": "x", "schema": "double"}] * 2,
        },
        indent=1,
    )
    (error,) = errors_of(text)
    assert error.code == "dtmi:dtdl:parsingError:nonUniquePropertyValue"
    assert error.line == [i + 1 for i, line in enumerate(text.splitlines()) if '"name"' in line][-1]


def test_positions_are_those_of_the_text() -> None:
    text = '{"a\\"b": [1, {"c": "}]"}],\n "d": {}}'
    decoded = json.loads(text)
    text_map = TextMap(text, decoded)
    inner = text_map.node_of(decoded['a"b'][1])
    assert inner is not None
    assert text[inner.start : inner.end] == '{"c": "}]"}'
    empty = text_map.node_of(decoded["d"])
    assert empty is not None
    assert text_map.position(empty.start, empty.end) == Position(2, 7, 2)
    assert text_map.node_of({}) is None


def interface(name: str, *bases: str) -> dict[str, object]:
    return {**INTERFACE, "@id": f"dtmi:test:{name};1", "extends": [f"dtmi:test:{base};1" for base in bases]}


def test_what_is_missing_is_asked_for_once() -> None:
    library = {"dtmi:test:B;1": interface("B", "C"), "dtmi:test:C;1": interface("C")}
    asked: list[list[str]] = []

    def resolve(wanted: Sequence[str]) -> list[object]:
        asked.append(list(wanted))
        return [json.dumps(library[each]) for each in wanted if each in library]

    models = parse([interface("A", "B")], resolve=resolve)
    assert asked == [["dtmi:test:B;1"], ["dtmi:test:C;1"]]
    assert models.dependencies("dtmi:test:A;1") == {"dtmi:test:B;1", "dtmi:test:C;1"}


def test_what_nobody_has_is_an_error_of_the_one_that_refers_to_it() -> None:
    def resolve(wanted: Sequence[str]) -> list[object] | None:
        return [interface("Other")] if wanted == ["dtmi:test:B;1"] else None

    with pytest.raises(ModelParsingError) as caught:
        parse([interface("A", "B")], resolve=resolve)
    (error,) = caught.value.errors
    assert error.code == "dtmi:dtdl:parsingError:undefinedReference"
    assert (error.primary_id, error.secondary_id) == ("dtmi:test:A;1", "dtmi:test:B;1")
    assert (error.document, error.line) == (0, 6)


def test_errors_in_what_a_resolver_gave_follow_the_given_documents() -> None:
    broken = {**interface("B"), "nonsense": 1}
    with pytest.raises(ModelParsingError) as caught:
        parse([interface("A", "B")], resolve=lambda _wanted: [broken])
    assert [error.document for error in caught.value.errors] == [1]


def test_null_is_named_as_such() -> None:
    (null,) = errors_of({**INTERFACE, "@id": "dtmi:test:N;1", "description": None})
    assert (null.code, null.property) == ("dtmi:dtdl:parsingError:propertyValueNull", "description")
    assert "'description' is null" in null.message
    (listed,) = errors_of({**INTERFACE, "@id": "dtmi:test:N;1", "extends": [None]})
    assert "'extends' holds null;" in listed.message


def test_what_may_not_stand_at_the_top_is_shown_by_its_id() -> None:
    fault, *_ = errors_of({**INTERFACE, "@type": "Property", "@id": "dtmi:test:P;1", "name": "p"})
    assert (fault.code, fault.value) == ("dtmi:dtdl:parsingError:typeNotRootable", "dtmi:test:P;1")
    assert (fault.line, fault.column) == (4, 10)


def test_a_sibling_that_is_named_is_the_value_of_its_error() -> None:
    content = [
        {"@type": "Command", "name": "stop"},
        {"@type": ["Property", "ValueAnnotation"], "name": "note", "annotates": "stop", "schema": "string"},
    ]
    context = ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:annotation;1"]
    (fault,) = errors_of({**INTERFACE, "@context": context, "@id": "dtmi:test:S;1", "contents": content})
    assert fault.code == "dtmi:dtdl:parsingError:notSiblingRequiredType"
    assert (fault.property, fault.value) == ("annotates", "stop")
