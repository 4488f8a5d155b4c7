"""Payloads in Avro with the id of their schema in front, as schema registries have them.

Source: the wire format of Confluent's Schema Registry: a byte 0, the schema's id in four bytes, the datum. Each is read
by the schema that it was written with, or as the reader's schema has it (Avro 1.12, Schema Resolution).
"""

from __future__ import annotations

import base64
import io
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gemel.base.errors import EnvironmentFaultError, UnavailableError
from gemel.outbound import Outbound

__all__ = ["AvroPayloads", "Registry"]

ADDRESS: Final = re.compile(" (?:from|in) <[^>]* at 0x[0-9a-f]+>")
MAGIC: Final = 0
HEAD: Final = 5
ABSENT_S: Final = 30.0
"""For how long a schema that the registry did not know is not asked for again."""
SCHEMAS_MAX: Final = 2000
SCHEMA_BYTES_MAX: Final = 1 << 20
REFERENCES_MAX: Final = 100
TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Registry:
    """A schema registry: its URL, who asks with which password, and the subject and version of the reader's schema."""

    url: str
    user: str | None = None
    password: str | None = field(repr=False, default=None)
    reader: tuple[str, str] | None = None


class AvroPayloads:
    """Reads payloads by the schemas of a registry, each fetched once."""

    def __init__(self, outbound: Outbound, registry: Registry) -> None:
        """Raise EnvironmentFaultError (ExtraMissing) where fastavro is not installed."""
        self._fastavro = _library()
        self._outbound = outbound
        self._registry = registry
        self._schemas: dict[int, Any] = {}
        self._absent: dict[int, tuple[float, str]] = {}
        self._reader: Any = None

    async def prepare(self, values: Sequence[bytes]) -> None:
        """Fetch the schemas that these payloads name and that are not known yet.

        Raises UnavailableError (SourceUnavailable, OutboundFailed) while the registry cannot be asked.
        """
        if self._registry.reader is not None and self._reader is None:
            subject, version = self._registry.reader
            found = await self._get(_version_path(subject, version))
            if found is None:
                raise _unavailable(f"it has no version {version} of {subject}")
            self._reader = await self._parsed(found)
        now_s = time.monotonic()
        for number in {_id(value) for value in values if len(value) >= HEAD and value[0] == MAGIC}:
            absent_s, _ = self._absent.get(number, (-ABSENT_S, ""))
            if number not in self._schemas and now_s > absent_s + ABSENT_S:
                await self._learn(number)

    def read(self, value: bytes) -> Any:
        """Return a payload as JSON values; raise ValueError, saying why, where there is none.

        Times are the numbers that stand there, decimals are numbers, and bytes texts in base64.
        """
        if len(value) < HEAD or value[0] != MAGIC:
            raise ValueError("it does not begin with a schema's id")
        number = _id(value)
        schema = self._schemas.get(number)
        if schema is None:
            raise ValueError(f"schema {number}: {self._absent.get(number, (0, 'it is not known'))[1]}")
        body = io.BytesIO(value)
        body.seek(HEAD)
        try:
            found = self._fastavro.schemaless_reader(body, schema, self._reader)
        except Exception as error:
            # An address in memory says nothing, and would be another one each time.
            why = ADDRESS.sub("", str(error))
            raise ValueError(f"schema {number} does not read it: {type(error).__name__}: {why}") from error
        if body.tell() != len(value):
            raise ValueError(f"schema {number}: {len(value) - body.tell()} bytes follow the datum")
        return _as_json(found)

    async def _learn(self, number: int) -> None:
        found = await self._get(f"/schemas/ids/{number}")
        why = "the registry does not have it"
        if found is not None:
            try:
                schema = await self._parsed(found)
            except ValueError as error:
                why = str(error)
            else:
                if len(self._schemas) >= SCHEMAS_MAX:
                    self._schemas.pop(next(iter(self._schemas)))
                self._schemas[number] = schema
                self._absent.pop(number, None)
                return
        if len(self._absent) >= SCHEMAS_MAX:
            self._absent.clear()
        self._absent[number] = (time.monotonic(), why)

    async def _parsed(self, found: Mapping[str, Any]) -> Any:
        """Return a schema as the library reads by it, with those that it refers to. Raises ValueError."""
        named: dict[str, Any] = {}
        await self._refer(found, named, [])
        return self._parse(found, named)

    async def _refer(self, found: Mapping[str, Any], named: dict[str, Any], seen: list[str]) -> None:
        for reference in found.get("references") or ():
            path = _version_path(str(reference.get("subject")), str(reference.get("version")))
            if path in seen:
                continue
            seen.append(path)
            if len(seen) > REFERENCES_MAX:
                raise ValueError(f"it refers to more than {REFERENCES_MAX} schemas")
            other = await self._get(path)
            if other is None:
                raise ValueError(f"the registry does not have {path}, to which it refers")
            await self._refer(other, named, seen)
            self._parse(other, named)

    def _parse(self, found: Mapping[str, Any], named: dict[str, Any]) -> Any:
        kind = found.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise ValueError(f"it is of type {kind}, and not Avro")
        try:
            return self._fastavro.parse_schema(_plain(msgspec.json.decode(found["schema"])), named)
        except Exception as error:
            raise ValueError(f"it is no schema: {type(error).__name__}: {error}") from error

    async def _get(self, path: str) -> Mapping[str, Any] | None:
        """Return what the registry says, None where it does not have it."""
        registry = self._registry
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if registry.user is not None:
            pair = f"{registry.user}:{registry.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        answer = await self._outbound.request(
            "GET",
            registry.url.rstrip("/") + path,
            headers=headers,
            timeout_s=TIMEOUT_S,
            answer_bytes_max=SCHEMA_BYTES_MAX,
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _unavailable(f"it answered {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unavailable("its answer is no JSON object") from error


def _library() -> ModuleType:
    try:
        import fastavro
    except ImportError as error:
        message = "Avro needs fastavro on the server."
        raise EnvironmentFaultError("ExtraMissing", message, "pip install 'gemel[kafka]' there.") from error
    return fastavro


def _id(value: bytes) -> int:
    return int.from_bytes(value[1:HEAD], "big")


def _version_path(subject: str, version: str) -> str:
    return f"/subjects/{quote(subject, safe='')}/versions/{quote(version, safe='')}"


def _plain(schema: Any) -> Any:
    """Return a schema that gives times as the numbers that they are, so that a mapping says what they mean."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name != "logicalType" or value == "decimal"}
    for name in ("type", "items", "values"):
        if name in kept:
            kept[name] = _plain(kept[name])
    if isinstance(kept.get("fields"), list):
        kept["fields"] = [_plain(each) for each in kept["fields"]]
    return kept


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"it holds {value}, which is not a number that can be kept")
    if isinstance(value, Decimal):
        return float(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _unavailable(problem: str) -> UnavailableError:
    message = f"The schema registry cannot be asked: {problem}."
    return UnavailableError("SourceUnavailable", message, "Look at the registry.")
