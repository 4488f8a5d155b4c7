"""Bodies of every media type that is taken: how to decode each, and how much room it takes meanwhile."""

from __future__ import annotations

from gemel.base.errors import InvalidError, TooLargeError
from gemel.ingest.arrow import ARROW, decode_arrow
from gemel.ingest.arrow_framing import measure
from gemel.ingest.events import MEDIA_TYPES, Decoded, decode_body
from gemel.ingest.framing import VALUES_MAX, count_values

__all__ = ["decode_any", "weigh_any", "weigh_json"]

VALUE_BYTES = 10
"""What a value counts for at least, in bytes of a body; VALUES_MAX of them fill the room."""


def decode_any(body: bytes, media_type: str) -> Decoded:
    """Decode a request body.

    Raises as `decode_body` and `decode_arrow` do, and InvalidError (MediaTypeUnsupported) for another media type.
    """
    if media_type == ARROW:
        return decode_arrow(body)
    if media_type not in MEDIA_TYPES:
        raise InvalidError(
            "MediaTypeUnsupported",
            f"Content type {media_type!r} is not taken.",
            f"Send one of {', '.join((*MEDIA_TYPES, ARROW))}.",
        )
    return decode_body(body, media_type)


def weigh_any(body: bytes, media_type: str) -> int:
    """Return how much room a body takes; raise as `weigh_json` and `measure` do."""
    if media_type != ARROW:
        return weigh_json(body)
    size = measure(body)
    return max(size.unpacked, VALUE_BYTES * size.cells)


def weigh_json(body: bytes) -> int:
    """Return how much room a body of JSON takes. Raises TooLargeError (BodyTooLarge) beyond VALUES_MAX values."""
    values = count_values(body)
    if values > VALUES_MAX:
        raise TooLargeError("BodyTooLarge", f"The body has more than {VALUES_MAX} values.", "Split it.")
    return max(len(body), VALUE_BYTES * values)
