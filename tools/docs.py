"""Write the pages of docs/ that are made from the code: `make docs`. A test holds them up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from litestar.handlers import HTTPRouteHandler

from gemel.api.application import HANDLERS
from gemel.api.failures import status_of
from gemel.api.routing import info_of
from gemel.base.codes import CODES
from gemel.base.errors import GemelError, InvalidError
from gemel.base.settings import SETTINGS

__all__ = ["PAGES", "api_page", "errors_page", "main", "settings_page"]

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made from the code by `make docs`; a change here is lost. -->"

ERRORS = """# Error codes

Whatever goes wrong, over HTTP, in the command line and in quarantine, has one of these codes. Codes are stable:
match them, not the messages. Over HTTP every answer of status 400 and above has the header `x-ms-error-code` and
this body; `details` is there where one request has several faults:

```json
{"error": {"code": "ValidationFailed", "message": "…", "details": [{"code": "WrongType", "message": "…"}]}}
```

Answers of status 429 and 503 carry `Retry-After` in seconds; nothing of the request was kept. Every answer carries
`traceresponse`, by which the log and the audit trail find it.

"""

SETTINGS_INTRO = """# Settings

Each setting is one environment variable. Options of a command (`--data`, `--url`, `--key`) win over them.

"""

API = """# HTTP API

What every route takes and gives stands on the server's own pages, `/openapi` and `/openapi.json`. This is the list:
who may call it (the scope that the key needs), and the name under which the audit trail keeps it.

- `Authorization: Bearer KEY` is needed wherever a scope stands. The tenant is the key's; another tenant's things are
  as if they were not there (404).
- The graph's routes have the paths, bodies, headers and codes of the Azure Digital Twins data plane. `api-version` is
  optional there; 2020-10-31 to 2023-10-31 are served.
- Bodies are limited by `GEMEL_BODY_BYTES_MAX` (413 beyond), and all bodies in work by `GEMEL_IN_FLIGHT_BYTES_MAX`
  (429 with `Retry-After` beyond). Errors are described in [errors.md](errors.md).
- `traceparent` is taken up, and `traceresponse` given.

"""


def errors_page() -> str:
    """Return docs/errors.md, from the codes and the statuses of the error classes."""
    codes = [(f"`{name}`", code.meaning, code.remedy) for name, code in CODES.items()]
    classes = sorted(
        ((status_of(kind("", "")), kind) for kind in GemelError.__subclasses__()), key=lambda pair: pair[0]
    )
    kinds = [(f"`{kind.__name__}`", str(status), _first(kind.__doc__)) for status, kind in classes]
    by_code = {name: status_of(InvalidError(name, "")) for name in CODES}
    special = ", ".join(f"`{name}` is {status}" for name, status in by_code.items() if status != 400)
    statuses = _table(("class", "HTTP status", "when"), kinds)
    return (
        f"{NOTE}\n{ERRORS}{_table(('code', 'what it means', 'what to do'), codes)}\n## Classes\n\n"
        f"In Python every error is a `GemelError` of one of these classes, which decide the HTTP status; {special}.\n\n"
        f"{statuses}"
    )


def settings_page() -> str:
    """Return docs/settings.md, from the settings."""
    rows = [(f"`{variable}`", _default(value), meaning) for variable, (_, value, meaning) in SETTINGS.items()]
    return f"{NOTE}\n{SETTINGS_INTRO}{_table(('variable', 'default', 'what it sets'), rows)}"


def api_page() -> str:
    """Return docs/api.md, from the routes' declarations."""
    parts = [f"{NOTE}\n{API}"]
    by_tag: dict[str, list[HTTPRouteHandler]] = {}
    for handler in HANDLERS:
        by_tag.setdefault(str((list(handler.tags or ()) or ["Other"])[0]), []).append(handler)
    for tag, handlers in by_tag.items():
        rows = [row for handler in handlers for row in _route(handler)]
        parts.append(f"## {tag}\n\n{_table(('route', 'scope', 'audited as', 'what it does'), rows)}\n")
    return "\n".join("".join(parts).rstrip("\n").splitlines()) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/errors.md": errors_page,
    "docs/settings.md": settings_page,
    "docs/api.md": api_page,
}


def main() -> None:
    """Write every page whose text changed, and name it."""
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(name)


def _route(handler: HTTPRouteHandler) -> Iterable[Sequence[str]]:
    info = info_of(handler)
    scope = f"`{info.scope.value}`" if info and info.scope else "none"
    action = f"`{info.action}`" if info and info.action else ""
    for path in sorted(handler.paths):
        for method in sorted(handler.http_methods):
            yield f"`{method} {_plain(path)}`", scope, action, _first(handler.fn.__doc__)


def _plain(path: str) -> str:
    return "/".join(
        f"{{{part[1:-1].split(':')[0]}}}" if part.startswith("{") else part for part in path.split("/")
    )


def _default(value: object) -> str:
    return "" if str(value) in {"", "."} else f"`{value}`"


def _first(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
