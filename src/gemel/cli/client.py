"""The HTTP client of the commands: finds server and key, and turns error bodies into errors again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from gemel.base.errors import (
    ConflictError,
    Detail,
    EnvironmentFaultError,
    ForbiddenError,
    GemelError,
    InternalError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)
from gemel.base.settings import Settings
from gemel.security.tls import pinned, trusting

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "Client", "error_of", "locate", "read_lock"]

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 70.0  # the server ends a call after 60 s; its answer should still arrive

SILENCE_S = 60.0  # streams have a sign of life every 15 s

CLASSES: dict[int, type[GemelError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: PreconditionError,
    413: TooLargeError,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, the key to show it, and by what it is verified; None means the public authorities."""

    url: str
    key: str = field(repr=False)
    trust: ssl.SSLContext | None = None


def locate(settings: Settings) -> Address:
    """Return the server and key that settings name, else those of the data directory.

    The key in the data directory is only ever shown to this machine. Raises EnvironmentFaultError
    (ServerUnreachable) where no server is named, UnauthenticatedError (TokenInvalid) where no key is, and
    InvalidError (CertificateInvalid) where the file that vouches for the server does not.
    """
    url = (settings.url or _served_url(settings.data_dir)).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidError("UsageInvalid", f"{url!r} is not a URL.", "As in --url http://127.0.0.1:8080.")
    here = not settings.url or _is_loopback(url)
    key = settings.key or _default_key(settings.data_dir, url, here=here)
    return Address(url, key, _trust(settings, url, here=here))


def _trust(settings: Settings, url: str, *, here: bool) -> ssl.SSLContext | None:
    """Return what verifies a server; the one on the data directory by the very certificate that it shows."""
    if not url.startswith("https:"):
        return None
    certificate = read_lock(settings.data_dir).get("certificate") if here else None
    if isinstance(certificate, str) and not (settings.url and settings.ca):
        return pinned(Path(certificate))
    return trusting(Path(settings.ca)) if settings.ca else None


def read_lock(data_dir: Path) -> Mapping[str, Any]:
    """Return what a running server left in its data directory (`pid`, `url`, `certificate`), or nothing."""
    try:
        held = json.loads((data_dir / "gemel.lock").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


class Client:
    """Calls one server; every refusal is raised as the GemelError that its body describes."""

    def __init__(self, address: Address, transport: httpx.BaseTransport | None = None) -> None:
        self.url = address.url
        self._http = httpx.Client(
            base_url=address.url,
            headers={"Authorization": f"Bearer {address.key}"} if address.key else {},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            verify=address.trust or True,
            trust_env=not _is_loopback(address.url),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a request; `options` are httpx's (params, json, headers)."""
        with self._reaching():
            response = self._http.request(method, path, **options)
        if response.status_code >= 400:
            raise error_of(response)
        return response

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON body of the answer to a request, or None where it has none."""
        return self._body(self.send(method, path, **options))

    def _body(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise _stranger(self.url, response) from error

    def get(self, path: str, /, **params: Any) -> Any:
        """Return the JSON body of a GET; parameters that are None are left out."""
        return self.call(
            "GET", path, params={name: value for name, value in params.items() if value is not None}
        )

    def pages(self, path: str, /, **params: Any) -> Iterator[Any]:
        """Yield the items of a list, page after page by `nextLink`."""
        for page in self.whole_pages(path, **params):
            yield from page["value"]

    def whole_pages(self, path: str, /, **params: Any) -> Iterator[Any]:
        """Yield the pages of a list as they are, by `nextLink`."""
        page = self.get(path, **params)
        yield page
        while page.get("nextLink"):
            # Only the path is followed, so that the key never goes to another server.
            page = self.call("GET", httpx.URL(page["nextLink"]).raw_path.decode("ascii"))
            yield page

    def query_pages(self, query: str, **moment: str) -> Iterator[tuple[list[Any], str]]:
        """Yield the pages of a query, each with the warnings that came with it, empty where there are none."""
        request = {"query": query, **moment}
        while request:
            response = self.send("POST", "/query", json=request)
            page = self._body(response)
            yield page["value"], response.headers.get("gemel-warnings", "")
            token = page.get("continuationToken")
            request = {"continuationToken": token} if token else {}

    @contextmanager
    def stream(self, path: str, params: Any, headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """Open a response that does not end and yield its lines; silence of a minute counts as its loss."""
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S)
        with (
            self._reaching(),
            self._http.stream("GET", path, params=params, headers=headers, timeout=timeout) as response,
        ):
            if response.status_code >= 400:
                response.read()
                raise error_of(response)
            yield response.iter_lines()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise _unreached(self.url, str(error) or type(error).__name__) from error


def error_of(response: httpx.Response) -> GemelError:
    """Return the error that a refusing answer describes: its code, message and details, by its status."""
    try:
        body = response.json()["error"]
        code, message = str(body["code"]), str(body["message"])
        details = tuple(Detail(str(d["code"]), str(d["message"])) for d in body.get("details") or ())
    except (ValueError, KeyError, TypeError):
        return _stranger(str(response.url.copy_with(raw_path=b"/")), response)
    if response.status_code in {429, 503}:
        kind = OverloadedError if response.status_code == 429 else UnavailableError
        wait_s = _retry_after_s(response)
        return kind(code, message, f"Try again in {wait_s} s.", details, wait_s)
    fallback = InternalError if response.status_code >= 500 else InvalidError
    return CLASSES.get(response.status_code, fallback)(code, message, details=details)


def _unreached(url: str, reason: str) -> EnvironmentFaultError:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        message = f"The certificate of {url} is not one to trust: {reason}."
        hint = "Set GEMEL_CA to a PEM file that vouches for it: a copy of the server's tls.crt, say."
        return EnvironmentFaultError("ServerUnreachable", message, hint)
    hint = "Start a server with `gemel up`, or name another with --url."
    return EnvironmentFaultError("ServerUnreachable", f"{url} does not answer: {reason.rstrip('.')}.", hint)


def _stranger(url: str, response: httpx.Response) -> GemelError:
    return EnvironmentFaultError(
        "ServerUnreachable",
        f"What answers at {url} is not a gemel: status {response.status_code} without a body of ours.",
        "Check --url and GEMEL_URL; start a server with `gemel up`.",
    )


def _retry_after_s(response: httpx.Response) -> int:
    text = response.headers.get("Retry-After", "")
    return int(text) if text.isdecimal() else 1


def _served_url(data_dir: Path) -> str:
    url = read_lock(data_dir).get("url")
    # While an operator's command has the directory, there is a holder but no URL.
    if isinstance(url, str) and url.startswith("http"):
        return url
    raise EnvironmentFaultError(
        "ServerUnreachable",
        f"No gemel serves the data directory {data_dir}.",
        "Start one with `gemel up`, or name one with --url or GEMEL_URL.",
    )


def _default_key(data_dir: Path, url: str, *, here: bool) -> str:
    if not here:
        raise UnauthenticatedError(
            "TokenInvalid",
            f"No key is given for {url}.",
            "Set GEMEL_KEY, or pass --key; make one with `gemel key create`.",
        )
    try:
        return (data_dir / "default.key").read_text("utf-8").strip()
    except OSError as error:
        raise UnauthenticatedError(
            "TokenInvalid",
            f"The key file {data_dir / 'default.key'} cannot be read: {error.strerror}.",
            "Set GEMEL_KEY or pass --key; `gemel doctor` says more.",
        ) from error


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
