"""Several compute hosts on one machine: their namespaces and the wires between them, made and removed.

Level-triggered and repeatable, as everything below `host/network`: what is there is looked at, and what is missing
is made. Only objects that carry the cloud's prefix are touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.base.errors import HoldfastError
from holdfast.base.limits import NETWORK_COMMAND_S
from holdfast.base.run import run
from holdfast.host.network import forward, namespace, nft, owner
from holdfast.host.network.kernel import Kernel, delete_links, links_of
from holdfast.host.network.plan import fabric as plan
from holdfast.host.network.plan.fabric import Ranges, Seat
from holdfast.host.network.plan.names import Names
from holdfast.host.network.remains import remove_edge, spaces_here


class Fabric:
    """What lies between the hosts of one cloud on this machine; `state` is the cloud's directory."""

    def __init__(self, prefix: str, state: Path, seats: Sequence[Seat], ranges: Ranges) -> None:
        self._prefix, self._state, self._seats, self._ranges = prefix, state.resolve(), seats, ranges
        self._names = Names(plan.machine_prefix(prefix))

    def make(self, publics: Sequence[tuple[str, str]]) -> None:
        """Make all of it; raises when a part could not be, after every other was tried."""
        owner.claim(self._names.prefix, self._state)
        for seat in self._seats:
            self._move_out(Names(seat.prefix))
            if not (namespace.RUN / seat.space).exists():
                self._forget_tunnels(Names(seat.prefix))
        kernel, failures = Kernel(self._names), []
        for space in plan.spaces(self._prefix, self._seats, self._ranges, publics):
            try:
                kernel.make(space)
            except HoldfastError as err:
                failures.append(err)
        if failures:
            raise failures[0]
        under, public = plan.bridges(self._prefix)
        # routers have names of their own on the public wire; the underlay's narrower route goes before this one
        route = ["ip", "route", "replace", str(self._ranges.whole), "dev", public]
        run(route, timeout_s=NETWORK_COMMAND_S)
        forward.accept_forwarding(self._names.prefix, [under, public])

    def is_there(self) -> bool:
        """Whether nothing has vanished, as far as a glance tells."""
        names = [seat.space for seat in self._seats]
        return all((namespace.RUN / name).exists() for name in names) and all(
            namespace.exists_here(bridge) for bridge in plan.bridges(self._prefix)
        )

    def remove(self) -> list[str]:
        """Remove all of it; what hosts had in their namespaces must be gone. Returns what is left, usually nothing."""
        owner.require(self._names.prefix, self._state)
        for seat in self._seats:
            if (namespace.RUN / seat.space).exists():
                run(["ip", "netns", "delete", seat.space], timeout_s=NETWORK_COMMAND_S)
        remove_edge(self._names)
        delete_links("", [name for name in links_of("") if self._names.ours(name)])
        owner.release(self._names.prefix)
        return self.found()

    def found(self) -> list[str]:
        """What there is of it."""
        spaces = [seat.space for seat in self._seats if (namespace.RUN / seat.space).exists()]
        links = [name for name in links_of("") if self._names.ours(name)]
        tables = [f"{family} {name}" for family, name in sorted(nft.tables_of("", self._names))]
        return [*spaces, *links, *tables, *forward.accepted(self._names.prefix)]

    def _forget_tunnels(self, names: Names) -> None:
        """Tunnels that began in a namespace that vanished: guests' processes keep it alive, without a wire."""
        for space in spaces_here(names):
            delete_links(space, [link for link in links_of(space) if names.is_kind(link, "v")])

    def _move_out(self, names: Names) -> None:
        """What a host had in the machine's own namespace before it got one of its own."""
        if any(names.ours(link) for link in links_of("")):
            remove_edge(names)
