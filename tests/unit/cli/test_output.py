"""What commands print is what there is, whatever the terminal library would make of it."""

import pytest

from gemel.cli import output


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`:o:` and `[red]` mean something to the library that draws; in ids and names they mean themselves."""
    output.note("dtmi:o:Pump;1 [red]")
    output.print_table(["dtmi:o:Pump;1", "[red]"], [["dtmi:o:Pump;1", "[bold]"]], title="of :o: [red]")
    printed = capsys.readouterr()
    assert printed.err == "dtmi:o:Pump;1 [red]\n"
    rows = [line.split() for line in printed.out.splitlines() if line.strip() and "─" not in line]
    assert rows == [["of", ":o:", "[red]"], ["dtmi:o:Pump;1", "[red]"], ["dtmi:o:Pump;1", "[bold]"]]
