"""Every command against a cloud of real processes, whose guests are simulated."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.run import pids_of
from holdfast.client.cloud import Cloud
from holdfast.client.connection import Http
from holdfast.client.credentials import credentials_find
from holdfast.client.keys import private_key_ensure
from holdfast.client.networks import MADE_BY_LAUNCH, SSH_GROUP
from tests.cli.command_line import Ran, holdfast

LAUNCH = ("launch", "--wait-s", "1")  # simulated guests have no console and no ssh: late is all they can be


def demo(state: Path) -> Cloud:
    return Cloud(Http(), credentials_find(state, False, {}))


def launched(name: str, *words: str) -> Ran:
    ran = holdfast(*LAUNCH, name, *words)
    assert ran.status == 0, ran.out + ran.err
    return ran


def listed() -> dict[str, Any]:
    return {server["name"]: server for server in holdfast("list", "--json").json}


def test_an_empty_cloud_says_what_to_do_next(here: Path) -> None:
    assert holdfast("list").out == "no servers; next: holdfast launch\n"


def test_the_state_directory_is_in_the_next_command_when_it_was_named(here: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("HOLDFAST_STATE")
    assert holdfast("list", "--state", here).out == f"no servers; next: holdfast --state {here} launch\n"
    assert f"next: holdfast --state {here} list" in holdfast("show", "x", "--state", here).err
    monkeypatch.setenv("HOLDFAST_STATE", str(here))


def test_a_launched_server_runs_and_has_a_public_address(here: Path) -> None:
    ran = launched("web")
    assert "running, booted not yet (waited 1 s)" in ran.out
    assert "next: holdfast wait web" in ran.out
    server = listed()["web"]
    assert server["status"] == "ACTIVE"
    assert len(server["public_addresses"]) == 1
    table = holdfast("list").out.splitlines()
    assert table[0].split() == ["NAME", "STATUS", "ADDRESS", "PUBLIC", "FLAVOR", "AGE", "ID"]
    assert table[1].split()[:2] == ["web", "ACTIVE"]
    assert server["public_addresses"][0] in holdfast("show", "web").out
    (held,) = [line for line in holdfast("net", "pools").out.splitlines() if server["public_addresses"][0] in line]
    assert "floating ip" in held and " demo " in held and " web " in held
    pools = holdfast("net", "pools", "--json").json
    assert {each["state"] for each in pools["addresses"]} == {"held"} and pools["pools"][0]["cooling"] == 0


def test_launch_without_a_name_gives_one(here: Path) -> None:
    ran = holdfast(*LAUNCH, "--no-public")
    assert ran.status == 0
    assert list(listed()) == [ran.out.split()[0]]


def test_a_launch_that_is_repeated_makes_no_second_server(here: Path) -> None:
    launched("web")
    before = listed()
    assert "(was there)" in launched("web").out
    assert listed() == before


def test_a_launch_that_was_cut_short_is_completed_by_the_next(here: Path) -> None:
    launched("web", "--no-public")
    assert listed()["web"]["public_addresses"] == []
    launched("web")
    assert len(listed()["web"]["public_addresses"]) == 1


def test_a_server_that_launch_did_not_make_is_left_alone(here: Path) -> None:
    launched("web", "--no-public")
    cloud = demo(here)
    server_id = listed()["web"]["id"]
    cloud.call("PUT", "compute", f"/servers/{server_id}/metadata", {"metadata": {}})
    ran = holdfast(*LAUNCH, "web")
    assert ran.status == 4
    assert "launch did not make it" in ran.err


def test_several_are_launched_side_by_side(here: Path) -> None:
    ran = holdfast(*LAUNCH, "db", "--count", "2", "--no-public", "--json")
    assert sorted(listed()) == ["db-1", "db-2"]
    assert {event["server"] for event in ran.events if event["event"] == "launched"} == {"db-1", "db-2"}
    assert holdfast(*LAUNCH, "--count", "0").status == 2


def test_launch_makes_its_key_and_its_group_once(here: Path) -> None:
    launched("a", "--no-public")
    launched("b", "--no-public")
    cloud = demo(here)
    pairs = [each["keypair"]["name"] for each in cloud.pages("compute", "/os-keypairs", "keypairs")]
    assert pairs == ["holdfast"]
    groups = list(cloud.pages("network", "/security-groups", "security_groups"))
    ours = [group for group in groups if group["name"] == SSH_GROUP]
    assert len(ours) == 1
    opened = [
        (r["protocol"], r["port_range_min"]) for r in ours[0]["security_group_rules"] if r["direction"] == "ingress"
    ]
    assert sorted(opened, key=str) == [("icmp", None), ("tcp", 22)]
    key = here / "client" / "holdfast_ed25519"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_ones_own_key_is_for_one_server_and_goes_with_it(here: Path, tmp_path: Path) -> None:
    private_key_ensure(tmp_path / "mine")
    launched("web", "--no-public", "--key", str(tmp_path / "mine"))
    cloud = demo(here)
    assert "holdfast-web" in [p["keypair"]["name"] for p in cloud.pages("compute", "/os-keypairs", "keypairs")]
    assert holdfast("rm", "web").status == 0
    assert "holdfast-web" not in [p["keypair"]["name"] for p in cloud.pages("compute", "/os-keypairs", "keypairs")]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--image", "nix"], 3, "no image is named 'nix'; there are: tiny; next: holdfast images"),
        (["--flavor", "nix"], 3, "no flavor is named 'nix'; there are: m1."),
        (["--network", "nix"], 3, "no network is named 'nix'; there are: private"),
        (["--key", "/nonexistent/key"], 2, "/nonexistent/key.pub is no public key"),
        (["--user-data", "/nonexistent"], 2, "--user-data: /nonexistent cannot be read"),
    ],
)
def test_what_launch_cannot_find_is_named_before_anything_is_made(
    here: Path, words: list[str], status: int, said: str
) -> None:
    ran = holdfast(*LAUNCH, "web", *words)
    assert (ran.status, ran.out) == (status, "")
    assert said in ran.err
    assert listed() == {}


def test_rm_removes_the_address_and_sees_the_server_gone(here: Path) -> None:
    launched("web")
    cloud = demo(here)
    assert len(list(cloud.pages("network", "/floatingips", "floatingips"))) == 1
    assert "removed web" in holdfast("rm", "web").out
    assert listed() == {}
    assert list(cloud.pages("network", "/floatingips", "floatingips")) == []


def test_rm_leaves_an_address_that_somebody_else_attached(here: Path) -> None:
    launched("web", "--no-public")
    cloud = demo(here)
    server_id = listed()["web"]["id"]
    port = next(cloud.pages("network", "/ports", "ports", {"device_id": server_id}))
    outside = next(each for each in cloud.pages("network", "/networks", "networks") if each["router:external"])
    body = {"floating_network_id": outside["id"], "port_id": port["id"], "description": f"not {MADE_BY_LAUNCH}"}
    made = cloud.post("network", "/floatingips", {"floatingip": body})["floatingip"]
    assert holdfast("rm", "web").status == 0
    assert cloud.get("network", f"/floatingips/{made['id']}")["floatingip"]["port_id"] is None
    cloud.delete("network", f"/floatingips/{made['id']}")


def test_a_name_in_other_letters_is_another_name(here: Path) -> None:
    launched("web", "--no-public")
    assert holdfast("rm", "WEB").status == 3
    assert list(listed()) == ["web"]


def test_rm_of_one_wrong_name_removes_nothing(here: Path) -> None:
    launched("web", "--no-public")
    ran = holdfast("rm", "web", "wbe")
    assert ran.status == 3
    assert "no server is named 'wbe'; next: holdfast list" in ran.err
    assert list(listed()) == ["web"]


def test_two_servers_of_one_name_are_told_apart_by_id(here: Path) -> None:
    launched("a", "--no-public")
    launched("b", "--no-public")
    ids = {name: server["id"] for name, server in listed().items()}
    demo(here).call("PUT", "compute", f"/servers/{ids['b']}", {"server": {"name": "a"}})
    ran = holdfast("show", "a")
    assert ran.status == 4
    assert ids["a"] in ran.err
    assert holdfast("show", ids["b"]).status == 0


def test_a_name_that_is_a_pattern_or_a_shell_line_is_only_a_name(here: Path) -> None:
    name = "$(x) .* [a] ^web%20'\""
    launched("web", "--no-public")
    server_id = listed()["web"]["id"]
    demo(here).call("PUT", "compute", f"/servers/{server_id}", {"server": {"name": name}})
    assert holdfast("show", "--json", name).json["id"] == server_id
    assert holdfast("show", ".*").status == 3
    assert holdfast("rm", name).status == 0


def test_stop_and_start_are_seen_to_be_done_and_may_be_repeated(here: Path) -> None:
    launched("web", "--no-public")
    for _ in range(2):
        assert holdfast("stop", "web").status == 0
        assert listed()["web"]["status"] == "SHUTOFF"
    for _ in range(2):
        assert holdfast("start", "web").status == 0
        assert listed()["web"]["status"] == "ACTIVE"
    assert holdfast("reboot", "web", "--hard").status == 0
    assert listed()["web"]["status"] == "ACTIVE"


def test_reboot_of_a_stopped_server_is_a_conflict(here: Path) -> None:
    launched("web", "--no-public")
    holdfast("stop", "web")
    ran = holdfast("reboot", "web")
    assert ran.status == 4
    assert "vm_state stopped" in ran.err


def test_why_tells_the_story_also_of_a_server_that_is_gone(here: Path) -> None:
    launched("web", "--no-public")
    server_id = listed()["web"]["id"]
    assert "server_create done" in holdfast("why", "web").out
    holdfast("rm", "web")
    assert "server_delete done" in holdfast("why", server_id).out
    assert holdfast("why", "web").status == 3
    assert holdfast("why", server_id, "--json").json["id"] == server_id


def test_logs_are_of_all_processes_in_the_order_of_time(here: Path) -> None:
    launched("web", "--no-public")
    server_id = listed()["web"]["id"]
    lines = holdfast("logs", "web").out.splitlines()
    assert {line.split()[4].partition(".")[0] for line in lines} == {"control", "agent"}
    assert all(server_id in line for line in lines)
    assert lines == sorted(lines, key=lambda line: line[:23])
    ran = holdfast("logs", "00000000-0000-4000-8000-000000000000")
    assert ran.status == 3


def test_console_is_what_the_guest_said(here: Path) -> None:
    launched("web", "--no-public")
    server_id = listed()["web"]["id"]
    assert f"simulated machine {server_id}, boot 1" in holdfast("console", "web").out
    assert holdfast("console", "web", "--json").json["console"] == holdfast("console", "web").out


def test_images_and_status_and_audit(here: Path) -> None:
    assert [image["name"] for image in holdfast("images", "--json").json] == ["tiny"]
    assert "tiny" in holdfast("images").out
    assert holdfast("status").status == 0
    audit = holdfast("audit")
    assert (audit.status, audit.out) == (0, "nothing is out of order\n")


def test_env_is_what_other_clients_need(here: Path) -> None:
    known = json.loads((here / "credentials.json").read_text())
    values = holdfast("env", "--json").json
    assert values["OS_PASSWORD"] == known["users"]["demo"]["password"]
    assert values["AWS_SECRET_ACCESS_KEY"] == known["users"]["demo"]["ec2"]["secret"]
    assert values["AWS_ENDPOINT_URL_EC2"] == known["endpoint"] + "/ec2"
    assert "AWS_ACCESS_KEY_ID" not in holdfast("openrc").out
    assert "OS_PASSWORD" not in holdfast("env", "--aws").out
    assert holdfast("env", "--admin", "--json").json["OS_USERNAME"] == "admin"


def test_the_variables_are_enough_without_the_state_directory(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in holdfast("env", "--json").json.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "none"))
    assert holdfast("list", "--json").json == []
    tokens = tmp_path / ".cache" / "holdfast" / "tokens.json"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600


def test_a_cached_token_spares_the_login_and_a_revoked_one_is_replaced(here: Path) -> None:
    path = here / "client" / "tokens.json"
    path.unlink(missing_ok=True)  # other tests log in as others
    holdfast("list")
    before = path.read_text()
    holdfast("list")
    assert path.read_text() == before
    document = {key: ["no token", *rest[1:]] for key, rest in json.loads(before).items()}
    path.write_text(json.dumps(document))
    assert holdfast("list").status == 0
    assert "no token" not in path.read_text()


def test_nothing_but_env_and_openrc_prints_a_secret(here: Path) -> None:
    launched("web", "--no-public")
    known = json.loads((here / "credentials.json").read_text())["users"]
    secrets = [user["password"] for user in known.values()] + [user["ec2"]["secret"] for user in known.values()]
    secrets += [session[0] for session in json.loads((here / "client" / "tokens.json").read_text()).values()]
    for words in (["list"], ["show", "web"], ["why", "web"], ["status"], ["images"], ["audit"], ["logs", "web"]):
        for form in ([], ["--json"]):
            ran = holdfast(*words, *form)
            assert not any(secret in ran.out + ran.err for secret in secrets), words


def test_no_cloud_is_status_5_and_says_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OS_AUTH_URL", raising=False)
    ran = holdfast("list", "--state", tmp_path)
    assert ran.status == 5
    assert ran.err.rstrip().endswith(f"next: sudo holdfast --state {tmp_path} up")
    told = json.loads(holdfast("list", "--json", "--state", tmp_path).err)["error"]
    assert (told["status"], told["code"]) == (5, "unreachable")


def test_a_launch_outlives_the_control_process(here: Path) -> None:
    launched("web", "--no-public")
    (pid,) = pids_of(f"holdfast.daemon.control\0--state\0{here}\0")
    os.kill(pid, signal.SIGKILL)
    ran = holdfast("stop", "web")
    assert ran.status in (0, 1), ran.err  # the call itself may break off with the process, and says so
    assert holdfast("stop", "web").status == 0
    assert listed()["web"]["status"] == "SHUTOFF"
