"""One CloudEvent whose attributes are headers and whose data is the body, as good as the same one in JSON.

Source: CloudEvents 1.0.2, HTTP protocol binding, 3.1 (binary content mode).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from gemel.base.errors import Detail, InvalidError
from gemel.ingest.events import SINGLE, Decoded, decode_event, decode_loose

__all__ = ["attributes_of", "decode_binary"]

PREFIX: Final = "ce-"
REQUIRED: Final = ("specversion", "id", "source", "type")
STRUCTURED: Final = "application/cloudevents"
"""How the media types of events begin that have all of themselves in the body, whatever headers say."""
JSON_TYPE: Final = re.compile(r"|[a-z]+/([^/ ]+\+)?json")
WHOLE: Final = re.compile(r"-?\d{1,10}")


def attributes_of(headers: Iterable[tuple[str, str]], media_type: str) -> dict[str, Any] | None:
    """Return the attributes of an event in binary content mode, by name; None where a request is not in that mode.

    It is where a header names an attribute that every event has. `headers` are names in lower case and values in
    latin-1. Raises InvalidError: MissingArgument where another of those is absent, InvalidArgument for a value that
    is not UTF-8, percent-encoded, or stands there twice, MediaTypeUnsupported for data that is not JSON.
    """
    given = [(name.removeprefix(PREFIX), value) for name, value in headers if name.startswith(PREFIX)]
    if media_type.startswith(STRUCTURED) or not any(name in REQUIRED for name, _ in given):
        return None
    found: dict[str, Any] = {}
    for name, value in given:
        if name in found:
            raise InvalidError("InvalidArgument", f"The header {PREFIX}{name[:80]} stands there twice.")
        found[name] = _text(name, value)
    missing = ", ".join(f"{PREFIX}{name}" for name in REQUIRED if not found.get(name))
    if missing:
        hint = f"Send all of {', '.join(PREFIX + name for name in REQUIRED)}; or the whole event in the body."
        raise InvalidError("MissingArgument", f"An event in binary mode lacks {missing}.", hint)
    if JSON_TYPE.fullmatch(media_type) is None:
        hint = f"Send JSON as application/json; events in the body go without headers {PREFIX}…."
        raise InvalidError("MediaTypeUnsupported", f"Data of content type {media_type!r} is not taken.", hint)
    revision = found.get("revision")
    if revision is not None and WHOLE.fullmatch(revision):
        found["revision"] = int(revision)
    return found | ({"datacontenttype": media_type} if media_type else {})


def decode_binary(body: bytes, attributes: Mapping[str, Any]) -> Decoded:
    """Return the event of attributes and a body that is its data; in quarantine it stands as one of JSON."""
    members = {name: value for name, value in attributes.items() if name not in ("data", "data_base64")}
    head = msgspec.json.encode(members)[:-1]
    if not body.strip():
        raw = head + b"}"
        return Decoded([decode_event(raw)], raw, SINGLE)
    try:
        decode_loose(body)
    except (ValueError, RecursionError) as error:
        raw = head + b"," + _kept(body) + b"}"
        problem = "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON: {error}"
        return Decoded(
            [Detail("EventMalformed", f"The event's data {problem}.", "/data")], raw, SINGLE, [raw]
        )
    raw = head + b',"data":' + body.strip() + b"}"
    return Decoded([decode_event(raw)], raw, SINGLE)


def _kept(body: bytes) -> bytes:
    """Return data that is no JSON as a member of the event, from which its bytes can be had again."""
    try:
        return b'"data":' + msgspec.json.encode(body.decode())
    except UnicodeDecodeError:
        return b'"data_base64":' + msgspec.json.encode(base64.b64encode(body).decode())


def _text(name: str, value: str) -> str:
    """Return the text of a header, which may be in quotes as older senders have it, decoded once."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeDecodeError as error:
        hint = "Write its UTF-8 percent-encoded."
        raise InvalidError(
            "InvalidArgument", f"The header {PREFIX}{name[:80]} is not UTF-8.", hint
        ) from error
