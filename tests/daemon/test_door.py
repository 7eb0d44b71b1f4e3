"""The door for hosts of other machines, over real TLS: who comes through it, and whom they believe."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from holdfast.base.certificates import AUTHORITY, CERTIFICATE, KEY, trusting_clients
from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Unavailable
from holdfast.base.limits import HOST_CERTIFICATE_S
from holdfast.control.operations.host.certificates import HostsAuthority, Request
from holdfast.control.operations.host.join import host_join, join_token_make
from holdfast.control.store.identity.enrolment import enrolment_fetch
from holdfast.daemon.joining import membership
from holdfast.daemon.joining.door import Door, Server
from holdfast.daemon.joining.membership import ID, certificate_look, identity_make, request_of
from holdfast.daemon.places import write_private
from holdfast.domain.joining import JoinRequest
from holdfast.host.agent.link import Link
from holdfast.host.dial import TOKEN, ControlPlane, Wire
from holdfast.host.keeper.renewal import Renewals, parse_endpoint
from tests.conftest import Cloud
from tests.waiting import eventually

DAY_US = 86_400 * SECOND_US


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


class Replica:
    """A control process's server, in a thread."""

    def __init__(self, cloud: Cloud, run: Path) -> None:
        plain, door = listening(), listening()
        self.url = f"https://127.0.0.1:{door.getsockname()[1]}"
        self.door = Door([door], cloud.services.hosts_authority, cloud.services.clock, run)
        config = uvicorn.Config(cloud.application, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        self.server = Server(config, self.door)
        self.thread = threading.Thread(target=asyncio.run, args=(self.server.serve([plain]),))
        self.thread.start()
        eventually(lambda: self.server.started and len(self.server.servers) == 2)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture
def replica(cloud: Cloud, tmp_path: Path) -> Iterator[Replica]:
    cloud.clock.at_us = int(datetime.datetime.now(datetime.UTC).timestamp()) * SECOND_US  # OpenSSL asks the machine's
    replica = Replica(cloud, tmp_path)
    yield replica
    replica.end()


class Machine:
    """One that joined: its directory, and its ways to the control plane."""

    def __init__(self, cloud: Cloud, home: Path, url: str) -> None:
        self.cloud, self.home, self.authority = cloud, home, cloud.services.hosts_authority
        identity_make(home)
        write_private(home / AUTHORITY, self.authority.certificate)
        self.id = (home / ID).read_text()
        asked = Request(request_of(home))
        store, digest = cloud.services.store, hashlib.sha256((home / TOKEN).read_bytes()).hexdigest()
        _, secret = store.write(lambda tx: join_token_make(tx, "admin", 60))
        wish = JoinRequest(secret, self.id, home.name, "", digest, "")
        store.write(lambda tx: host_join(tx, wish, asked.key_digest, "nova"))
        self.certify(self.authority)
        self.control = ControlPlane(url, self.id, home)

    def certify(self, authority: HostsAuthority, before_us: int = 0) -> None:
        """Have a certificate of this authority, made so long ago."""
        now_us = self.cloud.clock.now_us() - before_us
        write_private(self.home / CERTIFICATE, authority.for_host(self.id, Request(request_of(self.home)), now_us))

    def register(self) -> int:
        return Link(self.control, lambda: 0).register("boot", "machine")


@pytest.fixture
def machine(cloud: Cloud, replica: Replica, tmp_path: Path) -> Machine:
    return Machine(cloud, tmp_path / "far1", replica.url)


@pytest.fixture
def strange(cloud: Cloud, tmp_path: Path) -> HostsAuthority:
    """The authority of another cloud."""
    from tests.conftest import _with_tables  # a store of its own
    from tests.control.test_joining import authority_of

    store = _with_tables(f"sqlite:///{tmp_path / 'strange.sqlite'}", cloud.clock)
    return authority_of(store, cloud.clock, tmp_path / "strange-keys")


def test_a_host_that_joined_comes_through_with_its_agent_and_its_keeper(machine: Machine, replica: Replica) -> None:
    incarnation = machine.register()
    assert incarnation == 1
    renew = Renewals([parse_endpoint(replica.url)], machine.id, machine.home / TOKEN)
    assert renew({"incarnation": incarnation, "boot_id": "boot"})[0] > 0


def test_no_certificate_but_of_this_authority_and_of_now_comes_through(
    machine: Machine, strange: HostsAuthority
) -> None:
    machine.certify(strange)
    with pytest.raises(Unavailable):
        machine.register()
    machine.certify(machine.authority, before_us=HOST_CERTIFICATE_S * SECOND_US + DAY_US)
    with pytest.raises(Unavailable):
        machine.register()
    machine.certify(machine.authority)
    assert machine.register() == 1


def test_a_certificate_of_another_host_is_not_this_ones(machine: Machine, replica: Replica, tmp_path: Path) -> None:
    other = Machine(machine.cloud, tmp_path / "far2", replica.url)
    for name in (KEY, CERTIFICATE):
        (machine.home / name).write_bytes((other.home / name).read_bytes())
    with pytest.raises(Unavailable, match="401"):
        machine.register()
    assert other.register() == 1


def test_nothing_is_said_to_whoever_is_not_the_control_plane(machine: Machine, strange: HostsAuthority) -> None:
    """A host that plays it, with its own good certificate; and another cloud."""
    playing = machine.home / "playing.pem"
    playing.write_bytes((machine.home / CERTIFICATE).read_bytes() + (machine.home / KEY).read_bytes())
    another = machine.home / "another.pem"
    another.write_text(strange.for_control(machine.cloud.clock.now_us()))
    for shown in (playing, another):
        heard: list[bytes] = []
        with listening() as ear:
            thread = threading.Thread(target=_play, args=(ear, shown, machine.authority.certificate, heard))
            thread.start()
            control = ControlPlane(f"https://127.0.0.1:{ear.getsockname()[1]}", machine.id, machine.home)
            with pytest.raises(Unavailable, match="is not believed"):
                Link(control, lambda: 0).register("boot", "machine")
            thread.join(10)
        assert heard == []


def _play(ear: socket.socket, shown: Path, authority: str, heard: list[bytes]) -> None:
    context = trusting_clients(authority)
    context.load_cert_chain(shown)
    connection, _ = ear.accept()
    with connection:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                heard.append(secure.recv(4096))
        except OSError:
            return


def test_plain_words_and_old_tls_are_not_answered(replica: Replica) -> None:
    way = urlsplit(replica.url)
    with socket.create_connection((way.hostname, way.port), 5) as plain:
        plain.sendall(b"GET /hosts/v1/authority HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(4096)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):
        Wire(way, 5, lambda: old).connect()


def test_the_door_shows_a_new_certificate_and_who_is_inside_stays(machine: Machine, replica: Replica) -> None:
    link = Link(machine.control, lambda: 1)
    assert link.register("boot", "machine") == 1
    before = _shown(machine)
    replica.door.renew()
    assert _shown(machine) != before
    assert link.desired(0, 0) is not None


def _shown(machine: Machine) -> bytes:
    connection = machine.control.connect(5)
    try:
        return connection.sock.getpeercert(binary_form=True)  # type: ignore[no-any-return]
    finally:
        connection.close()


def test_a_certificate_is_renewed_when_half_of_its_time_is_over(machine: Machine) -> None:
    now = datetime.datetime.now(datetime.UTC)
    store, key = machine.cloud.services.store, (machine.home / KEY).read_bytes()
    assert certificate_look(machine.control, machine.home, now) is False
    machine.certify(machine.authority, before_us=HOST_CERTIFICATE_S * SECOND_US * 3 // 4)
    old = (machine.home / CERTIFICATE).read_bytes()
    assert certificate_look(machine.control, machine.home, now) is True
    assert (machine.home / CERTIFICATE).read_bytes() != old and (machine.home / KEY).read_bytes() == key
    assert certificate_look(machine.control, machine.home, now) is False
    assert machine.register() == 1
    known = store.read(lambda tx: enrolment_fetch(tx, machine.id))
    assert known is not None and known.until_us == machine.cloud.clock.now_us() + HOST_CERTIFICATE_S * SECOND_US


def test_the_thread_that_renews_certificates_outlives_whatever_goes_wrong(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is raised in one look is as if the control plane, the disk or the code were broken at that moment."""
    wrong: list[BaseException] = [Unavailable("away"), OSError("no space"), ValueError("torn file"), KeyError("a bug")]
    looked, real = threading.Event(), membership.certificate_look

    def look(*words: Any) -> bool:
        if wrong:
            raise wrong.pop(0)
        real(*words)
        looked.set()
        return True

    machine.certify(machine.authority, before_us=HOST_CERTIFICATE_S * SECOND_US * 3 // 4)
    old = (machine.home / CERTIFICATE).read_bytes()
    monkeypatch.setattr(membership, "certificate_look", look)
    monkeypatch.setattr(membership, "HOST_CERTIFICATE_LOOK_S", 0.01)
    membership.stay(machine.control, machine.home)  # from here on it looks at nothing that this test does not have
    assert looked.wait(10), f"it ended before {wrong}"
    assert (machine.home / CERTIFICATE).read_bytes() != old


def test_a_replica_that_is_away_is_left_for_the_next_and_comes_back_into_turn(
    machine: Machine, replica: Replica
) -> None:
    with listening() as gone:
        dead = f"https://127.0.0.1:{gone.getsockname()[1]}"
    control = ControlPlane(f"{dead},{replica.url}", machine.id, machine.home)
    link = Link(control, lambda: 1)
    with pytest.raises(Unavailable, match="does not answer"):
        link.register("boot", "machine")
    assert link.register("boot", "machine") == 1
    renew = Renewals([parse_endpoint(dead), parse_endpoint(replica.url)], machine.id, machine.home / TOKEN)
    with pytest.raises(Unavailable):
        renew({"incarnation": 1, "boot_id": "boot"})
    assert renew({"incarnation": 1, "boot_id": "boot"})[0] > 0
