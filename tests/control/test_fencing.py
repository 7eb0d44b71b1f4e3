"""Fencing against real programs: a machine is off when it says so, whatever a tool claims; nothing waits for ever."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.base import log as logs
from holdfast.base.limits import FENCE_ANSWER_CHARS, FENCE_OUTPUT_BYTES
from holdfast.base.run import pids_of, run_group
from holdfast.control.fencing.command import Command
from holdfast.control.fencing.config import Config, config_read
from holdfast.control.fencing.driver import Power, Secret
from holdfast.control.fencing.ipmi import Ipmi
from holdfast.control.fencing.power import Patience, Seen, machine_off, machine_power
from holdfast.control.fencing.redfish import Redfish
from tests.control.fence_tools import CANARY, Tool, ipmi_simulator, redfish_controller, tool

OBEYS = "case $action in off) echo off > $machine;; status) cat $machine;; esac"
SOON = Patience(ask_s=20, tries=3, settle_s=0.2, pause_s=0.02)
AT_ONCE = Patience(ask_s=0.5, tries=1, settle_s=0, pause_s=0.02)


def off(made: Tool, patience: Patience = SOON) -> Seen:
    return machine_off(Command([str(made.path)]), "node-1", patience)


def gone(needle: str) -> bool:
    """Wait until no process has this in its command line."""
    until = time.monotonic() + 30
    while pids_of(needle):
        if time.monotonic() > until:
            return False
        os.sched_yield()
    return True


def test_a_machine_that_was_switched_off_is_seen_off(tmp_path: Path) -> None:
    made = tool(tmp_path, f'echo "$HOLDFAST_FENCE_HOST" > {tmp_path}/host; {OBEYS}')
    assert machine_power(Command([str(made.path)]), "node-1", SOON).power is Power.ON
    seen = off(made)
    assert (seen.power, seen.kind, seen.asked, seen.tries) == (Power.OFF, "command", "off", 1)
    assert made.machine.read_text() == "off\n"
    assert (tmp_path / "host").read_text() == "node-1\n"
    assert made.calls == ["status", "off", "status"]


def test_a_tool_that_lies_is_reported_as_on(tmp_path: Path) -> None:
    made = tool(tmp_path, "case $action in status) cat $machine;; esac; exit 0")
    seen = off(made)
    assert (seen.power, seen.tries) == (Power.ON, SOON.tries)
    assert "on" in seen.answer


def test_a_tool_without_a_status_proves_nothing(tmp_path: Path) -> None:
    assert off(tool(tmp_path, "echo off; exit 0")).power is Power.OFF, "it did answer off"
    assert off(tool(tmp_path, "exit 0")).power is Power.UNKNOWN
    assert off(tool(tmp_path, "echo off; exit 3")).power is Power.UNKNOWN, "an answer that failed is none"


@pytest.mark.parametrize("words", ["OFFLINE", "off on", "power: off", "not off", "\\0377\\0376off", ""])
def test_garbage_is_unknown_and_never_off(tmp_path: Path, words: str) -> None:
    seen = off(tool(tmp_path, f"printf '{words}'"), dataclasses.replace(SOON, tries=1, settle_s=0))
    assert seen.power is Power.UNKNOWN


def test_a_tool_that_fails_twice_is_asked_again(tmp_path: Path) -> None:
    made = tool(
        tmp_path,
        f"if [ $action = off ] && [ $(grep -c off {tmp_path}/calls) -lt 3 ]; then echo busy >&2; exit 1; fi; {OBEYS}",
    )
    seen = off(made)
    assert (seen.power, seen.tries) == (Power.OFF, 3)


def test_one_that_fails_always_is_asked_a_bounded_number_of_times_and_its_words_are_kept(tmp_path: Path) -> None:
    made = tool(tmp_path, "case $action in off) echo no such outlet >&2; exit 4;; status) cat $machine;; esac")
    seen = off(made)
    assert (seen.power, seen.tries) == (Power.ON, 3)
    assert "status 4: no such outlet" in seen.answer
    assert made.calls.count("off") == 3


def test_a_hung_tool_is_killed_with_everything_that_it_started(tmp_path: Path) -> None:
    mark = f"30{os.getpid()}.25"
    made = tool(tmp_path, f"trap '' TERM INT HUP; sleep {mark} & while :; do sleep {mark}; done")
    seen = off(made, AT_ONCE)
    assert seen.power is Power.UNKNOWN
    assert "did not end in time" in seen.answer
    assert gone(f"sleep\0{mark}")
    assert gone(str(made.path))


def test_a_child_in_the_background_neither_holds_the_answer_up_nor_stays(tmp_path: Path) -> None:
    mark = f"31{os.getpid()}.25"
    seen = off(tool(tmp_path, f"sleep {mark} & {OBEYS}"))
    assert seen.power is Power.OFF
    assert gone(f"sleep\0{mark}")


def test_a_flood_is_read_to_its_end_and_kept_in_part(tmp_path: Path) -> None:
    flood = "head -c 100000000 /dev/zero | tr '\\0' x"
    ended = run_group(["/bin/sh", "-c", f"{flood}; {flood} >&2"], timeout_s=60, most_bytes=FENCE_OUTPUT_BYTES)
    assert (ended.status, len(ended.stdout), len(ended.stderr)) == (0, FENCE_OUTPUT_BYTES, FENCE_OUTPUT_BYTES)
    seen = off(tool(tmp_path, f"printf 'off\\n'; {flood}"), dataclasses.replace(SOON, ask_s=60, tries=1, settle_s=0))
    assert seen.power is Power.UNKNOWN
    assert len(seen.answer) <= FENCE_ANSWER_CHARS + 3


def test_off_then_blanks_without_end_is_no_answer(tmp_path: Path) -> None:
    blanks = "head -c 1000000 /dev/zero | tr '\\0' ' '"
    seen = off(tool(tmp_path, f"printf off; {blanks}; printf 'on'"), dataclasses.replace(SOON, tries=1, settle_s=0))
    assert seen.power is Power.UNKNOWN


def test_a_program_that_is_not_there_is_unknown_and_named() -> None:
    seen = machine_off(Command(["/nowhere/fence"]), "node-1", AT_ONCE)
    assert seen.power is Power.UNKNOWN
    assert "/nowhere/fence" in seen.answer


def test_a_tool_outlives_a_killed_control_process_by_its_bound_only(tmp_path: Path) -> None:
    made = tool(tmp_path, f"echo $$ > {tmp_path}/pid; trap '' TERM; while :; do sleep 3; done")
    code = (
        "from holdfast.control.fencing.power import *; from holdfast.control.fencing.command import Command\n"
        f"machine_power(Command(['{made.path}']), 'node-1', Patience(ask_s=1, tries=1, settle_s=0))"
    )
    control = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 30
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        os.sched_yield()
    control.send_signal(signal.SIGKILL)
    control.wait()
    assert gone(str(made.path))


@pytest.fixture
def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bmc(port: int, secret: str = CANARY) -> Ipmi:
    return Ipmi("127.0.0.1", "fence", Secret(secret), port, cipher_suite=3)


def test_ipmi_switches_a_real_simulated_machine_off(tmp_path: Path, udp_port: int) -> None:
    with ipmi_simulator(tmp_path, udp_port) as power:
        until = time.monotonic() + 30
        while machine_power(bmc(udp_port), "node-1", SOON).power is Power.UNKNOWN and time.monotonic() < until:
            os.sched_yield()
        assert machine_power(bmc(udp_port), "node-1", SOON).power is Power.ON
        wrong = machine_off(bmc(udp_port, "wrong"), "node-1", dataclasses.replace(SOON, tries=1, ask_s=4))
        assert wrong.power is Power.UNKNOWN
        assert power.exists()
        seen = machine_off(bmc(udp_port), "node-1", SOON)
        assert (seen.power, seen.kind) == (Power.OFF, "ipmi")
        assert not power.exists()


def test_ipmi_without_an_answer_is_unknown(udp_port: int) -> None:
    seen = machine_off(bmc(udp_port), "node-1", dataclasses.replace(AT_ONCE, ask_s=3))
    assert seen.power is Power.UNKNOWN


def test_no_password_is_seen_by_others_or_comes_back(
    tmp_path: Path, udp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(
        tmp_path,
        f"cat /proc/$$/cmdline /proc/$PPID/cmdline >> {tmp_path}/seen; echo $IPMI_PASSWORD > {tmp_path}/got\n"
        'echo "bad password $IPMI_PASSWORD"; echo "again $IPMI_PASSWORD" >&2; exit 1',
        "ipmitool",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with logs.into_file(tmp_path / "log", "test"):
        seen = machine_off(bmc(udp_port), "node-1", SOON)
    assert (tmp_path / "got").read_text().strip() == CANARY, "the tool did get it"
    assert "***" in seen.answer
    for text in ((tmp_path / "seen").read_text(), (tmp_path / "log").read_text(), repr(seen), repr(bmc(udp_port))):
        assert text
        assert CANARY not in text


def test_a_password_at_the_edge_of_a_flood_is_not_shown_in_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Zq7!" * 900
    (tmp_path / "secret").write_text(secret)
    made = tool(tmp_path, f"while cat {tmp_path}/secret; do :; done | head -c 300000", "python")
    monkeypatch.setattr(sys, "executable", str(made.path))
    seen = machine_power(Redfish("https://127.0.0.1", "fence", Secret(secret)), "node-1", SOON)
    assert "***" in seen.answer
    assert "Zq7" not in seen.answer


def test_redfish_switches_a_machine_off_over_verified_tls(tmp_path: Path) -> None:
    with redfish_controller(tmp_path) as controller, logs.into_file(tmp_path / "log", "test"):
        config = Redfish(controller.url, "fence", Secret(CANARY), ca=str(controller.certificate))
        assert machine_power(config, "node-1", SOON).power is Power.ON
        controller.obeys = False
        lied = machine_off(config, "node-1", dataclasses.replace(SOON, tries=1, settle_s=0))
        assert lied.power is Power.ON
        controller.power = "PoweringOff"
        assert machine_power(config, "node-1", SOON).power is Power.ON, "on its way is not there"
        controller.obeys = True
        seen = machine_off(config, "node-1", SOON)
        assert (seen.power, seen.kind, controller.power) == (Power.OFF, "redfish", "Off")
        assert not any("SessionService" in call for call in controller.calls), "no session is left on the controller"
        for text in (*controller.command_lines, (tmp_path / "log").read_text(), repr(config), repr(seen)):
            assert CANARY not in text
        assert any("redfish_call" in line for line in controller.command_lines)


def test_redfish_believes_nobody_without_the_right_certificate_or_password(tmp_path: Path) -> None:
    once = dataclasses.replace(SOON, tries=1, settle_s=0)
    with redfish_controller(tmp_path) as controller:
        controller.power = "Off"
        stranger = machine_power(Redfish(controller.url, "fence", Secret(CANARY)), "node-1", once)
        assert stranger.power is Power.UNKNOWN
        assert "certificate" in stranger.answer.lower()
        assert controller.calls == [], "nothing was said to it, the password least of all"
        wrong = Redfish(controller.url, "fence", Secret("wr0ng-Pass"), ca=str(controller.certificate))
        refused = machine_power(wrong, "node-1", once)
        assert refused.power is Power.UNKNOWN
        assert "wr0ng" not in refused.answer


def test_a_controller_that_answers_a_byte_now_and_then_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = Redfish(f"https://127.0.0.1:{silent.getsockname()[1]}", "fence", Secret(CANARY))
        assert machine_power(config, "node-1", dataclasses.replace(AT_ONCE, ask_s=2)).power is Power.UNKNOWN


def test_every_kind_reads_its_own_document() -> None:
    documents: dict[str, dict[str, object]] = {
        "command": {"kind": "command", "argv": ["/bin/true"]},
        "ipmi": {"kind": "ipmi", "address": "10.0.0.9", "username": "fence", "secret": CANARY},
        "redfish": {"kind": "redfish", "address": "https://bmc", "username": "fence", "secret": CANARY},
    }
    kinds: dict[str, type[Config]] = {"command": Command, "ipmi": Ipmi, "redfish": Redfish}
    for kind, document in documents.items():
        assert isinstance(config_read(document), kinds[kind])
