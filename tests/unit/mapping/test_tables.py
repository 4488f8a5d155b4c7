from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gemel.base.errors import InvalidError
from gemel.mapping.tables import TimeColumn, ValueColumn, load_mapping

GOOD: dict[str, Any] = {
    "version": 1,
    "source": "rig",
    "format": {"type": "csv", "delimiter": ";"},
    "time": {"column": "at", "format": "%Y-%m-%d %H:%M:%S", "zone": "UTC"},
    "twins": [
        {
            "twin": "rig-1",
            "model": "dtmi:x:Rig;1",
            "values": {
                "pressure": "P",
                "heat": {"column": "T", "unit": "degF", "to": "degC", "optional": True},
            },
            "constants": {"site": "Lab"},
        },
        {"twin": {"column": "device"}, "values": {"n": {"column": "N", "type": "integer"}}},
        {"twin": "{site}-{device}", "values": {"n": "N"}},
    ],
}


def write(folder: Path, content: object) -> Path:
    path = folder / "mapping.yaml"
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), "utf-8"
    )
    return path


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the good mapping with one key set, or removed where the value is `...`."""
    whole: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    *way, last = path.split("/")
    at: Any = whole
    for key in way:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return whole


def test_a_good_mapping_is_read_whole(tmp_path: Path) -> None:
    mapping = load_mapping(write(tmp_path, GOOD))
    assert mapping.time == TimeColumn("at", "%Y-%m-%d %H:%M:%S", "UTC")
    assert mapping.twins[0].values == (
        ValueColumn("pressure", "P"),
        ValueColumn("heat", "T", unit="degF", to="degC", optional=True),
    )
    assert mapping.twins[0].constants == {"site": "Lab"}
    assert [rule.twin.columns for rule in mapping.twins] == [(), ("device",), ("site", "device")]
    assert mapping.twins[2].twin.literals == ("", "-", "")
    assert mapping.columns == {"at", "P", "T", "N", "device", "site"}
    assert mapping.optional_columns == {"T"}


def test_the_digest_is_of_what_is_said_and_not_of_how(tmp_path: Path) -> None:
    one = load_mapping(write(tmp_path, GOOD))
    (tmp_path / "else").mkdir()
    again = load_mapping(write(tmp_path / "else", "# a comment\n" + yaml.safe_dump(GOOD)))
    other = load_mapping(write(tmp_path, changed("twins/0/values/pressure", "Q")))
    assert one.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("path", "value", "key", "said"),
    [
        ("version", 2, "version", "is 2: a mapping of messages"),
        ("version", ..., "version", "is missing"),
        ("sauce", 1, "sauce", "not a key known here"),
        ("revision", -1, "revision", "whole number from 0"),
        ("revision", True, "revision", "whole number from 0"),
        ("source", 7, "source", "must be text"),
        ("source", "", "source", "must be text"),
        ("format", "csv", "format", "must be keys with values"),
        ("format/type", "xls", "format.type", "csv, ndjson, parquet"),
        ("format/delimiter", ";;", "format.delimiter", "one ASCII character"),
        ("format/encoding", "utf-16", "format.encoding", "convert the file to UTF-8"),
        ("format/encoding", "klingon", "format.encoding", "convert the file to UTF-8"),
        ("format/header", "yes", "format.header", "true or false"),
        ("format", {"type": "parquet", "delimiter": ";"}, "format.delimiter", "not a key known here"),
        ("time/zone", "Mars/Olympus", "time.zone", "is not a zone"),
        ("time/zone", ..., "time.zone", "is missing"),
        ("time/format", "%H:%M", "time.format", "year"),
        ("time/format", "%Y %Q", "time.format", "strptime"),
        ("time/format", "epoch", "time.format", "unix_ms"),
        ("twins", [], "twins", "at least one"),
        ("twins", {"twin": "a"}, "twins", "at least one"),
        ("twins/0/twin", 17, "twins[0].twin", "is not a twin's id"),
        ("twins/0/twin", "{a", "twins[0].twin", "brace"),
        ("twins/0/twin", {"columns": "x"}, "twins[0].twin.column", "is missing"),
        ("twins/2/twin", "rig-1", "twins", "'rig-1' has 2 entries"),
        ("twins/0/values", {}, "twins[0].values", "is empty"),
        ("twins/0/values/pressure", 5, "twins[0].values.pressure", "must be keys"),
        ("twins/0/values/heat/typ", "x", "twins[0].values.heat.typ", "not a key known here"),
        ("twins/0/values/heat/type", "float", "twins[0].values.heat.type", "number, integer"),
        ("twins/0/values/heat/type", "integer", "twins[0].values.heat.type", "cannot be converted"),
        ("twins/0/values/heat/unit", ..., "twins[0].values.heat.unit", "is missing"),
        ("twins/0/values/heat/to", ..., "twins[0].values.heat.to", "is missing"),
        ("twins/0/values/heat/unit", "furlongg", "twins[0].values.heat.unit", "furlongg"),
        ("twins/0/values/heat/unit", "bar", "twins[0].values.heat.unit", "different things"),
        ("twins/0/constants/pressure", 1, "twins[0].constants.pressure", "under `values` too"),
        ("twins/0/constants/site", float("nan"), "twins[0].constants.site", "not a JSON value"),
        ("twins/0/constants/site", None, "twins[0].constants.site", "not a JSON value"),
        ("twins/0/name", "x", "twins[0].name", "Known: values, constants, twin, model"),
    ],
)
def test_an_error_names_file_and_key_and_what_to_do(
    tmp_path: Path, path: str, value: object, key: str, said: str
) -> None:
    mapping = write(tmp_path, changed(path, value))
    with pytest.raises(InvalidError) as caught:
        load_mapping(mapping)
    assert caught.value.code == "MappingInvalid"
    assert caught.value.message.startswith(f"{mapping}: {key}: ")
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nversion: 1\n", "line 2, column 1: the key 'version' stands there twice"),
        ("a: [1\nb: 2", "line 2"),
        ("", "must be keys"),
        ("- 1", "must be keys"),
        ("a: \x00", "is not YAML"),
        ("!!python/object/apply:os.system [ls]", "line 1"),
        ("1: 2\nversion: 1", "source: is missing"),
    ],
)
def test_what_is_not_a_mapping_file_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidError, match="MappingInvalid") as caught:
        load_mapping(write(tmp_path, text))
    assert said in caught.value.message


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="FileUnreadable") as caught:
        load_mapping(tmp_path / "none.yaml")
    assert "none.yaml" in caught.value.message
