"""Messages to events by a mapping, compiled once and run by batch."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gemel.base.clock import from_us
from gemel.base.errors import Detail
from gemel.ingest.events import LINES, UNMAPPED, Decoded, Event
from gemel.mapping.payload import PayloadMapping
from gemel.mapping.rules import CompiledRule, Made, reduced
from gemel.mapping.scene import Message, Scene, field_reader
from gemel.mapping.sections import mapping_fault
from gemel.mapping.unmapped import Unmapped, pack, unpack
from gemel.mapping.watched import Broken, Looker

__all__ = ["ITEMS_MAX", "Mapped", "Mapper", "Raws"]

ITEMS_MAX: Final = 10_000
NONE_BROKEN: Final[Mapping[int, Broken]] = {}
REJECT_BYTES_MAX: Final = 8 << 20
"""What the items of one message that do not fit may weigh apart, each with what is around it."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of messages: their events in order, a Detail for each that does not fit its mapping.

    `raws` are their bytes for quarantine, made when asked for; `messages` says which message each is of. `empty`
    counts messages that the mapping leaves out: `when` was not true, or the list was empty.
    """

    events: list[Event | Detail]
    raws: Sequence[bytes]
    messages: list[int]
    empty: int

    def decoded(self, body: bytes) -> Decoded:
        """Return the events as ingest takes them; `body` is what they came in."""
        decoded = Decoded(self.events, body, LINES, self.raws)
        decoded.owners = self.messages
        return decoded


class Mapper:
    """A mapping, compiled; with `looker`, what that refuses of a batch is not mapped, and waits in quarantine.

    Raises InvalidError (MappingInvalid) for a looker over payloads that are no JSON.
    """

    def __init__(self, mapping: PayloadMapping, looker: Looker | None = None) -> None:
        self.mapping = mapping
        self._looker = looker
        self._check_looker()
        self._rules = [CompiledRule(rule, number, mapping) for number, rule in enumerate(mapping.twins)]
        self._id = None if mapping.id is None else field_reader(mapping.id)
        self._timed = all(rule.time is not None for rule in mapping.twins)
        self._single = len(self._rules) == 1 and mapping.twins[0].each is None
        self._json = mapping.format == "json"
        self._decode = msgspec.json.Decoder().decode

    def watched(self, looker: Looker) -> Mapper:
        """Return the same mapping with another looker. Raises InvalidError (MappingInvalid) as making it does."""
        found = copy.copy(self)
        found._looker = looker
        found._check_looker()
        return found

    def _check_looker(self) -> None:
        if self._looker is not None and self.mapping.format != "json":
            raise mapping_fault(self.mapping.file, "format", "is no JSON, which a contract is about.")

    def run(self, messages: Sequence[Message]) -> Mapped:
        """Return the events of messages; what does not fit costs only its own event, if that can be."""
        events: list[Event | Detail] = []
        rejects: dict[int, bytes] = {}
        owners: list[int] = []
        empty = 0
        shown, payloads, broken = self._looked(messages)
        for number, message in enumerate(messages):
            start = len(events)
            if number in broken:
                rejects[start] = self._held_back(message, number, broken[number])
                events.append(Detail(*broken[number][:2], broken[number].place))
            else:
                known = payloads[number - shown.start] if number in shown else None
                self._message(message, number, events, rejects, known)
            empty += len(events) == start
            owners.extend(itertools.repeat(number, len(events) - start))
        return Mapped(events, Raws(events, rejects), owners, empty)

    def remap(self, raw: bytes, received_us: int) -> list[Event | Detail] | None:
        """Map once more what waits in quarantine because another mapping failed, or a contract was not kept.

        `received_us` is when it came: the time of an event that has none. Returns its events, or the one reason
        why there are still none; None for bytes that wait for another reason.
        """
        found = unpack(raw, received_us)
        if found is None:
            return None
        waiting, message = found
        if waiting.rule is None:
            return self._whole(message)
        if waiting.rule >= len(self._rules):
            return [Detail("MappingFailed", f"The mapping has no rule twins[{waiting.rule}] any more.")]
        try:
            scene, name = self._scene(message, 0)
            made_of = list(self._rules[waiting.rule].make(scene, name, waiting.index))
        except ValueError as error:
            return [Detail("MappingFailed", str(error))]
        events = [each for each in made_of if each.event is not None or each.problem]
        if len(events) != 1:
            problem = f"twins[{waiting.rule}] makes {len(events)} events of it: send it again."
            return [Detail("MappingFailed", problem)]
        event = events[0].event
        return [_received(Detail("MappingFailed", events[0].problem) if event is None else event, message)]

    def _whole(self, message: Message) -> list[Event | Detail]:
        """Return the events of a message that waited whole: all of them, or the first reason why not."""
        made = self.run([message]).events
        problem = next((each for each in made if isinstance(each, Detail)), None)
        if problem is not None:
            return [problem]
        if not made:
            return [Detail("MappingFailed", "The mapping makes nothing of the message now: discard it.")]
        return [_received(each, message) for each in made]

    def refuse(self, message: Message, problem: str) -> tuple[Detail, bytes]:
        """Return what stands in quarantine for a message that could not be read for the mapping at all."""
        reject = self._reject(message, self._name(message, 0), Made(problem=problem))
        return Detail("MappingFailed", problem), reject

    def _looked(self, messages: Sequence[Message]) -> tuple[range, list[Any], Mapping[int, Broken]]:
        """Return which messages somebody looked at, their payloads, read, and what is not to be taken."""
        if self._looker is None or not messages:
            return range(0), [], NONE_BROKEN
        wanted = self._looker.wanted(len(messages))
        part = messages[wanted.start : wanted.stop]
        try:
            payloads = list(map(self._decode, [message.payload for message in part]))
        except (TypeError, ValueError, RecursionError):
            payloads = list(map(self._read_or_raw, part))
        broken = self._looker.look(payloads, messages[0].received_us, len(messages) - len(payloads))
        return wanted, payloads, {wanted.start + place: each for place, each in broken.items()}

    def _read_or_raw(self, message: Message) -> Any:
        try:
            return self._payload(message)[0]
        except ValueError:
            return message.payload

    def _held_back(self, message: Message, number: int, broken: Broken) -> bytes:
        name = message.id or _named(message, None if self._timed else number)
        return self._reject(message, name, Made(problem=broken.problem), None, broken)

    def _message(
        self,
        message: Message,
        number: int,
        events: list[Event | Detail],
        rejects: dict[int, bytes],
        payload: Any = None,
    ) -> None:
        """Append a message's events; where it cannot be taken apart at all, what stands for the whole of it."""
        start, weight, declined = len(events), 0, False
        name = ""
        try:
            scene, name = self._scene(message, number, payload)
            for made in self._made(scene, name):
                if made.event is not None:
                    events.append(made.event)
                elif made.problem:
                    rejects[len(events)] = raw = self._reject(message, name, made, scene)
                    events.append(Detail("MappingFailed", made.problem))
                    weight += len(raw)
                declined = declined or made.declined
                if weight > REJECT_BYTES_MAX or len(events) - start > ITEMS_MAX:
                    raise ValueError(_too_much(weight, made.problem))
            if len(events) == start and not declined:
                raise ValueError("nothing stands in it that the mapping takes")
        except ValueError as error:
            for place in range(start, len(events)):
                rejects.pop(place, None)
            del events[start:]
            problem = str(error)
            rejects[start] = self._reject(message, name or self._name(message, number), Made(problem=problem))
            events.append(Detail("MappingFailed", problem))

    def _made(self, scene: Scene, name: str) -> Iterator[Made]:
        for rule in self._rules:
            yield from rule.make(scene, name)

    def _scene(self, message: Message, number: int, known: Any = None) -> tuple[Scene, str]:
        """Return what is seen of a message, and its name; ValueError where it cannot be read.

        `known` is its payload, where that has been read.
        """
        mapping = self.mapping
        if isinstance(known, dict) and isinstance(message.payload, bytes):
            payload, size = known, len(message.payload)
        else:
            payload, size = self._payload(message)
        around = "".join(
            (message.topic or "", message.key or "", message.id or "", *message.headers.values())
        )
        clean = self._json and isinstance(message.payload, bytes) and b"\\u" not in message.payload
        topic: dict[str, str] = {}
        if mapping.topic is not None:
            found = None if message.topic is None else mapping.topic.match(message.topic)
            if found is None:
                raise ValueError(f"topic: {message.topic!r} does not fit {mapping.topic.text!r}")
            topic = found
        roots = {
            "payload": payload,
            "topic": topic,
            "headers": message.headers,
            "key": message.key,
            "received": message.received_us,
            "sent": message.sent_us,
            "item": None,
            "index": None,
            "name": None,
        }
        scene = Scene(roots, payload, size, clean and (around.isprintable() or not around))
        if self._id is not None:
            given = self._id(scene)
            if not isinstance(given, (str, int, float)) or given == "":
                raise ValueError("id: there is none")
            return scene, str(given)
        return scene, self._name(message, number)

    def _name(self, message: Message, number: int) -> str:
        """Return the name of a message that says none itself, the same when it comes again."""
        return message.id or _named(message, None if self._timed else number)

    def _payload(self, message: Message) -> tuple[Any, int]:
        payload = message.payload
        if not isinstance(payload, bytes):
            return payload, len(msgspec.json.encode(payload))
        try:
            return (self._decode(payload) if self._json else payload.decode()), len(payload)
        except msgspec.DecodeError as error:
            raise ValueError(f"the payload is not JSON: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"the payload is not UTF-8 at byte {error.start}") from error
        except RecursionError as error:
            raise ValueError("the payload is nested too deeply") from error

    def _reject(
        self,
        message: Message,
        name: str,
        made: Made,
        scene: Scene | None = None,
        broken: Broken | None = None,
    ) -> bytes:
        payload = message.payload
        if scene is not None and made.rule is not None and made.index is not None:
            payload = reduced(scene.roots["payload"], self.mapping.twins[made.rule].each, made)
        waiting = Unmapped(
            specversion="1.0",
            type=UNMAPPED,
            id=f"{name}:{made.place}" if made.place else name,
            source=self.mapping.source,
            problem=made.problem,
            mapping=self.mapping.label,
            contract=broken and broken.contract,
            code=broken and broken.code,
            place=broken and broken.place,
            rule=made.rule,
            index=made.index,
            # A message that names itself is the same one however often it is published.
            message=message.id if self._id is None or name == message.id else None,
            topic=message.topic,
            key=message.key,
            headers=dict(message.headers),
            sent_us=message.sent_us,
        )
        return pack(waiting, payload)


class Raws(Sequence[bytes]):
    """The bytes of events, encoded when they are asked for; of rejects, as they were packed."""

    def __init__(self, events: list[Event | Detail], rejects: dict[int, bytes]) -> None:
        self._events = events
        self._rejects = rejects

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index: Any) -> Any:
        found = self._rejects.get(index)
        return msgspec.json.encode(self._events[index]) if found is None else found


def _named(message: Message, number: int | None) -> str:
    """Return a name for a message that has none: the digest of what it says.

    Where no source time tells a repeat from a value that is still the same, the time of receipt and the place in
    its batch (`number`) are part of it.
    """
    payload = message.payload if isinstance(message.payload, bytes) else msgspec.json.encode(message.payload)
    parts = [message.topic or "", message.key or ""]
    if number is not None:
        parts += [str(message.received_us), str(number)]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))
    digest.update(payload)
    return digest.hexdigest()[:32]


def _received(event: Event | Detail, message: Message) -> Event | Detail:
    """Return an event that has a time: it was received then, and not when it was mended."""
    if isinstance(event, Event) and event.time is None:
        return msgspec.structs.replace(event, time=from_us(message.received_us))
    return event


def _too_much(weight: int, problem: str) -> str:
    if weight > REJECT_BYTES_MAX:
        return f"too many of its items do not fit the mapping for each to wait by itself; one is: {problem}"
    return f"it makes more than {ITEMS_MAX} events"
