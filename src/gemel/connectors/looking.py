"""Rows of files and events without a mapping before the watch of a source: what breaks its contract is set aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gemel.base.clock import now_us
from gemel.connectors.kafka_messages import KafkaMessage
from gemel.connectors.kafka_messages import Reader as KafkaReader
from gemel.connectors.mqtt_payloads import Payloads
from gemel.connectors.rows import Chunk
from gemel.contracts.columns import Columns
from gemel.contracts.events import hold_back
from gemel.contracts.reading import column_readers
from gemel.contracts.tables import CellColumns
from gemel.contracts.watching import Place, Watch
from gemel.ingest.events import Decoded
from gemel.mapping.watched import Broken
from gemel.outbound.mqtt_wire import Publish

__all__ = ["WatchedPayloads", "WatchedReader", "row_looker"]


def row_looker(watch: Watch, kind: str) -> Callable[[Chunk], Mapping[int, Broken]]:
    """Return what shows rows to a watch; those of CSV are read as what the contract says that they are."""
    readers = column_readers(watch.contract)

    def look(chunk: Chunk) -> Mapping[int, Broken]:
        columns = Columns(chunk.objects) if chunk.objects is not None else _cells(chunk)
        faults = {row.number: f"{row.problem}: {row.text}" for row in chunk.malformed}
        return watch.look_at(chunk.numbers, columns, now_us(), Place.ROW, faults)

    def _cells(chunk: Chunk) -> Columns:
        cells: dict[str, Sequence[Any]] = dict(chunk.cells)
        if kind == "csv":
            for name, column in cells.items():
                reader = readers.get(name)
                cells[name] = [cell or None for cell in column] if reader is None else reader(column)
        return CellColumns(cells, len(chunk.numbers))

    return look


class WatchedReader:
    """Reads messages of Kafka as events, and shows them to a watch."""

    def __init__(self, reader: KafkaReader, watch: Watch) -> None:
        self._reader = reader
        self._watch = watch

    async def prepare(self, messages: Sequence[KafkaMessage]) -> None:
        """Get what decoding these messages needs."""
        await self._reader.prepare(messages)

    def decode(self, messages: Sequence[KafkaMessage], received_us: int) -> Decoded:
        """Return the events of messages, in order, or why one is not to be taken."""
        decoded = self._reader.decode(messages, received_us)
        hold_back(self._watch, decoded, received_us)
        return decoded


class WatchedPayloads:
    """Reads messages of MQTT as events, and shows them to a watch."""

    def __init__(self, payloads: Payloads, watch: Watch) -> None:
        self._payloads = payloads
        self._watch = watch

    def decode(self, messages: Sequence[Publish], names: Sequence[str | None], received_us: int) -> Decoded:
        """Return the events of messages, in order, or why one is not to be taken."""
        decoded = self._payloads.decode(messages, names, received_us)
        hold_back(self._watch, decoded, received_us)
        return decoded
