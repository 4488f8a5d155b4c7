from __future__ import annotations

from gemel.cli.sse import EventStream, ServerEvent


def events(lines: list[str]) -> list[ServerEvent]:
    return list(EventStream(lines))


def test_events_have_their_kind_data_and_the_last_id() -> None:
    lines = ["id: 7", "event: twin.created", 'data: {"a": 1}', "", "data: x", "", ""]
    assert (events(lines)) == [
        ServerEvent("twin.created", '{"a": 1}', "7"),
        ServerEvent("message", "x", "7"),
    ]


def test_lines_of_data_are_joined_and_only_one_space_is_taken_away() -> None:
    assert (events(["data:a", "data:  b", "data", ""])) == [ServerEvent("message", "a\n b\n", "")]


def test_comments_unknown_fields_and_empty_events_are_passed_over() -> None:
    assert (events([": keep-alive", "", "retry: 10", "event: x", "", "data: y", ""])) == [
        ServerEvent("message", "y", "")
    ]


def test_an_event_cut_off_by_the_end_is_dropped() -> None:
    assert (events(["data: a", "", "id: 9", "data: b"])) == [ServerEvent("message", "a", "")]


def test_an_id_alone_moves_the_place_of_the_next_event() -> None:
    assert (events(["id: 5", "", "data: x", ""])) == [ServerEvent("message", "x", "5")]


def test_the_place_to_resume_from_is_that_of_whole_events_with_or_without_data() -> None:
    stream = EventStream(["id: 5", "", ": alive", "id: 6", "data: cut off"], "4")
    assert list(stream) == []
    assert stream.last_id == "5"
