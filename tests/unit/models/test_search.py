from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemel.models import Hit, parse, search_models
from support.models import interface, prop

MODELS = parse(
    [
        interface("dtmi:site:Pump;1", prop("flowRate"), displayName="Pump", description="Moves water"),
        interface(
            "dtmi:site:HeatPump;1",
            {"@type": "Telemetry", "name": "supply", "schema": "double", "displayName": "Water temperature"},
            extends="dtmi:site:Pump;1",
        ),
        interface("dtmi:site:Tank;2", displayName={"en": "Tank", "de": "Wasserbehälter"}),
    ]
)


def ids(text: str) -> list[str]:
    return [hit.model_id for hit in search_models(MODELS, text)]


def test_whole_words_of_names_come_first_and_case_does_not_matter() -> None:
    assert ids("PUMP") == ["dtmi:site:HeatPump;1", "dtmi:site:Pump;1"]
    assert ids("pump")[0] == "dtmi:site:HeatPump;1", "equal scores go by id"
    assert ids("tank") == ["dtmi:site:Tank;2"]
    assert ids("behälter") == ["dtmi:site:Tank;2"], "inside a longer word, in any language"


def test_every_word_must_be_there_wherever_it_stands() -> None:
    assert ids("water pump") == ["dtmi:site:HeatPump;1", "dtmi:site:Pump;1"]
    assert ids("pump behälter") == []
    assert ids("site moves") == ["dtmi:site:Pump;1"]


def test_humps_are_words_and_what_is_inherited_is_found_at_its_base() -> None:
    assert search_models(MODELS, "rate") == [Hit("dtmi:site:Pump;1", 3 * 4, ("flowRate",))]
    assert search_models(MODELS, "temperature")[0].places == ("supply",)


def test_nothing_to_look_for_finds_nothing() -> None:
    assert ids("") == ids(" .;: ") == []


@given(st.text(max_size=30))
def test_any_text_is_taken(text: str) -> None:
    assert set(ids(text)) <= MODELS.ids
