"""The compute hosts of this machine: which there are, and where each has its network.

The only host of a machine is in the machine's own namespace. Of several, each has a seat: a number, a namespace, a
kernel prefix of its own. A seat is written before the host that has it, once, and is kept as long as the host.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.base import config
from holdfast.base.errors import BadInput
from holdfast.daemon.places import Places, write_private
from holdfast.host.network import namespace
from holdfast.host.network.apply import HostNetwork
from holdfast.host.network.fabric import Fabric
from holdfast.host.network.plan.fabric import Seat, machine_prefix, ranges_of, reach_of
from holdfast.host.network.plan.layout import Reach
from holdfast.host.network.plan.names import Names

EVERYWHERE = ("0.0.0.0", "::")


def hosts_here(places: Places) -> dict[str, str]:
    """The hosts that this machine is: ids by name."""
    return {path.parent.name: path.read_text().strip() for path in sorted(places.state.glob("hosts/*/id"))}


def seat_of(places: Places, name: str) -> Seat | None:
    """A host's seat; None for one in the machine's own namespace."""
    try:
        known = json.loads((places.host(name) / "seat").read_text())
    except FileNotFoundError:
        return None
    return Seat(int(known["number"]), str(known["prefix"]))


def seats_of(places: Places) -> list[Seat]:
    """Every seat of this machine."""
    found = (seat_of(places, name) for name in hosts_here(places))
    return [seat for seat in found if seat is not None]


def names_wanted(places: Places, count: int | None, role: str = "all") -> list[str]:
    """The hosts that there should be: those here, and new ones up to `count`. BadInput for fewer than there are."""
    here = list(hosts_here(places))
    if role == "host":
        return here
    if role == "control":
        if here or count:
            raise BadInput(
                f"a control replica has no compute host, and this machine has {', '.join(here) or 'to have some'}; "
                "leave out --control-only, or use another state directory",
                code="hosts_here",
            )
        return []
    if count is None:
        count = max(1, len(here))
    if count < max(1, len(here)):
        raise BadInput(
            f"this machine has {len(here)} hosts ({', '.join(here)}); `up` removes none, so --hosts {count} is too few",
            code="hosts_fewer",
        )
    if not here and count == 1:
        return [socket.gethostname().partition(".")[0] or "host1"]
    known = [seat_of(places, name) for name in here]
    taken = {seat.number for seat in known if seat} | set(range(1, known.count(None) + 1))
    free = (n for n in range(1, 2 * count + len(here) + 1) if n not in taken and f"h{n}" not in here)
    return [*here, *(f"h{next(free)}" for _ in range(count - len(here)))]


def seats_wanted(places: Places, settings: config.Settings, names: Sequence[str]) -> dict[str, Seat]:
    """The seat of each host, new ones included; none where one host has the machine to itself, or none is real."""
    known = {name: seat_of(places, name) for name in names}
    if settings.hypervisor == "simulated" or not (len(names) > 1 or any(known.values())):
        return {}
    here, found = hosts_here(places), {name: seat for name, seat in known.items() if seat is not None}
    for name in names:
        if name in here and name not in found:  # it was alone here, and keeps the names of all that it has
            found[name] = Seat(1, settings.prefix)
        elif name not in found:
            found[name] = Seat(int(name[1:]), f"{settings.prefix}{name[1:]}")
    _prefixes_check(settings, found.values())
    return found


def _prefixes_check(settings: config.Settings, seats: Iterable[Seat]) -> None:
    try:
        for seat in seats:
            Names(seat.prefix)
    except BadInput as err:
        raise BadInput(
            f"the prefix {settings.prefix!r} is too long for that many hosts, which add a number of their own; "
            "choose a shorter one with: holdfast up --prefix WORD",
            code="bad_setting",
        ) from err


def seats_write(places: Places, seats: dict[str, Seat]) -> None:
    """Keep the new ones."""
    for name, seat in seats.items():
        home = places.host(name)
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not (home / "seat").exists():
            write_private(home / "seat", json.dumps({"number": seat.number, "prefix": seat.prefix}))


def prefixes(settings: config.Settings, seats: Iterable[Seat]) -> list[str]:
    """Every kernel prefix of the cloud: one where a host is alone."""
    own = [seat.prefix for seat in seats]
    return [machine_prefix(settings.prefix), *own] if own else [settings.prefix]


def fabric_of(places: Places, settings: config.Settings, seats: Sequence[Seat]) -> Fabric | None:
    """What is between the hosts of this machine; None where one has it to itself."""
    if not seats:
        return None
    return Fabric(settings.prefix, places.state, seats, ranges_of(settings.underlay_cidr))


def publics_write(places: Places, publics: Sequence[tuple[str, str]]) -> None:
    """Keep the public networks as (range, gateway): the machine is their gateway where it carries several hosts."""
    write_private(places.publics, json.dumps(publics))


def publics_read(places: Places) -> list[tuple[str, str]]:
    """The public networks; none before they were made."""
    try:
        return [(str(cidr), str(gateway)) for cidr, gateway in json.loads(places.publics.read_text())]
    except FileNotFoundError:
        return []


def underlay_address(settings: config.Settings) -> str:
    """Where the control plane is for hosts in namespaces."""
    return str(ranges_of(settings.underlay_cidr).address(0))


def listening_on(settings: config.Settings, seats: Sequence[Seat]) -> list[tuple[str, int]]:
    """Every address and port that the API listens on."""
    more = [underlay_address(settings)] if seats and settings.listen not in EVERYWHERE else []
    return [(address, settings.port) for address in (settings.listen, *more)]


def door_on(settings: config.Settings) -> list[tuple[str, int]]:
    """The address and port for hosts of other machines; none where there is no door."""
    return [(settings.hosts_listen, settings.hosts_port)] if settings.hosts_listen else []


def endpoint_for(settings: config.Settings, seat: Seat | None) -> str:
    """The control plane's address for a host."""
    if settings.control:
        return settings.control
    return settings.local_endpoint if seat is None else f"http://{underlay_address(settings)}:{settings.port}"


def reach_for(settings: config.Settings, seat: Seat | None) -> Reach:
    """How a host reaches the others and the outside."""
    if seat is not None:
        return reach_of(seat, ranges_of(settings.underlay_cidr))
    routers = ipaddress.IPv4Network(settings.uplink_routers) if settings.uplink_routers and settings.uplink else None
    return Reach(tunnel_of(settings), settings.uplink, routers)


def tunnel_of(settings: config.Settings) -> str:
    """This machine's address for hosts of other machines; empty where there are none."""
    return settings.tunnel or (settings.hosts_listen if settings.hosts_listen not in EVERYWHERE else "")


def space_of(seat: Seat | None) -> str:
    """The namespace of a host, '' for the machine's own; also where it vanished: nothing of the host is elsewhere."""
    return seat.space if seat is not None and (namespace.RUN / seat.space).exists() else ""


def network_of(
    places: Places, settings: config.Settings, name: str, resolvers: Sequence[tuple[str, int]] = ()
) -> HostNetwork:
    """A host's network; to be used from inside its namespace."""
    seat = seat_of(places, name)
    asked = [each for each in resolvers if seat is None or not ipaddress.ip_address(each[0]).is_loopback]
    prefix = settings.prefix if seat is None else seat.prefix
    return HostNetwork(prefix, Path(places.host(name)) / "network", resolvers=asked, reach=reach_for(settings, seat))
