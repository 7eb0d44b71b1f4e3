"""What is printed: safe, aligned, and plain where nobody looks."""

from __future__ import annotations

import io
import json

import pytest

from holdfast.cli.output import Output, age
from holdfast.client.text import console_text, instant_s, one_line

HOSTILE = "a\x1b]0;owned\x07\x1b[2Jb\rc\nd\u202ee\x9b31m\u2028f"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("hostile", [HOSTILE, "\x00", "\x7f", "\ud800", "\u200b\u200f\u2066"])
def test_a_name_reaches_a_terminal_without_control_characters(hostile: str) -> None:
    stream = Terminal()
    output = Output(stream=stream)
    output.line(hostile)
    output.table(("NAME",), [(hostile,)])
    shown = stream.getvalue()
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert shown.count("\n") == 3


def test_a_name_that_is_only_foreign_is_shown_as_it_is() -> None:
    assert one_line("Åse 樹 🐙") == "Åse 樹 🐙"


def test_a_console_keeps_its_lines_and_nothing_else_that_moves_the_cursor() -> None:
    assert console_text("a\r\n\x1b[31mb\tc\n") == "a\n\\x1b[31mb\tc\n"


def test_json_is_one_document_per_line_whatever_a_name_holds() -> None:
    stream = io.StringIO()
    output = Output(True, stream)
    output.event("server", server=HOSTILE)
    output.line("for people")
    output.phase("ok", "ssh", HOSTILE, 1.0)
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["server", "phase"]
    assert json.loads(lines[0])["server"] == HOSTILE


def test_colour_and_moving_lines_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream, moves in ((Terminal(), True), (io.StringIO(), False)):
        output = Output(stream=stream)
        output.waiting("ssh")
        output.phase("ok", "ssh", "answered", 1.0)
        assert ("\x1b[" in stream.getvalue()) is moves
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Output(stream=stream).phase("ok", "ssh", "answered", 1.0)
    assert "\x1b[3" not in stream.getvalue()


def test_a_phase_without_a_terminal_begins_with_the_time_of_day() -> None:
    stream = io.StringIO()
    Output(stream=stream).phase("ok", "running", "yes", 2.25)
    assert stream.getvalue()[:2] == "20"
    assert stream.getvalue().rstrip().endswith("2.2s")


@pytest.mark.parametrize(("seconds", "shown"), [(-5, "0s"), (119, "119s"), (600, "10m"), (90_000, "25h"), (9e5, "10d")])
def test_an_age_is_short(seconds: float, shown: str) -> None:
    assert age(seconds) == shown


def test_an_instant_is_read_with_and_without_parts_of_a_second() -> None:
    assert instant_s("2026-11-21T03:20:00Z") == instant_s("2026-11-21T03:20:00.999999Z") == 1_795_231_200
    with pytest.raises(ValueError):
        instant_s("yesterday")
