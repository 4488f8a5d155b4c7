"""The headers that tell of a deprecated model: Deprecation (RFC 9745), Sunset (RFC 8594) and its successor."""

from __future__ import annotations

from email.utils import format_datetime
from urllib.parse import quote

from gemel.base.clock import from_us, now_us
from gemel.graph.model_story import Deprecation

__all__ = ["deprecation_headers"]

US_PER_S = 1_000_000


def deprecation_headers(deprecation: Deprecation | None) -> dict[str, str]:
    """Return the headers of an answer about a twin of a model; none before the model is deprecated."""
    if deprecation is None or deprecation.from_us > now_us():
        return {}
    headers = {"Deprecation": f"@{deprecation.from_us // US_PER_S}"}
    if deprecation.removal_us is not None:
        headers["Sunset"] = format_datetime(from_us(deprecation.removal_us), usegmt=True)
    if deprecation.successor is not None:
        headers["Link"] = f'</models/{quote(deprecation.successor)}>; rel="successor-version"'
    return headers
