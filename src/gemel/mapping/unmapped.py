"""What does not fit its mapping, as it waits in quarantine: the message, with the rule that it broke."""

from __future__ import annotations

from typing import Any

import msgspec

from gemel.ingest.events import UNMAPPED
from gemel.mapping.scene import Message

__all__ = ["Unmapped", "pack", "unpack"]


class Unmapped(msgspec.Struct, omit_defaults=True):
    """A message, or one item of it, of which rule number `rule` of `mapping` made no event.

    With `contract` it was not given to the mapping, since it does not keep that: `code` and `place` say how.

    It looks like a CloudEvent, so that it is listed by source and id. The payload is `data`, or where that is no
    JSON `text`, or where that is no UTF-8 `data_base64`. With `index` its list holds that item alone. Without
    `rule` it stands for the whole message. When it was received is not part of it: the same message, sent again, is
    the same bytes, and quarantine has it once, with the time when it first came.
    """

    specversion: str
    type: str
    id: str
    source: str
    problem: str
    mapping: str
    contract: str | None = None
    code: str | None = None
    place: str | None = None
    rule: int | None = None
    index: int | None = None
    message: str | None = None
    topic: str | None = None
    key: str | None = None
    headers: dict[str, str] = {}
    sent_us: int | None = None
    data: Any = msgspec.UNSET
    text: str | None = None
    data_base64: bytes | None = None


def pack(unmapped: Unmapped, payload: Any) -> bytes:
    """Return the bytes of what waits, with its payload: bytes as they came, or JSON values."""
    if not isinstance(payload, bytes):
        unmapped.data = payload
    else:
        try:
            msgspec.json.decode(payload)
            unmapped.data = msgspec.Raw(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                unmapped.text = payload.decode()
            except UnicodeDecodeError:
                unmapped.data_base64 = payload
    return msgspec.json.encode(unmapped)


def unpack(raw: bytes, received_us: int) -> tuple[Unmapped, Message] | None:
    """Return what waits since `received_us` and the message that it is of, or None for the bytes of anything else."""
    try:
        found = msgspec.json.decode(raw, type=Unmapped)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.type != UNMAPPED:
        return None
    payload = found.data_base64 if found.text is None else found.text.encode()
    if payload is None:
        payload = msgspec.json.encode(found.data)
    message = Message(
        payload, received_us, found.message, found.topic, found.key, found.headers, found.sent_us
    )
    return found, message
