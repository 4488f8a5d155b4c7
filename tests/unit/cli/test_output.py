"""What commands print is what there is, whatever the terminal library would make of it."""

import json

import pytest
from rich.text import Text

from gemel.base.errors import Detail, InvalidError
from gemel.cli import output
from gemel.cli.marked import marked


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`:o:` and `[red]` mean something to the library that draws; in ids and names they mean themselves."""
    output.note("dtmi:o:Pump;1 [red]")
    output.print_table(["dtmi:o:Pump;1", "[red]"], [["dtmi:o:Pump;1", "[bold]"]], title="of :o: [red]")
    printed = capsys.readouterr()
    assert printed.err == "dtmi:o:Pump;1 [red]\n"
    rows = [line.split() for line in printed.out.splitlines() if line.strip() and "─" not in line]
    assert rows == [["of", ":o:", "[red]"], ["dtmi:o:Pump;1", "[red]"], ["dtmi:o:Pump;1", "[bold]"]]


def test_what_a_device_sent_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids, payloads and messages come from outside: their control characters are written out."""
    evil = "a\x1b[31m\x1b]0;title\x07\x9b2J\r\x7f"
    told = r"a\u001b[31m\u001b]0;title\u0007\u009b2J\u000d\u007f"
    output.note(evil)
    output.show_error(
        InvalidError("InvalidArgument", evil, evil, (Detail("InvalidArgument", evil),)), as_json=False
    )
    output.print_table(["subject", "state"], [[evil, Text(evil, "red")]])
    for line in [*marked(evil, None), *marked(json.dumps({"a": evil}, ensure_ascii=False), None)]:
        output.console().print(line, soft_wrap=True)
    printed = capsys.readouterr()
    assert printed.err.count(told) == 4
    assert told in printed.out
    assert not {"\x1b", "\x07", "\x9b", "\r", "\x7f"} & set(printed.out + printed.err)
