"""`holdfast smoke` against a cloud of real processes. Simulated guests have no ssh: that one step is answered here."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from holdfast.validate import ec2_side, openstack_side
from tests.cli.command_line import holdfast

API = pytest.mark.parametrize("api", ["--ec2", "--openstack"])


@pytest.fixture
def guests_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for side in (ec2_side, openstack_side):
        monkeypatch.setattr(side, "command_answers", lambda reach, mark: True)


@pytest.fixture(autouse=True)
def temporary_files_are_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def keys_left(directory: Path) -> list[Path]:
    return list(directory.glob("holdfast-smoke-*"))


@API
def test_ten_steps_go_well_and_leave_nothing(here: Path, guests_answer: None, api: str, tmp_path: Path) -> None:
    ran = holdfast("smoke", api)
    assert keys_left(tmp_path) == []
    assert ran.status == 0, ran.out + ran.err
    assert "All steps went well, nothing was left behind" in ran.out
    assert [line.split()[0] for line in ran.out.splitlines()[2:12]] == [str(number) for number in range(1, 11)]


@API
def test_clients_side_by_side_do_not_meet(here: Path, guests_answer: None, api: str, tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    ran = holdfast("smoke", api, "--clients", "3", "--loops", "2", "--json", "--junit", report)
    assert ran.status == 0, ran.out
    end = ran.events[-1]
    assert (end["event"], end["failed"], end["left"]) == ("end", False, [])
    assert [step["ok"] for step in end["steps"]] == [6] * 10
    assert len(ElementTree.parse(report).findall(".//testcase")) == 61


@pytest.mark.parametrize("words", [["--ec2"], ["--ec2", "--elastic"], ["--openstack"]])
def test_a_guest_that_does_not_answer_fails_and_is_removed(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    for side in (ec2_side, openstack_side):
        monkeypatch.setattr(side, "SMOKE_SSH_S", 2)  # the console arrives in the meantime
        monkeypatch.setattr(side, "command_answers", lambda reach, mark: False)
    ran = holdfast("smoke", *words, "--json")
    assert ran.status == 1
    failed = [event for event in ran.events if event.get("result") == "failed"]
    assert [event["step"] for event in failed] == ["ssh a command"]
    assert "simulated machine" in failed[0]["console"]
    assert ran.events[-1]["left"] == []
    assert holdfast("list", "--json").json == []


def test_a_failed_guest_is_kept_when_that_is_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ec2_side, "SMOKE_SSH_S", 0)
    monkeypatch.setattr(ec2_side, "command_answers", lambda reach, mark: False)
    ran = holdfast("smoke", "--ec2", "--keep-failed", "--json")
    assert ran.status == 1
    assert next(tmp_path.glob("holdfast-smoke-*/key")).stat().st_mode & 0o777 == 0o600
    assert str(tmp_path) in ran.events[-2]["detail"]
    assert {key.split()[0] for key in ran.events[-1]["left"]} >= {"instance", "key", "security"}
    assert len(holdfast("list", "--json").json) == 1


def test_an_image_that_is_not_there_fails_at_its_step_and_leaves_nothing(here: Path) -> None:
    for api in ("--ec2", "--openstack"):
        ran = holdfast("smoke", api, "--image", "nix")
        assert ran.status == 1
        assert "step 2 find image" in ran.out
        assert "there are: tiny" in ran.out


def test_something_that_somebody_leaves_behind_is_found(
    here: Path, guests_answer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(self: Any) -> None:
        self._has_key_pair = False

    monkeypatch.setattr(openstack_side.OpenStackSide, "key_delete", forget)
    ran = holdfast("smoke", "--openstack")
    assert ran.status == 1
    assert "left behind: key pair smoke-" in ran.out


@pytest.mark.parametrize(
    "words", [["--clients", "0"], ["--loops", "0"], ["--clients", "65"], ["--openstack", "--elastic"]]
)
def test_what_makes_no_sense_is_refused(here: Path, words: list[str]) -> None:
    assert holdfast("smoke", *words).status == 2
