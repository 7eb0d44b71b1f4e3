"""Servers are deleted at every moment of their creation, and nothing is left of them, wherever one looks.

A run makes a server that has a floating address, in every second one a port of its own and in every second one a
volume, and deletes it some milliseconds after its creation was answered; some from another thread before that, some
when they are ACTIVE and get their volume. Two go on at once. Whatever was deleted, its owner's port, volume and address
are free again. FAULTS STK-08.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.base.errors import Conflict, NotFound
from holdfast.client.session import Session
from tests.blackbox.world import World, traces
from tests.stories.bareguest import until
from tests.stories.livecloud import LiveCloud

FLAGS = ("--prefix", "hfbd", "--private-cidr", "10.76.0.0/20", "--public-cidr", "172.24.76.0/22")
SERVERS, VOLUMES = "/compute/v2.1/servers", "/volume/v3/volumes"
PORTS, FLOATING = "/network/v2.0/ports", "/network/v2.0/floatingips"
LATEST_S = {"seen": 0.0, "answered": 2.0, "active": 1.0}  # of a delete, since another client, the owner, saw that
SEEN_EACH, ACTIVE_EACH = 10, 5  # one of so many; the others count from the answer
IN_FLIGHT = 2  # more of them only wait for the processors
MOMENTS = {"leave": "while building", "schedule": "while building", "spawn": "while spawning"}  # the step it was at
ENDED = {"done": "active", "failed": "failed"}
GONE_S = 60.0  # everything that was accepted ends within this, beside others on two processors


@dataclass(frozen=True)
class Run:
    """One server: when it is deleted, and what it has."""

    number: int
    since: str  # a key of LATEST_S
    after_s: float
    own_port: bool
    volume: bool
    volume_goes_along: bool

    @property
    def name(self) -> str:
        return f"s{self.number}"


@dataclass
class Things:
    """What its owner made before; empty: none."""

    address_id: str
    port_id: str
    volume_id: str
    volume_accepted: bool = False


def runs_of(count: int, dice: random.Random) -> list[Run]:
    """Offsets over the whole range of each beginning, in any order."""
    seen = -(-count // SEEN_EACH)
    active = min(-(-count // ACTIVE_EACH), count - seen)
    offsets = [
        (since, LATEST_S[since] * dice.uniform(number, number + 1) / many)
        for since, many in (("seen", seen), ("active", active), ("answered", count - seen - active))
        for number in range(many)
    ]
    dice.shuffle(offsets)
    return [
        Run(number, since, after_s, number % 2 == 0, number // 2 % 2 == 0, dice.random() < 0.5)
        for number, (since, after_s) in enumerate(offsets)
    ]


@dataclass
class Deletes:
    """A cloud that is up, what was done to it, and what is wrong with it."""

    cloud: LiveCloud
    dice: random.Random
    say: Callable[[str], None] = print
    ended: int = 0
    ids: set[str] = field(default_factory=set)  # of the servers; other clouds of this machine have guests as well
    counts: Counter[str] = field(default_factory=Counter)  # when they were deleted, and what they had by then
    left: list[str] = field(default_factory=list)
    _token: str = ""
    _body: dict[str, Any] = field(default_factory=dict)
    _outside: str = ""

    def run(self, count: int) -> None:
        """So many servers; what is left of them is in `left`."""
        self._prepare()
        world = World(self.cloud, self._asked)
        before = world.look()
        with ThreadPoolExecutor(IN_FLIGHT) as several, ThreadPoolExecutor(IN_FLIGHT) as beside:
            runs = [several.submit(self._guarded, run, beside) for run in runs_of(count, self.dice)]
            try:
                for ended, each in enumerate(runs, 1):
                    each.result()
                    if ended % 20 == 0:
                        self.say(f"  {ended} deleted, {len(self.left)} findings")
            finally:
                several.shutdown(wait=False, cancel_futures=True)  # told to end, it begins no others
        self.left += world.settled(before)

    def _prepare(self) -> None:
        known = json.loads((self.cloud.state / "credentials.json").read_text())["users"]["admin"]
        with closing(Session(f"http://127.0.0.1:{self.cloud.port}")) as session:
            session.login("admin", known["password"], "demo")
            self._token = session.token
        image = self._asked("/image/v2/images?name=tiny")["images"][0]["id"]
        networks = self._asked("/network/v2.0/networks")["networks"]
        inside = next(each["id"] for each in networks if each["name"] == "private")
        self._outside = next(each["id"] for each in networks if each["router:external"])
        self._body = {"imageRef": image, "flavorRef": "42", "networks": [{"uuid": inside}]}

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """One for one thread."""
        with closing(Session(f"http://127.0.0.1:{self.cloud.port}", self._token)) as session:
            yield session

    def _asked(self, path: str) -> Any:
        with self._session() as session:
            return session.get(path)

    # one run

    def _guarded(self, run: Run, beside: ThreadPoolExecutor) -> None:
        """A run that fails is a finding, and the others go on."""
        try:
            with self._session() as session:
                self._once(run, session, beside)
        except Exception as err:
            self.left.append(f"{run}: {type(err).__name__}: {err}")

    def _once(self, run: Run, session: Session, beside: ThreadPoolExecutor) -> None:
        things, deleted = self._make(run, session), threading.Event()
        body = {**self._body, "name": run.name}
        if run.own_port:
            body["networks"] = [{"port": things.port_id}]
        if run.since == "seen":
            other = beside.submit(self._delete_when_seen, run, deleted)
            server_id = str(session.post(SERVERS, {"server": body})["server"]["id"])
        else:
            server_id = str(session.post(SERVERS, {"server": body})["server"]["id"])
            answered_s = time.monotonic()
            other = beside.submit(self._furnish, run, things, server_id, deleted)
            self._delete_in_time(run, session, server_id, answered_s, deleted)
        other.result(GONE_S)
        until(lambda: _is_gone(session, f"{SERVERS}/{server_id}"), GONE_S)
        self.ids.add(server_id)
        self._judge(run, session, server_id, things)
        self._give_back(session, things)
        self.ended += 1

    def _make(self, run: Run, session: Session) -> Things:
        """What the owner has before: an address, which leads to his own port if he has one, and a volume."""
        wanted, port_id, volume_id = {"floating_network_id": self._outside}, "", ""
        if run.own_port:
            network = self._body["networks"][0]["uuid"]
            port_id = str(session.post(PORTS, {"port": {"network_id": network}})["port"]["id"])
            wanted["port_id"] = port_id
        address_id = str(session.post(FLOATING, {"floatingip": wanted})["floatingip"]["id"])
        if run.volume:
            volume_id = str(session.post(VOLUMES, {"volume": {"size": 1}})["volume"]["id"])
            until(lambda: _status(session, volume_id) == "available", GONE_S)
        return Things(address_id, port_id, volume_id)

    def _delete_in_time(
        self, run: Run, session: Session, server_id: str, began_s: float, deleted: threading.Event
    ) -> None:
        """`deleted` is set before the request: what others ask for from there on may be refused."""
        if run.since == "active":
            until(lambda: session.get(f"{SERVERS}/{server_id}")["server"]["status"] != "BUILD", GONE_S)
            began_s = time.monotonic()
        threading.Event().wait(max(0.0, began_s + run.after_s - time.monotonic()))
        deleted.set()
        session.delete(f"{SERVERS}/{server_id}")

    def _delete_when_seen(self, run: Run, deleted: threading.Event) -> None:
        """Another client: it has the id from a list, perhaps before the creation is answered."""
        deadline_s, found = time.monotonic() + GONE_S, list[dict[str, Any]]()
        with self._session() as session:
            while not found:  # without a pause: the moment before it has a host is short
                assert time.monotonic() < deadline_s, f"nobody sees {run.name}"
                found = session.get(f"{SERVERS}?name=^{run.name}$")["servers"]
            deleted.set()
            session.delete(f"{SERVERS}/{found[0]['id']}")

    def _furnish(self, run: Run, things: Things, server_id: str, deleted: threading.Event) -> None:
        """Lead the address to it, and give it the volume as soon as it takes one; refused when it is being deleted."""
        with self._session() as session:
            try:
                if not run.own_port:
                    port = session.get(f"{PORTS}?device_id={server_id}")["ports"][0]
                    session.put(f"{FLOATING}/{things.address_id}", {"floatingip": {"port_id": port["id"]}})
            except (NotFound, Conflict, IndexError):
                if not deleted.is_set():
                    raise
            wanted = {"volumeId": things.volume_id, "delete_on_termination": run.volume_goes_along}
            while run.volume and not things.volume_accepted:
                try:
                    session.post(f"{SERVERS}/{server_id}/os-volume_attachments", {"volumeAttachment": wanted})
                    things.volume_accepted = True
                except (NotFound, Conflict) as err:
                    if deleted.wait(0.02):
                        return
                    if isinstance(err, NotFound):
                        raise

    # what became of it

    def _judge(self, run: Run, session: Session, server_id: str, things: Things) -> None:
        """The server is said to be gone: so it is on its host, and all that it had is free."""
        create = next(act for act in self._acts(session, server_id) if act["kind"] == "server_create")
        moment = MOMENTS[create["step"]] if create["state"] == "cancelled" else ENDED[create["state"]]
        self.counts[moment] += 1
        self.counts["with a volume"] += things.volume_accepted
        found = traces(self.cloud, server_id)
        found += [f"its creation failed: {create['error']}"] if create["state"] == "failed" else []
        found += [f"port {each['id']}" for each in session.get(f"{PORTS}?device_id={server_id}")["ports"]]
        address = session.get(f"{FLOATING}/{things.address_id}")["floatingip"]
        if (address["port_id"] or "", address["status"]) != (things.port_id, "DOWN"):
            found.append(f"address {address['floating_ip_address']} {address['status']} at {address['port_id']}")
        if things.port_id:
            port = session.get(f"{PORTS}/{things.port_id}")["port"]
            if (port["device_id"], port["device_owner"], port["status"]) != ("", "", "DOWN"):
                found.append(f"port {things.port_id} {port['status']} at {port['device_id']}")
        if things.volume_id:
            goes = things.volume_accepted and run.volume_goes_along
            if (status := _status(session, things.volume_id)) not in (("deleting", "") if goes else ("available",)):
                found.append(f"volume {things.volume_id} {status}")
        self.left += [f"{run}, {server_id}, deleted {moment}: {words}" for words in found]

    def _acts(self, session: Session, server_id: str) -> list[dict[str, Any]]:
        return list(session.get(f"/debug/v1/why/{server_id}")["acts"])

    def _give_back(self, session: Session, things: Things) -> None:
        session.delete(f"{FLOATING}/{things.address_id}")
        if things.port_id:
            session.delete(f"{PORTS}/{things.port_id}")
        if things.volume_id:
            if _status(session, things.volume_id) == "available":
                session.delete(f"{VOLUMES}/{things.volume_id}")
            until(lambda: _is_gone(session, f"{VOLUMES}/{things.volume_id}"), GONE_S)


def _is_gone(session: Session, path: str) -> bool:
    try:
        session.get(path)
    except NotFound:
        return True
    return False


def _status(session: Session, volume_id: str) -> str:
    """Of a volume; empty: it is not there."""
    try:
        return str(session.get(f"{VOLUMES}/{volume_id}")["volume"]["status"])
    except NotFound:
        return ""
