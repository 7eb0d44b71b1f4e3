"""What is on this host under our prefix, read from the kernel, and its removal down to nothing.

For audit and for `destroy`. Only names of our forms are listed, and only those are removed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from holdfast.base.limits import NETWORK_COMMAND_S
from holdfast.base.run import run
from holdfast.host.network import forward, namespace, nft
from holdfast.host.network.dnsmasq import Dnsmasq
from holdfast.host.network.kernel import delete_link, links_of
from holdfast.host.network.plan.names import Names
from holdfast.host.network.plan.ruleset import remove

_FILES = ("metadata.*", "judged.*")  # in the host's state directory


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that carries our prefix. False when there is nothing."""

    namespaces: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  # in the host's own namespace
    inner_links: tuple[str, ...] = ()  # namespace/link
    tables: tuple[str, ...] = ()  # in the host's own namespace
    rules: tuple[str, ...] = ()  # of ours in foreign chains
    processes: tuple[int, ...] = ()
    files: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) for item in fields(self))


def spaces_here(names: Names) -> list[str]:
    """Our network namespaces."""
    if not namespace.RUN.is_dir():
        return []
    here = (entry.name for entry in namespace.RUN.iterdir())
    return sorted(name for name in here if names.is_kind(name, "n") or names.is_kind(name, "r"))


def inventory(names: Names, dnsmasq: Dnsmasq, state: Path) -> Inventory:
    """Look at everything."""
    spaces = spaces_here(names)
    return Inventory(
        tuple(spaces),
        tuple(name for name in links_of("") if names.ours(name)),
        tuple(f"{space}/{name}" for space in spaces for name in links_of(space) if names.ours(name)),
        tuple(f"{family} {name}" for family, name in sorted(nft.tables_of("", names))),
        tuple(forward.accepted(names.prefix)),
        tuple(dnsmasq.pids()),
        (*dnsmasq.found(), *(str(file) for kind in _FILES for file in state.glob(kind))),
    )


def remove_all(names: Names, dnsmasq: Dnsmasq, state: Path) -> None:
    """Remove everything of ours, guests' taps included."""
    for space in {*dnsmasq.found(), *spaces_here(names)}:
        dnsmasq.stop(space)
    for space in spaces_here(names):
        run(["ip", "netns", "delete", space], timeout_s=NETWORK_COMMAND_S)
    remove_edge(names)
    dnsmasq.remove_folder()
    for file in (file for kind in _FILES for file in state.glob(kind)):
        file.unlink()


def remove_edge(names: Names) -> None:
    """Remove what is ours in the current namespace: its bridges to the outside, their rules, routers' far ends."""
    forward.accept_forwarding(names.prefix, ())
    for family, name in sorted(nft.tables_of("", names)):
        nft.load("", remove(family, name))
    for link in links_of(""):
        if any(names.is_kind(link, kind) for kind in "xfe"):
            delete_link("", link)
