"""Arrays that are sent as binary come out as they went in, beside what the driver's own lists give."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemel.store.columns import byteas, register, texts
from support.postgres import Dsns

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.none() | TEXT), blobs=st.lists(st.binary()))
def test_texts_and_byteas_arrive(database: Dsns, words: list[str | None], blobs: list[bytes]) -> None:
    with psycopg.connect(database.owner) as connection:
        register(connection)
        sql = "SELECT %s::text[], %s::text[], %s::bytea[], %s::bytea[]"
        row = connection.execute(sql, (texts(words), words, byteas(blobs), blobs)).fetchone()
    assert row == (words, words, blobs, blobs)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_is_no_text_for_the_database_is_refused(database: Dsns, text: str) -> None:
    with psycopg.connect(database.owner) as connection:
        register(connection)
        with pytest.raises((psycopg.DataError, UnicodeEncodeError)):
            connection.execute("SELECT %s::text[]", (texts([text]),))


def test_texts_are_cast_element_by_element(database: Dsns) -> None:
    with psycopg.connect(database.owner) as connection:
        register(connection)
        row = connection.execute("SELECT %s::text[]::jsonb[]", (texts(['{"a": 1}', None]),)).fetchone()
    assert row == ([{"a": 1}, None],)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", ["json", "jsonb"])
@given(value=JSON_VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_is_read_as_its_text_says(database: Dsns, binary: bool, kind: str, value: object) -> None:
    with psycopg.connect(database.owner) as connection:
        register(connection)
        cursor = connection.cursor(binary=binary)
        sql = f"SELECT value, value::text FROM (SELECT %s::{kind} AS value) AS v"
        read, text = cursor.execute(sql, (json.dumps(value),)).fetchone() or (None, "")
    assert repr(read) == repr(json.loads(text))


def test_a_number_beyond_doubles_is_read_from_json(database: Dsns) -> None:
    with psycopg.connect(database.owner) as connection:
        register(connection)
        row = connection.execute("SELECT '1e400'::json, '{\"a\": [1e400]}'::jsonb").fetchone()
    assert row == (float("inf"), {"a": [10**400]})
