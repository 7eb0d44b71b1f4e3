"""What comes before ssh: the key, the words of the guest's console, and whether anybody greets."""

from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.cli.reach import news
from holdfast.client.guest import boot_of
from holdfast.client.keys import key_pair_ensure, private_key_ensure, public_key_read
from holdfast.client.shell import Reach, greets, known_host_forget, login_user, ssh_argv

CONSOLE = """SeaBIOS
Booting from ROM..holdfast-guest: kernel at 1.23s
holdfast-guest: disk /dev/vda at 1.28s
holdfast-guest: dhcp 10.77.0.4 at 1.53s
holdfast-guest: metadata from the network at 1.62s
holdfast-guest: sshd at 1.70s
holdfast-guest: ready at 1.71s
user-data: holdfast-guest: ready at 0.01s
"""


def test_a_boot_is_read_from_the_console() -> None:
    boot = boot_of(CONSOLE.replace("\n", "\r\n"))
    assert boot.ready
    assert boot.words == "kernel 1.2s, dhcp 1.5s, metadata 1.6s, sshd 1.7s, ready 1.7s"


def test_a_boot_that_is_not_ready_is_not() -> None:
    assert not boot_of(CONSOLE.partition("holdfast-guest: sshd")[0]).ready
    assert not boot_of("").ready


def test_what_user_data_prints_is_no_sign() -> None:
    assert not boot_of("user-data: holdfast-guest: ready at 0.01s\n").ready


def test_only_the_last_boot_counts() -> None:
    assert not boot_of(CONSOLE + "Booting from ROM..holdfast-guest: kernel at 1.10s\n").ready


@pytest.mark.parametrize("last", ["debian login: ", "Cloud-init v. 22.4.2 finished at Sat, 21 Nov 2026\n"])
def test_another_systems_console_is_understood(last: str) -> None:
    assert boot_of(f"Linux version 6\n{last}").ready


def test_a_console_of_a_megabyte_of_nonsense_is_read_at_once() -> None:
    assert not boot_of("holdfast-guest: a" * 60_000 + " at " * 10_000).ready


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [("", "abc", "abc"), ("abc", "abcd", "d"), ("abc", "bcd", "d"), ("abc", "abc", ""), ("abc", "xyz", "xyz")],
)
def test_a_followed_console_says_each_thing_once(before: str, after: str, new: str) -> None:
    assert news(before, after) == new


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    first = private_key_ensure(path).read_bytes()
    assert private_key_ensure(path).read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert public_key_read(path) == public_key_read(path.with_suffix(".pub"))
    assert public_key_read(path).startswith("ssh-ed25519 ")
    assert sorted(each.name for each in path.parent.iterdir()) == ["key", "key.pub"]


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-rsa A\nssh-rsa B"])
def test_what_is_no_public_key_is_not_sent(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pub").write_text(text)
    with pytest.raises(BadInput) as caught:
        public_key_read(tmp_path / "key")
    assert "PRIVATE" not in caught.value.message


class Pairs:
    """A cloud that has key pairs and nothing else."""

    def __init__(self, **known: str) -> None:
        self.known, self.rival = known, ""

    def get(self, service: str, path: str) -> Any:
        name = path.rpartition("/")[2]
        if name not in self.known:
            raise NotFound("none")
        return {"keypair": {"public_key": self.known[name]}}

    def post(self, service: str, path: str, body: Any) -> Any:
        if self.rival:
            self.known[body["keypair"]["name"]], self.rival = self.rival, ""
            raise Conflict("there already")
        self.known[body["keypair"]["name"]] = body["keypair"]["public_key"]


def pair(cloud: Pairs, public_key: str) -> str:
    return key_pair_ensure(cloud, public_key)  # type: ignore[arg-type]


def test_a_key_pair_is_made_and_then_found() -> None:
    cloud = Pairs()
    assert pair(cloud, "ssh-ed25519 AAAA me") == "holdfast"
    assert pair(cloud, "ssh-ed25519 AAAA me@elsewhere") == "holdfast"
    assert len(cloud.known) == 1


def test_somebody_elses_key_pair_is_left_alone() -> None:
    cloud = Pairs(holdfast="ssh-ed25519 BBBB other")
    name = pair(cloud, "ssh-ed25519 AAAA me")
    assert name != "holdfast"
    assert pair(cloud, "ssh-ed25519 AAAA me") == name
    assert cloud.known["holdfast"] == "ssh-ed25519 BBBB other"


def test_two_launches_at_once_agree_on_a_key_pair() -> None:
    cloud = Pairs()
    cloud.rival = "ssh-ed25519 AAAA me"
    assert pair(cloud, "ssh-ed25519 AAAA me") == "holdfast"
    cloud = Pairs()
    cloud.rival = "ssh-ed25519 BBBB other"
    assert pair(cloud, "ssh-ed25519 AAAA me") != "holdfast"


REACH = Reach("the-id", "203.0.113.7", "demo", Path("/k"), Path("/h"))


def test_ssh_knows_a_guest_by_its_id_and_a_name_is_no_option() -> None:
    argv = ssh_argv(REACH._replace(address="-oProxyCommand=x"), ["ls"])
    assert argv[argv.index("--") + 1 :] == ["-oProxyCommand=x", "ls"]
    assert "HostKeyAlias=the-id" in argv
    assert "StrictHostKeyChecking=accept-new" in argv


@pytest.mark.parametrize(
    ("said", "user"),
    [
        ("root", "root"),
        ("", "demo"),
        (None, "demo"),
        ("-oProxyCommand=x", "demo"),
        ("a b", "demo"),
        ("é", "demo"),
    ],
)
def test_an_image_says_who_logs_in_but_not_what_ssh_does(said: str | None, user: str) -> None:
    assert login_user({"login_user": said}) == user


def test_a_guest_that_is_gone_is_forgotten_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("id-1 ssh-ed25519 A\nid-12 ssh-ed25519 B\n")
    known_host_forget(path, "id-1")
    assert path.read_text() == "id-12 ssh-ed25519 B\n"
    known_host_forget(tmp_path / "none", "id-1")


def test_only_an_ssh_server_greets(monkeypatch: pytest.MonkeyPatch) -> None:
    for greeting, greeted in ((b"SSH-2.0-x\r\n", True), (b"HTTP/1.1", False), (b"", False)):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            monkeypatch.setattr("holdfast.client.shell.SSH_PORT", listener.getsockname()[1])

            def serve(listener: socket.socket = listener, greeting: bytes = greeting) -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(greeting)

            thread = threading.Thread(target=serve)
            thread.start()
            assert greets("127.0.0.1", 1) is greeted
            thread.join()
    assert not greets("127.0.0.1", 1)
