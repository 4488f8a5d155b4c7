"""`gemel up`: the server, on its bundled database."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemel import __version__
from gemel.base.errors import InvalidError
from gemel.base.settings import load_settings
from gemel.cli import output
from gemel.cli.command import Panel, command
from gemel.cli.operate import database_faults
from gemel.cli.options import LocalOptions

if TYPE_CHECKING:
    from gemel.app import Listening
    from gemel.security.tls import TlsFiles

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(
        app,
        "up",
        ("gemel up", "serve http://127.0.0.1:8080 on the platform's data directory"),
        ("gemel up --data ~/gemel-plant --port 9000", "another directory and port"),
        ("gemel up --tls", "https, with a certificate that is made at the first start"),
        ("gemel up --grpc-port 8081", "HTTP, and gRPC beside it"),
        ("gemel up --port 0 --json", "a free port; the URL comes as JSON on standard output"),
        panel=Panel.RUN,
    )(up)


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Of where a server listens, and what it shows there."""

    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8080
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Serve https alone, with the data directory's own certificate."),
    ] = False
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Serve https with this certificate (chain), in PEM."),
    ] = None
    tls_key: Annotated[
        Path | None,
        typer.Option(
            "--tls-key", metavar="FILE", help="Its private key. Default: in the certificate's file."
        ),
    ] = None
    grpc_port: Annotated[
        int | None,
        typer.Option(
            "--grpc-port",
            min=0,
            max=65535,
            help="The port to serve gRPC on, too; 0 for none. Default: GEMEL_GRPC_PORT, or none.",
        ),
    ] = None

    def where(self, grpc_port: int) -> Listening:
        """Return where to listen; `grpc_port` is that of the settings. Raises InvalidError (UsageInvalid)."""
        from gemel.app import Listening

        own = _own_certificate(self.tls_cert, self.tls_key)
        return Listening(self.host, self.port, self.tls or own is not None, own, grpc_port)


def up(local: LocalOptions, listen: ListenOptions) -> None:
    """Start the database and the server, and serve until Ctrl-C; both are stopped then."""
    from gemel.app import serve
    from gemel.cli.client import read_lock

    settings = load_settings(data_dir=local.data, grpc_port=listen.grpc_port)
    where = listen.where(settings.grpc_port)

    def tell(url: str) -> None:
        facts = {
            "url": url,
            "openapi": f"{url}/openapi",
            "data": str(settings.data_dir),
            "key": str(settings.data_dir / "default.key"),
        }
        if settings.grpc_port:
            facts["grpc"] = f"{where.host}:{settings.grpc_port}"
        certificate = read_lock(settings.data_dir).get("certificate")
        if certificate:
            facts["certificate"] = certificate
        if local.as_json:
            output.print_line(facts)
            return
        out = output.console()
        out.print(f"[bold]gemel {__version__}[/bold] is ready at [cyan]{url}[/cyan]; Ctrl-C stops it.")
        for name in list(facts)[1:]:
            out.print(f"  {name:<12}{facts[name]}", markup=False, soft_wrap=True)

    # Unless it is caught, SIGTERM ends Python at once and leaves the database running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with database_faults():
            serve(settings, where, tell)
    except KeyboardInterrupt:
        return


def _own_certificate(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    from gemel.security.tls import TlsFiles

    if certificate is None:
        if key is not None:
            raise InvalidError("UsageInvalid", "--tls-key is of a certificate.", "Give --tls-cert FILE, too.")
        return None
    return TlsFiles(certificate.absolute(), (key or certificate).absolute())
