"""New fields that are accepted: what of an event lands, what is left out and counted, and nothing else is gone."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gemel.contracts.document import parse_contract
from gemel.contracts.events import hold_back
from gemel.contracts.watching import Sighting, Watch
from gemel.graph.directory import BoundSlot, BoundType, DirectoryView, TwinRef
from gemel.history.paths import PATH_BITS
from gemel.ingest.arrow import decode_arrow
from gemel.ingest.events import LINES, Decoded, Event, decode_body
from gemel.ingest.resolve import Resolved, TimeRules
from gemel.ingest.resolve_table import resolve_batch
from gemel.mapping.samples import leaves_of
from gemel.models import compile_twin_type, parse
from gemel.store.database import Epochs
from support.arrow import Row, json_lines, stream_of, table_of

NOW_US = 1_769_860_800_000_000
RULES = TimeRules(NOW_US, NOW_US + 1, 0)
MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:P;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Telemetry", "name": "flow", "schema": "double"},
        {"@type": "Telemetry", "name": "spare", "schema": "double"},
    ],
}
TWIN_TYPE = compile_twin_type(parse([MODEL]), MODEL["@id"])
PATHS = {path: number for number, path in enumerate(TWIN_TYPE.slots, 1)}
BOUND = BoundType(TWIN_TYPE, {path: BoundSlot(PATHS[path], slot) for path, slot in TWIN_TYPE.slots.items()})
VIEW = DirectoryView({"t": TwinRef(1, BOUND, 0, 0, 2**62)}, Epochs(0, 0))
NAMES = ("flow", "spare", "motor", "motor.speed", "pipe", "pipe.width", "lacking", "odd", "odd.er", 'q"x')
FEW = ("flow", "motor", "motor.speed", "odd")
FIELDS = ("flow", "motor.speed", "pipe", "lacking")
CONTRACTS = st.sets(st.sampled_from(FIELDS), min_size=1).map(
    lambda fields: parse_contract(
        json.dumps(
            {"contract": "c", "version": "1.0", "fields": {f"data.{field}": {} for field in sorted(fields)}}
        ).encode(),
        "c",
    )
)
NUMBERS = st.floats(-9, 9)
VALUES = st.one_of(
    NUMBERS,
    NUMBERS,
    st.recursive(NUMBERS, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)),
)


def shown(decoded: Decoded, watch: Watch) -> Resolved:
    hold_back(watch, decoded, NOW_US)
    return resolve_batch(decoded.events, VIEW, RULES._replace(spare=decoded.spare))


def landed(resolved: Resolved) -> list[dict[str, float]]:
    """Return the values of each event by path; events that wait have none."""
    found: dict[int, dict[str, float]] = {}
    of_number = {number: path for path, number in PATHS.items()}
    for place, owner in enumerate(resolved.owner.tolist()):
        row = resolved.batch.row(place)
        found.setdefault(owner, {})[of_number[int(row.series) & ((1 << PATH_BITS) - 1)]] = float(
            resolved.batch.num[place]
        )
    count = max([-1, *found, *resolved.faults]) + 1
    return [found.get(owner, {}) for owner in range(count)]


@given(
    CONTRACTS, st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1), min_size=1, max_size=8)
)
def test_each_value_lands_or_waits_or_is_counted_as_new(
    contract: Any, given_data: list[dict[str, Any]]
) -> None:
    decoded = decode_body(
        json_lines([Row("t", NOW_US - n, data) for n, data in enumerate(given_data)]), LINES
    )
    watch = Watch(contract, NOW_US)
    resolved = shown(decoded, watch)
    counted = {sighting: each.count for sighting, each in watch.take_drift().items()}
    lands = landed(resolved)
    lost: dict[Sighting, int] = {}
    for number, (data, taken) in enumerate(zip(given_data, lands, strict=True)):
        assert isinstance(decoded.events[number], Event)
        if number in resolved.faults:
            assert taken == {}
            continue
        assert taken == {path: value for path, value in data.items() if path in PATHS}
        for path in data.keys() - taken.keys():
            fields = [field for field, _ in leaves_of({"data": {path: data[path]}})]
            assert fields, f"{path} is gone, and nobody could tell"
            for field in fields:
                sighting = Sighting("new", field)
                lost[sighting] = lost.get(sighting, 0) + 1
    for sighting, count in lost.items():
        assert counted.get(sighting, 0) >= count
    # What waits has nothing that could land by itself, or says what the contract knows and the model does not.
    for number in resolved.faults:
        data = given_data[number]
        known = [path for path in data if path in PATHS and isinstance(data[path], float)]
        firm = [path for path in data if path not in PATHS and not watch.is_new(path, data[path])]
        assert firm or not known or any(isinstance(data[path], dict) for path in data if path in PATHS)


@given(
    CONTRACTS,
    st.lists(st.dictionaries(st.sampled_from(FEW), NUMBERS, min_size=1), min_size=1, max_size=4),
)
def test_json_and_arrow_are_dealt_with_alike(contract: Any, given_data: list[dict[str, Any]]) -> None:
    rows = [Row("t", NOW_US - n, data) for n, data in enumerate(given_data)]
    found = []
    for decoded in (
        decode_body(json_lines(rows), LINES),
        decode_arrow(stream_of(table_of(rows, wide=True))),
    ):
        watch = Watch(contract, NOW_US)
        resolved = shown(decoded, watch)
        drift = {sighting: each.count for sighting, each in watch.take_drift().items()}
        codes = {number: fault.code for number, fault in sorted(resolved.faults.items())}
        found.append((landed(resolved), codes, drift))
    assert found[0] == found[1]
