"""A source as its owner describes it: name, kind, connection, mapping, limits, and how it comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gemel.base.errors import InvalidError
from gemel.contracts.document import Contract, parse_contract
from gemel.contracts.watching import Watch
from gemel.sources.fields import Fields, read_fields

__all__ = ["NAME", "Backoff", "ContractText", "Definition", "Limits", "MappingText", "parse_definition"]

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
SECRET_KEY: Final = re.compile(
    r"password|passwd|passphrase|secret|token|api_?key|private_?key", re.IGNORECASE
)
REFERENCE: Final = re.compile(r"\$\{(?:env|file):[^{}]+\}")
USER_INFO: Final = re.compile(r"://[^/\s:@]*:(?!\$\{)[^/\s@]+@")
INLINE: Final = "mapping of the source"
INLINE_CONTRACT: Final = "contract of the source"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch holds at most, and how long to wait for its first event."""

    events_max: int = 5000
    bytes_max: int = 1 << 20
    wait_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after a failure: doubled each time, from `first_s` to `max_s`."""

    first_s: float = 1.0
    max_s: float = 300.0

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait after the nth failure in a row; `chance` in [0, 1) spreads it between half and whole."""
        doubled = min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return doubled * (1 + chance) / 2


DEFAULT_LIMITS: Final = Limits()
DEFAULT_BACKOFF: Final = Backoff()


@dataclass(frozen=True, slots=True)
class MappingText:
    """A mapping as text, and the name of the file that it came in."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class ContractText:
    """What the producer promised, and its text."""

    contract: Contract
    text: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A description, read and checked as far as it is the same for all kinds; `connection` is the kind's own.

    With `trial` the source is only looked at: beside whoever reads it, without being taken for one who does.
    `watch` is given where it is read under a contract: whoever maps its messages shows them to it before, and
    events or rows that are not mapped are shown as they are.
    """

    name: str
    kind: str
    connection: dict[str, Any] = field(repr=False)
    mapping: MappingText | None
    create_twins: bool
    limits: Limits
    backoff: Backoff
    contract: ContractText | None = None
    trial: bool = False
    watch: Watch | None = None

    def connection_fields(self) -> Fields:
        """Return the connection, for its kind to read."""
        return Fields("connection", self.connection)


def parse_definition(text: str, mapping: str | None = None, contract: str | None = None) -> Definition:
    """Read a description in YAML; `mapping` and `contract` are the texts of the files that it names, if it does.

    Raises InvalidError (SourceInvalid) naming the key, and what is meant where that can be guessed; so, too, for
    a secret that stands there in clear. ContractInvalid for its contract.
    """
    top = read_fields(text)
    found = Definition(
        name=_name(top),
        kind=top.text("kind"),
        connection=_connection(top),
        mapping=_mapping(top, mapping),
        contract=_contract(top, contract),
        create_twins=top.flag("create_twins", default=False),
        limits=_limits(top.fields("limits", {})),
        backoff=_backoff(top.fields("backoff", {})),
    )
    top.finish()
    return found


def _name(top: Fields) -> str:
    name: str = top.text("name")
    if NAME.fullmatch(name) is None:
        hint = "Use 1 to 64 of A-Z a-z 0-9 _ . -, with a letter or digit at both ends."
        raise top.fault("name", f"{name[:80]!r} is not a name", hint)
    return name


def _connection(top: Fields) -> dict[str, Any]:
    raw = top.take("connection", {})
    if not isinstance(raw, dict):
        raise top.fault("connection", "must be keys with values")
    _refuse_clear_secrets("connection", raw)
    return raw


def _refuse_clear_secrets(where: str, value: Any) -> None:
    """Refuse a secret that is not a reference, without repeating it."""
    if isinstance(value, dict):
        for key, item in value.items():
            inner = f"{where}.{key}"
            if SECRET_KEY.search(str(key)) and not isinstance(item, (dict, list)):
                _require_reference(inner, item)
            _refuse_clear_secrets(inner, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_clear_secrets(f"{where}[{index}]", item)
    elif isinstance(value, str) and USER_INFO.search(value):
        _require_reference(where, None)


def _require_reference(where: str, value: Any) -> None:
    if not isinstance(value, str) or REFERENCE.fullmatch(value) is None:
        raise InvalidError(
            "SourceInvalid",
            f"The source's {where} holds a secret in clear, which would be stored.",
            "Refer to it as ${env:NAME} or ${file:/path}.",
        )


def _mapping(top: Fields, text: str | None) -> MappingText | None:
    found = _file(top, "mapping", INLINE, text)
    return None if found is None else MappingText(*found)


def _contract(top: Fields, text: str | None) -> ContractText | None:
    found = _file(top, "contract", INLINE_CONTRACT, text)
    return None if found is None else ContractText(parse_contract(found[1].encode(), found[0]), found[1])


def _file(top: Fields, key: str, inline: str, text: str | None) -> tuple[str, str] | None:
    """Return the name and text of a file that a key names, or of what stands there in its place."""
    raw = top.take(key, None)
    if isinstance(raw, str) and raw:
        if text is None:
            raise top.fault(key, f"names the file {raw[:80]!r}, which was not given along")
        return raw, text
    if text is not None:
        raise top.fault(key, "names no file, and one was given along")
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise top.fault(key, f"must be the name of a {key} file, or its keys")
    return inline, yaml.safe_dump(raw, allow_unicode=True, sort_keys=False)


def _limits(given: Fields) -> Limits:
    found = Limits(
        events_max=given.whole("events", DEFAULT_LIMITS.events_max, 1, 20_000),
        bytes_max=given.whole("bytes", DEFAULT_LIMITS.bytes_max, 1024, 4 << 20),
    )
    given.finish()
    return found


def _backoff(given: Fields) -> Backoff:
    first_s = given.number("first_s", DEFAULT_BACKOFF.first_s, 0.01, 3600)
    found = Backoff(first_s, given.number("max_s", max(DEFAULT_BACKOFF.max_s, first_s), first_s, 86_400))
    given.finish()
    return found
