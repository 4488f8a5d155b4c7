"""Models as a graph, as Mermaid text and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from gemel.models import ModelSet, graph_of, parse, to_mermaid, to_svg
from gemel.models.graph import Link, LinkKind, ModelGraph, short_name
from support.models import MOTOR, PUMP, SITE, interface

SVG = "{http://www.w3.org/2000/svg}"
ASSET_ID, MOTOR_ID, PUMP_ID = "dtmi:test:asset;1", "dtmi:test:motor;1", "dtmi:test:pump;1"
BOX_HEIGHT = 34


def link(name: str, target: str) -> dict[str, object]:
    return {"@type": "Relationship", "name": name, "target": target}


def station() -> ModelGraph:
    return graph_of(parse([MOTOR, SITE, PUMP]))


def boxes(svg: str) -> dict[str, tuple[float, float, float]]:
    """The left, top and width of the box of each model."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        (rect,) = group.iter(f"{SVG}rect")
        found[group.attrib["id"]] = tuple(float(rect.attrib[key]) for key in ("x", "y", "width"))
    return found  # type: ignore[return-value]


def test_links_are_drawn_where_they_are_stated() -> None:
    graph = station()
    assert graph.models == (ASSET_ID, MOTOR_ID, PUMP_ID)
    assert graph.outside == ()
    assert Link(ASSET_ID, ASSET_ID, LinkKind.RELATIONSHIP, ("feeds",)) in graph.links
    assert Link(PUMP_ID, ASSET_ID, LinkKind.EXTENDS) in graph.links
    assert [each.names for each in graph.links if each.kind is LinkKind.COMPONENT] == [("motor",)]
    assert not any(each.source == PUMP_ID and "feeds" in each.names for each in graph.links)


def test_links_to_the_same_model_are_one_with_several_names() -> None:
    model = interface("dtmi:test:a;1", link("r", "dtmi:test:far;1"), link("s", "dtmi:test:far;1"))
    graph = graph_of(parse([model]))
    assert graph.outside == ("dtmi:test:far;1",)
    assert graph.links == (Link("dtmi:test:a;1", "dtmi:test:far;1", LinkKind.RELATIONSHIP, ("r", "s")),)


def test_short_names() -> None:
    assert short_name("dtmi:a:b:Pump;1") == "Pump 1"
    assert short_name("dtmi:a:Pump;1.2") == "Pump 1.2"
    assert short_name("dtmi:a:Pump") == "Pump"


def test_mermaid() -> None:
    graph = graph_of(parse([interface("dtmi:test:a;1", link("r", "dtmi:test:far;1"))]))
    assert to_mermaid(graph).splitlines() == [
        "classDiagram",
        '  class m0["a 1"]',
        '  class m1["far 1"]',
        "  <<elsewhere>> m1",
        "  m0 --> m1 : r",
    ]
    lines = to_mermaid(station()).splitlines()
    assert "  m2 --|> m0" in lines
    assert "  m2 *-- m1 : motor" in lines


def test_the_picture_has_every_model_and_link_and_needs_nothing_else() -> None:
    svg = to_svg(station())
    root = ElementTree.fromstring(svg)
    assert set(boxes(svg)) == {ASSET_ID, MOTOR_ID, PUMP_ID}
    lines = [each for each in root.findall(f"{SVG}path") if "class" in each.attrib]
    assert sorted(each.attrib["class"] for each in lines) == sorted(each.kind for each in station().links)
    labels = [each.text for each in root.findall(f"{SVG}text")]
    assert {"feeds", "motor"} <= set(labels)
    assert svg.count("http") == 1
    assert "href" not in svg
    assert "import" not in svg


def test_bases_stand_above_their_heirs() -> None:
    placed = boxes(to_svg(station()))
    assert placed[ASSET_ID][1] < placed[PUMP_ID][1]


@pytest.mark.parametrize("count", [1, 7, 60])
def test_no_box_covers_another(count: int) -> None:
    models = [
        interface(f"dtmi:test:{'long' * (number % 5)}m{number};1", **_base(number)) for number in range(count)
    ]
    svg = to_svg(graph_of(parse(models)))
    placed = list(boxes(svg).values())
    assert len(placed) == count
    width, height = (float(ElementTree.fromstring(svg).attrib[key]) for key in ("width", "height"))
    for index, (left, top, wide) in enumerate(placed):
        assert left > 0
        assert left + wide < width
        assert 0 < top < height - BOX_HEIGHT
        for other_left, other_top, other_wide in placed[:index]:
            beside = left + wide <= other_left or other_left + other_wide <= left
            assert beside or abs(top - other_top) >= BOX_HEIGHT


def _base(number: int) -> dict[str, str]:
    base = number // 3
    return {"extends": f"dtmi:test:{'long' * (base % 5)}m{base};1"} if number else {}


def test_no_models_make_an_empty_picture() -> None:
    graph = graph_of(ModelSet())
    assert to_mermaid(graph) == "classDiagram\n"
    assert boxes(to_svg(graph)) == {}


def test_the_same_models_make_the_same_picture() -> None:
    assert to_svg(station()) == to_svg(graph_of(parse([PUMP, SITE, MOTOR])))
