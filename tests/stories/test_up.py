"""`up`, `down`, `destroy` on a real machine: what they make, what they leave, and what they refuse.

Nothing here believes the program about what is left: processes, links, namespaces, tables and files are looked for
in the kernel.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.config import Settings
from holdfast.base.errors import BadInput
from holdfast.daemon import checks
from tests.stories.bareguest import until
from tests.stories.livecloud import NOBODY, LiveCloud

PREFIX, PRIVATE, PUBLIC = "hfup", "10.71.0.0/24", "172.24.71.0/24"
FLAGS = ("--prefix", PREFIX, "--private-cidr", PRIVATE, "--public-cidr", PUBLIC)
SERVERS = "/compute/v2.1/servers"
BOOT_S = 120


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A directory that an unprivileged QEMU may pass through."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o711)
    return tmp_path


@pytest.fixture
def cloud(room: Path) -> Iterator[LiveCloud]:
    """A cloud with real guests that is not up yet."""
    assert kernel_remains() == [], "another test left its objects"
    live = LiveCloud(room, FLAGS)
    try:
        yield live
    finally:
        live.remove()


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[LiveCloud]:
    live = LiveCloud(tmp_path, ("--hypervisor", "simulated"))
    try:
        yield live
    finally:
        live.remove()


def said_by(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True).stdout.decode()


def kernel_remains() -> list[str]:
    """Links, namespaces, addresses, routes and tables of our prefix or our networks, as the kernel has them."""
    listed = [said_by("ip", "-o", "link"), said_by("ip", "netns"), said_by("nft", "list", "tables")]
    named = [line for text in listed for line in text.splitlines() if f"{PREFIX}-" in line]
    numbers = said_by("ip", "-o", "address") + said_by("ip", "route")
    return named + [line for line in numbers.splitlines() if "172.24.71." in line or "10.71.0." in line]


def everything_left(cloud: LiveCloud) -> list[str]:
    """Whatever of the cloud is still on the machine."""
    left = [f"process {pid}" for pid in cloud.processes()] + kernel_remains()
    left += [line for line in Path("/proc/mounts").read_text().splitlines() if str(cloud.state) in line]
    left += [str(path) for path in (cloud.state, *Path("/run").glob(f"{PREFIX}-*")) if path.exists()]
    clouds = cloud.home / ".config/openstack/clouds.yaml"
    return left + ([str(clouds)] if clouds.exists() else [])


def guest_processes(cloud: LiveCloud) -> dict[str, int]:
    """The QEMU processes below the state directory: pid by instance."""
    found = {}
    for pid in cloud.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"qemu-system-x86_64") and b"-uuid" in words:
            found[words[words.index(b"-uuid") + 1].decode()] = pid
    return found


def launch(cloud: LiveCloud, name: str) -> str:
    """A server that ssh gets into; its id."""
    events = [json.loads(line) for line in cloud.run("launch", name, "--json").splitlines() if line.startswith("{")]
    ended = next(event for event in events if event["event"] == "launched")
    assert ended["ready"], events
    return str(ended["id"])


def server(cloud: LiveCloud, server_id: str) -> dict[str, Any]:
    session = cloud.session()
    try:
        return dict(session.get(f"{SERVERS}/{server_id}")["server"])
    finally:
        session.close()


def audited(cloud: LiveCloud) -> None:
    """The audit has nothing to say, and looked at the machine for it."""
    assert "nothing is out of order" in cloud.run("audit")


def another_cloud_is_kept_apart(cloud: LiveCloud) -> None:
    """A second cloud of the same user under the same prefix is refused, and its destruction touches nothing."""
    clouds, kernel = (cloud.home / ".config/openstack/clouds.yaml").read_text(), kernel_remains()
    other = LiveCloud(cloud.room / "other", FLAGS)
    other.room.mkdir()
    other.home.symlink_to(cloud.home)
    other.state.mkdir()
    (other.state / "holdfast.toml").write_text(f'prefix = "{PREFIX}"\n')
    refusal = other.run("up", "--port", str(other.port), status=4)
    assert f"prefix '{PREFIX}' belongs to the cloud in {cloud.state}" in refusal and "--prefix" in refusal
    refusal = other.run("up", "--port", str(other.port), "--prefix", "hfot", "--public-cidr", PUBLIC, status=4)
    assert f"public network {PUBLIC} overlaps" in refusal and "--public-cidr" in refusal
    for directory in ("hosts/h1/network", "keys"):  # as if it had come up before the first one did
        (other.state / directory).mkdir(parents=True)
    other.run("destroy", "--yes")
    assert kernel_remains() == kernel and not other.state.exists()
    assert (cloud.home / ".config/openstack/clouds.yaml").read_text() == clouds
    assert "kept" in cloud.run("ssh", "web", "--", "cat /home/demo/note")


@pytest.mark.root
@pytest.mark.qemu
def test_from_nothing_to_a_guest_and_back_to_nothing(cloud: LiveCloud) -> None:
    said = cloud.up()
    assert "a guest booted and answered at 172.24.71." in said
    pids = cloud.pids()
    assert all(pids.values()), pids
    audited(cloud)

    again = cloud.run("up")
    assert cloud.pids() == pids, "a second up changes nothing"
    assert "a guest booted" not in again
    audited(cloud)

    server_id = launch(cloud, "web")
    cloud.run("ssh", "web", "--", "echo kept > /home/demo/note; sync")
    another_cloud_is_kept_apart(cloud)
    first = guest_processes(cloud)
    assert list(first) == [server_id]
    audited(cloud)

    cloud.run("down")
    assert cloud.processes() == [] and kernel_remains() == []
    assert (cloud.state / "store.sqlite").exists()

    cloud.run("up")
    until(lambda: server_id in guest_processes(cloud), BOOT_S)
    assert guest_processes(cloud)[server_id] != first[server_id]
    cloud.run("wait", "web")
    assert "kept" in cloud.run("ssh", "web", "--", "cat /home/demo/note"), "the same guest, with its disk"
    assert server(cloud, server_id)["status"] == "ACTIVE"
    audited(cloud)

    cloud.run("destroy", "--yes")
    assert everything_left(cloud) == []


@pytest.mark.root
@pytest.mark.qemu
def test_two_ups_at_once_make_one_cloud(cloud: LiveCloud) -> None:
    both = [cloud.start("up", "--port", str(cloud.port), *FLAGS) for _ in range(2)]
    said = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    names = [word for pid in cloud.processes() for word in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
    for module in ("supervisor", "control", "agent"):
        assert names.count(f"holdfast.daemon.{module}") == 1
    assert names.count("holdfast.host.keeper") == 1
    users = cloud.session("admin").get("/identity/v3/users")["users"]
    assert sorted(user["name"] for user in users) == ["admin", "demo"]
    images = cloud.session().get("/image/v2/images?name=tiny")["images"]
    assert len(images) == 1
    audited(cloud)
    cloud.run("destroy", "--yes")
    assert everything_left(cloud) == []


@pytest.mark.root
@pytest.mark.qemu
def test_destroy_ends_guests_that_run_and_a_cloud_whose_supervisor_was_killed(cloud: LiveCloud) -> None:
    cloud.up()
    launch(cloud, "web")
    cloud.kill("supervisor")
    assert guest_processes(cloud)
    cloud.run("destroy", "--yes")
    assert everything_left(cloud) == []


@pytest.mark.root
def test_a_taken_port_is_named_and_nothing_is_left(cloud: LiveCloud) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", cloud.port))
        other.listen()
        said = cloud.run("up", "--port", str(cloud.port), *FLAGS, status=4)
        assert f"port {cloud.port} on 127.0.0.1 is taken" in said and "--port" in said
        assert cloud.processes() == [] and kernel_remains() == []
    cloud.run("destroy", "--yes")
    assert everything_left(cloud) == []


@pytest.mark.root
def test_without_root_it_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    for parent in [each for each in tmp_path.parents if each.name.startswith(("pytest", "popen"))]:
        os.chmod(parent, 0o711)
    live = LiveCloud(tmp_path, FLAGS)
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *live.command("up")]
    done = subprocess.run(words, env=live.environment(), capture_output=True, cwd="/", timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 2, said
    assert "need root" in said and "sudo holdfast" in said and "--hypervisor simulated" in said
    assert "Traceback" not in said
    assert live.processes() == [] and kernel_remains() == []


def test_destroy_refuses_what_is_no_cloud(tmp_path: Path) -> None:
    live = LiveCloud(tmp_path, ())
    live.state.mkdir()
    (live.state / "precious").write_text("keep me")
    said = live.run("destroy", "--yes", status=2)
    assert "not the state directory of a cloud" in said
    assert (live.state / "precious").read_text() == "keep me"


def test_destroy_must_be_meant(simulated: LiveCloud) -> None:
    simulated.up()
    pids = simulated.pids()
    said = simulated.run("destroy", status=2)
    assert "destroy --yes" in said
    assert simulated.pids() == pids and all(simulated.alive(name) for name in pids)
    audited(simulated)
    simulated.run("destroy", "--yes")
    assert simulated.processes() == [] and not simulated.state.exists()


def test_a_cloud_on_postgresql_keeps_its_store_and_leaves_the_database(simulated: LiveCloud, postgres_url: str) -> None:
    simulated.told["store"] = postgres_url
    assert "PostgreSQL" in simulated.up()
    users = simulated.session("admin").get("/identity/v3/users")["users"]
    simulated.run("down")
    simulated.told.clear()
    simulated.run("up")
    assert simulated.session("admin").get("/identity/v3/users")["users"] == users, "the same cloud, without being told"
    assert not (simulated.state / "store.sqlite").exists()
    audited(simulated)
    assert "database is left as it is" in simulated.run("destroy", "--yes")


def test_a_postgresql_without_its_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'psycopg\[binary\]'"):
        checks.machine_check(Settings(store="postgresql://x@y/z", hypervisor="simulated"))


def test_a_prefix_that_the_kernel_cannot_carry_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("without root something else is refused first")
    live = LiveCloud(tmp_path, ("--prefix", "much-too-long"))
    said = live.run("up", *live.flags, status=2)
    assert "prefix" in said
    assert live.processes() == [] and not (live.state / "store.sqlite").exists()
