"""Settings, each one environment variable; docs/settings.md is tested against this list."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from gemel.base.errors import InvalidError

__all__ = ["SETTINGS", "Settings", "load_settings"]


def setting(variable: str, default: Any, meaning: str) -> Any:
    """Declare a field with its environment variable and the sentence that documents it."""
    return field(default=default, metadata={"variable": variable, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator can set. Sizes are bytes, times are what the name's last word says."""

    data_dir: Path = setting(
        "GEMEL_DATA", Path(), "The data directory: bundled database, keys, lock. Default: the platform's."
    )
    database_url: str = setting(
        "GEMEL_DATABASE_URL", "", "A PostgreSQL to use in place of the bundled one, as its owner role."
    )
    url: str = setting(
        "GEMEL_URL", "", "The server that commands talk to. Default: the one on this data directory."
    )
    key: str = setting(
        "GEMEL_KEY", "", "The API key that commands use. Default: default.key of the data directory."
    )
    ca: str = setting(
        "GEMEL_CA", "", "A PEM file that vouches for a remote https server. Default: the public authorities."
    )
    future_tolerance_s: float = setting(
        "GEMEL_FUTURE_TOLERANCE_S", 5.0, "How far ahead of our clock a source time may be."
    )
    grpc_port: int = setting("GEMEL_GRPC_PORT", 0, "The port that gRPC is served on, too; 0 for none.")
    stop_grace_s: int = setting(
        "GEMEL_STOP_GRACE_S", 5, "How long calls under way may go on once the server is told to stop."
    )
    metrics_port: int = setting(
        "GEMEL_METRICS_PORT",
        0,
        "The port of 127.0.0.1 that shows the metrics of all tenants at /metrics, without a key; 0 for none.",
    )
    otlp_url: str = setting(
        "GEMEL_OTLP_URL",
        "",
        "Where spans of commits are sent by OTLP over HTTP, as in http://127.0.0.1:4318/v1/traces. Default: nowhere.",
    )
    otlp_share: float = setting(
        "GEMEL_OTLP_SHARE",
        1.0,
        "The share, 0 to 1, of traces that begin here which is recorded where GEMEL_OTLP_URL is set.",
    )
    body_bytes_max: int = setting("GEMEL_BODY_BYTES_MAX", 8 << 20, "The largest request body taken.")
    in_flight_bytes_max: int = setting(
        "GEMEL_IN_FLIGHT_BYTES_MAX",
        24 << 20,
        "Request bodies held at once, in all; beyond it 429 is answered.",
    )
    commit_events_max: int = setting(
        "GEMEL_COMMIT_EVENTS_MAX", 20_000, "The most events that share one commit."
    )
    dedupe_window_h: float = setting(
        "GEMEL_DEDUPE_WINDOW_H", 24.0, "How long ids of events without a time are remembered."
    )
    change_days: int = setting("GEMEL_CHANGE_DAYS", 7, "How long the change feed can be resumed from.")
    jobs_root: Path = setting(
        "GEMEL_JOBS_ROOT",
        Path(),
        "The folder that `file:` URIs of jobs lead into, by a folder for each tenant. Default: none are taken.",
    )
    sources_allow: str = setting(
        "GEMEL_SOURCES_ALLOW",
        "",
        "What sources may use of this machine: `/folder` and `env:NAME`, each after `TENANT=` where it is for one "
        "tenant alone; between commas. Default: nothing.",
    )
    outbound_allow: str = setting(
        "GEMEL_OUTBOUND_ALLOW",
        "",
        "What jobs, webhooks and sources may call beside public addresses: host names, host:port, networks (CIDR).",
    )
    cold_store: str = setting(
        "GEMEL_COLD_STORE",
        "",
        "Where frozen weeks of history are: an absolute folder, or s3://BUCKET/PREFIX?region=…&endpoint=…. "
        "Default: `cold` in the data directory.",
    )
    event_source: str = setting(
        "GEMEL_EVENT_SOURCE",
        "gemel",
        "What events on routes name as their source, before a slash and the tenant's name.",
    )
    log_level: str = setting("GEMEL_LOG_LEVEL", "info", "debug, info, warning or error.")


KINDS = {int: "a whole number", float: "a number"}

SETTINGS: dict[str, tuple[str, object, str]] = {
    f.metadata["variable"]: (f.name, f.default, f.metadata["meaning"]) for f in fields(Settings)
}


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from the environment; an override that is not None wins.

    Raises InvalidError (InvalidArgument) naming the variable whose text does not parse.
    """
    source = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for variable, (name, default, _) in SETTINGS.items():
        if source.get(variable):
            values[name] = _parse(variable, source[variable], type(default))
    values.update({name: value for name, value in overrides.items() if value is not None})
    if not values.get("data_dir"):
        values["data_dir"] = Path(platformdirs.user_data_dir("gemel", appauthor=False))
    values["data_dir"] = Path(values["data_dir"]).expanduser().absolute()
    values.setdefault("cold_store", str(values["data_dir"] / "cold"))
    return Settings(**values)


def _parse(variable: str, text: str, kind: type[Any]) -> Any:
    if issubclass(kind, Path):
        return Path(text)
    try:
        return kind(text)
    except ValueError as error:
        message = f"{variable}={text!r} is not {KINDS[kind]}."
        raise InvalidError("InvalidArgument", message, "See docs/settings.md.") from error
