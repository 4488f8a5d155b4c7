from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gemel.base.errors import InvalidError
from gemel.observe.logs import configure_logs, get_log
from gemel.observe.redact import redact, redact_text
from gemel.observe.trace import current_trace, new_trace

SECRET = "Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmE"
TOKEN = f"gk_1z_abcdefgh_{SECRET}"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs("info", stream, as_json=True)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_entry_is_one_json_line_with_the_trace(stream: io.StringIO) -> None:
    trace = new_trace()
    token = current_trace.set(trace)
    get_log("gemel.test").info("twin put", twin="p1", count=2)
    current_trace.reset(token)
    entry = json.loads(stream.getvalue())
    assert entry["event"] == "twin put"
    assert (entry["twin"], entry["count"], entry["level"]) == ("p1", 2, "info")
    assert entry["trace_id"] == trace.trace_id


def test_no_secret_gets_out_by_any_way(stream: io.StringIO) -> None:
    log = get_log("gemel.test")
    log.info(f"with {TOKEN}", header=f"Bearer {TOKEN}", headers={"Authorization": f"Basic {SECRET}"})
    log.info("more", token=SECRET, nested=[{"password": SECRET}, (f"Bearer {SECRET}",)], raw=SECRET.encode())
    log.info("url", dsn=f"postgresql://gemel:{SECRET}@db/gemel", text=f"host=db password={SECRET}")
    logging.getLogger("uvicorn.error").warning("got %s", TOKEN)
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("failed")
        logging.getLogger("library").exception("failed")
    text = stream.getvalue()
    assert len(text.splitlines()) == 6
    assert SECRET not in text
    assert "gk_1z_abcdefgh_[redacted]" in text
    assert "ValueError" in text


def test_entries_below_the_level_are_left_out(stream: io.StringIO) -> None:
    get_log("gemel.test").debug("no")
    logging.getLogger("x").debug("no")
    assert stream.getvalue() == ""


def test_columns_for_a_terminal_hide_secrets_too() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs("debug", stream, as_json=False)
    get_log("gemel.test").debug("plain", header=f"Bearer {TOKEN}")
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    assert "plain" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(InvalidError, match="loud"):
        configure_logs("loud")


def test_what_is_no_secret_stays() -> None:
    assert redact_text("the bearer of news, twin gk_1 and https://host:80/a@b") == (
        "the bearer [redacted] news, twin gk_1 and https://host:80/a@b"
    )
    assert redact({"a": 1, "b": [1.5, None, True, "x"]}) == {"a": 1, "b": [1.5, None, True, "x"]}
