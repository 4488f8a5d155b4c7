"""`gemel endpoint`: the receivers that event routes lead to."""

from __future__ import annotations

import base64
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gemel.base.errors import InvalidError
from gemel.cli import output
from gemel.cli.command import command, group
from gemel.cli.options import ServerOptions
from gemel.cli.removing import remove_named

__all__ = ["app"]

app = group("endpoint", "Endpoints: receivers that event routes lead to.")

SECRET_BYTES = 32
SCHEMES = {"kafka": "kafka", "mqtt": "mqtt", "mqtts": "mqtt"}

Name = Annotated[str, typer.Argument(metavar="NAME", help="The endpoint's name.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How deliveries to an endpoint are made."""

    sign: Annotated[bool, typer.Option("--sign", help="Make a secret and sign every delivery with it.")] = (
        False
    )
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="Sign with the secret in this file: whsec_…, or a reference as ${env:NAME}; - is stdin.",
        ),
    ] = None
    header_file: Annotated[
        Path | None,
        typer.Option(
            "--header-file",
            metavar="FILE",
            help="Headers to send along, each a line NAME: VALUE; - is stdin. Of a broker: username and password.",
        ),
    ] = None
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", metavar="NAME=VALUE", help="A setting of Kafka's; may be given often."),
    ] = None
    dead_letter_after: Annotated[
        int | None,
        typer.Option(
            "--dead-letter-after",
            metavar="N",
            help="Put an event aside that was refused so often in a row; 0: never. Default 10.",
        ),
    ] = None

    def body(self, target: str) -> dict[str, Any]:
        """Return the request; raise InvalidError (UsageInvalid, FileUnreadable)."""
        if self.sign and self.secret_file is not None:
            raise InvalidError(
                "UsageInvalid", "--sign makes a secret, --secret-file gives one.", "Use one of them."
            )
        kind = SCHEMES.get(target.partition("://")[0], "webhook")
        found: dict[str, Any] = {"kind": kind, "url": target}
        if self.sign:
            found["secret"] = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        elif self.secret_file is not None:
            found["secret"] = _read(self.secret_file).strip()
        if self.header_file is not None:
            headers = _headers(_read(self.header_file))
            found |= headers if kind == "mqtt" else {"headers": headers}
        if self.setting:
            found["settings"] = _settings(self.setting)
        if self.dead_letter_after is not None:
            found["deadLetterAfter"] = self.dead_letter_after
        return found


@command(
    app,
    "add",
    ("gemel endpoint add hooks https://hooks.example.com/gemel --sign", "prints the signing secret, once"),
    (
        "gemel endpoint add hooks https://hooks.example.com/gemel --header-file auth.txt",
        "a header goes along",
    ),
    (
        "gemel endpoint add log kafka://kafka.example.com:9092/twins --setting security.protocol=SSL",
        "a topic of Kafka",
    ),
    (
        "gemel endpoint add plant 'mqtts://broker.example.com/plant/{twin}/{type}' --header-file login.txt",
        "each notification is published to a broker",
    ),
)
def add(
    name: Name,
    target: Annotated[
        str,
        typer.Argument(metavar="URL", help="Where notifications go: http(s)://…, kafka://… or mqtt(s)://…"),
    ],
    wanted: Wanted,
    server: ServerOptions,
) -> None:
    """Make an endpoint or put another in its place; its routes are tried again at once."""
    body = wanted.body(target)
    made = body["secret"] if wanted.sign else None
    with server.client() as client:
        kept = client.call("PUT", _path(name), json=body)
    if server.as_json:
        output.print_json(kept | ({"secret": made} if made else {}))
        return
    output.note(f"Endpoint {name} leads to {kept['url']}.")
    if made:
        output.note("The secret, for the receiver to check signatures with, is shown only now:")
        typer.echo(made)


@command(app, "list", ("gemel endpoint list", "names, URLs, whether signed; never the secrets"))
def list_all(server: ServerOptions) -> None:
    """List endpoints."""
    with server.client() as client:
        found = client.get("/v1/endpoints")["value"]
    if server.as_json:
        output.print_json(found)
    else:
        output.print_table(("name", "kind", "url", "signed", "headers", "changed"), map(_row, found))


@command(app, "show", ("gemel endpoint show hooks", "one endpoint, without its secrets"))
def show(name: Name, server: ServerOptions) -> None:
    """Show an endpoint."""
    with server.client() as client:
        found = client.get(_path(name))
    if server.as_json:
        output.print_json(found)
    else:
        output.print_table(("field", "value"), [(name, output.cell(value)) for name, value in found.items()])


@command(app, "remove", ("gemel endpoint remove hooks", "refused while routes lead to it"))
def remove(name: Name, server: ServerOptions) -> None:
    """Remove an endpoint that no route leads to."""
    remove_named(server, _path(name), "endpoint", ("name", name))


def _path(name: str) -> str:
    return f"/v1/endpoints/{quote(name, safe='')}"


def _row(found: dict[str, Any]) -> list[Any]:
    names = " ".join(found["headers"])
    return [found["name"], found["kind"], found["url"], found["signed"], names, found["changed"]]


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError("FileUnreadable", f"{file} cannot be read: {error}.") from error


def _settings(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if any(not name or not equals for name, equals, _ in pairs):
        raise InvalidError("UsageInvalid", "A --setting is NAME=VALUE.")
    return {name: value for name, _, value in pairs}


def _headers(text: str) -> dict[str, str]:
    headers = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, value = line.partition(":")
        if line.strip() and not colon:
            raise InvalidError("UsageInvalid", f"Line {number} of the headers is not NAME: VALUE.")
        if line.strip():
            headers[name.strip()] = value.strip()
    return headers
