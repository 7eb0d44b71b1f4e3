"""The command line itself: every command helps, examples work, docs are the parser's, mistakes are one line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from holdfast.cli.commands import COMMANDS, Command, command_named, parser_of
from holdfast.cli.reference import reference
from tests.cli.command_line import holdfast

ROOT = Path(__file__).parent.parent.parent
EVERY = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))


@EVERY
def test_help_of_a_command_ends_with_an_example(command: Command) -> None:
    ran = holdfast(command.name, "--help")
    assert ran.status == 0
    assert ran.out.rstrip().endswith(command.example)
    assert not ran.err


@EVERY
def test_the_example_of_a_command_is_one_that_the_parser_takes(command: Command) -> None:
    text = command.example.partition(" >")[0].removeprefix('eval "$(').removesuffix(')"').removeprefix("sudo ")
    words = shlex.split(text)
    assert words[0] == "holdfast"
    assert parser_of(command.name).parse_args(words[1:]).command == command.name


@EVERY
def test_every_argument_says_what_it_is_for(command: Command) -> None:
    section = next(part for part in reference().split("\n## holdfast ") if part.startswith(command.name))
    assert "None" not in section


def test_the_document_is_what_the_parser_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "python -m holdfast.cli.reference > docs/cli.md"


def test_help_names_every_command_without_importing_any() -> None:
    out = holdfast("--help").out
    listed = {line.split()[0] for line in out.splitlines() if line.startswith("    ") and line[4:5].strip()}
    assert {command.name for command in COMMANDS} <= listed


@pytest.mark.parametrize("words", [["lst"], ["lst", "--json"], ["list", "--nonsense"], ["show"], ["rm"], ["up", "x"]])
def test_a_wrong_command_line_is_one_line_and_status_2(words: list[str]) -> None:
    ran = holdfast(*words)
    assert ran.status == 2
    assert not ran.out
    assert len(ran.err.splitlines()) == 1
    assert "next: holdfast" in ran.err


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant() -> None:
    assert "next: holdfast launch" in holdfast("lanch").err


def test_no_command_at_all_is_answered_with_help() -> None:
    ran = holdfast()
    assert ran.status == 2
    assert "first steps" in ran.out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["list"], "list"),
        (["--state", "rm", "list"], "list"),
        (["--state=rm", "--json", "show", "rm"], "show"),
        (["--help"], None),
        (["--state"], None),
    ],
)
def test_the_command_is_found_behind_options(words: list[str], found: str | None) -> None:
    assert command_named(words) == found


@pytest.mark.parametrize("words", [["--json", "--state", "/s", "list"], ["list", "--json", "--state", "/s"]])
def test_common_options_stand_before_or_after_the_command(words: list[str]) -> None:
    options = parser_of("list").parse_args(words)
    assert (options.json, options.state, options.admin) == (True, "/s", False)


def test_the_state_directory_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", "/elsewhere")
    assert parser_of("list").parse_args(["list"]).state == "/elsewhere"


def test_the_version_is_printed() -> None:
    assert holdfast("--version").out.startswith("holdfast ")
