"""A whole host evacuated: what would happen, and making it happen. Each server has its own act; see server/evacuate."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from holdfast.base.config import Settings
from holdfast.base.errors import HoldfastError, NoCapacity
from holdfast.control.operations.server.evacuate import (
    disk_check,
    server_evacuate_begin,
)
from holdfast.control.operations.server.placing import hosts_without_disk, request_of, revertible, rooms
from holdfast.control.operations.server.shed import giver_of, givers_below
from holdfast.control.scheduler.place import Request, Room, place
from holdfast.control.scheduler.shed import Giver, room_after, shed_for
from holdfast.control.store.database import Tx
from holdfast.control.store.host import host_names
from holdfast.control.store.instance import instances_of_host
from holdfast.domain.credentials import Credentials
from holdfast.domain.host import Host
from holdfast.domain.instance import Instance, InstanceState, priority_of


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of one server of a dead host."""

    instance_id: str
    name: str
    priority: int
    outcome: str  # moves, waits (for room), stays, shed (gives its room), builds (anew), goes (it is being deleted)
    host: str = ""  # where it would go
    operation_id: str = ""
    reason: str = ""


def in_order(rows: list[Instance]) -> list[Instance]:
    """By priority, the highest first; then the oldest."""
    return sorted(rows, key=lambda row: (-priority_of(row), row.created_us, row.id))


def host_evacuate(
    tx: Tx, settings: Settings, host: Host, credentials: Credentials, request_id: str, target: str, rebuild: bool
) -> list[Verdict]:
    """Accept the evacuation of everything on a host; repeated, it answers with what goes on."""
    return [
        _begin(tx, settings, row, credentials, request_id, target, rebuild)
        for row in in_order(instances_of_host(tx, host.id))
    ]


def _begin(
    tx: Tx, settings: Settings, row: Instance, credentials: Credentials, request_id: str, target: str, rebuild: bool
) -> Verdict:
    verdict = Verdict(row.id, row.name, priority_of(row), "moves")
    if (otherwise := _otherwise(row)) is not None:
        return otherwise
    try:
        act = tx.attempt(
            lambda: server_evacuate_begin(tx, settings, row, credentials, request_id, target=target, rebuild=rebuild)
        )
    except HoldfastError as err:
        return msgspec.structs.replace(verdict, outcome="stays", reason=err.message)
    return msgspec.structs.replace(verdict, operation_id=act.id)


def _otherwise(row: Instance) -> Verdict | None:
    if row.state is InstanceState.BUILDING:
        return Verdict(row.id, row.name, priority_of(row), "builds", reason="it is built on another host")
    if row.state is InstanceState.DELETING:
        return Verdict(row.id, row.name, priority_of(row), "goes", reason="it is being deleted")
    return None


def host_evacuation_foreseen(tx: Tx, settings: Settings, host: Host, target: str, rebuild: bool) -> list[Verdict]:
    """What an evacuation of a host would do if it began now, whether the host is dead or not. Nothing is changed.

    Those that would have to give up their room are among the verdicts, each after the server that it is given to.
    """
    foresight = _Foresight(tx, settings, host, target, rebuild)
    return [verdict for row in in_order(instances_of_host(tx, host.id)) for verdict in foresight.of(row)]


class _Foresight:
    """The rooms of all hosts as they would be, server by server."""

    def __init__(self, tx: Tx, settings: Settings, host: Host, target: str, rebuild: bool) -> None:
        self._tx, self._settings, self._host, self._target, self._rebuild = tx, settings, host, target, rebuild
        self._left = {room.host.id: room for room in rooms(tx, settings)}
        self._names = host_names(tx)
        self._groups: dict[str, dict[str, int]] = {}
        self._shed: set[str] = set()

    def of(self, row: Instance) -> list[Verdict]:
        if (otherwise := _otherwise(row)) is not None:
            return [otherwise]
        verdict = Verdict(row.id, row.name, priority_of(row), "moves")
        avoid = {} if self._rebuild else hosts_without_disk(self._tx, row, self._host.id)
        request = request_of(
            self._tx, revertible(row), {**avoid, self._host.id: "it is the one that is left"}, self._target
        )
        beside = self._groups.setdefault(row.group_id, dict(request.apart_from)) if row.group_id else {}
        request = replace(request, apart_from=beside)
        gone: tuple[Giver, ...] = ()
        try:
            if not self._rebuild:
                disk_check(self._tx, row, self._host)
            chosen = self._place(request)
        except NoCapacity as err:
            gone = self._shed_for(request, row)
            if not gone:
                return [msgspec.structs.replace(verdict, outcome="waits", reason=err.message)]
            chosen = self._left[gone[0].host_id] = room_after(self._left[gone[0].host_id], gone=gone)
        except HoldfastError as err:
            return [msgspec.structs.replace(verdict, outcome="stays", reason=err.message)]
        beside[chosen.host.id] = beside.get(chosen.host.id, 0) + 1
        self._left[chosen.host.id] = room_after(chosen, come=[giver_of(revertible(row))])
        name = self._names.get(chosen.host.id, chosen.host.id)
        return [msgspec.structs.replace(verdict, host=name), *(self._gives(each, row, name) for each in gone)]

    def _place(self, request: Request) -> Room:
        return self._left[place(request, list(self._left.values())).host_id]

    def _shed_for(self, request: Request, row: Instance) -> tuple[Giver, ...]:
        if self._settings.shed != "auto":
            return ()
        lower = [each for each in givers_below(self._tx, priority_of(row)) if each.host_id != self._host.id]
        gone = shed_for(request, list(self._left.values()), [e for e in lower if e.instance_id not in self._shed])
        self._shed |= {each.instance_id for each in gone}
        return gone

    @staticmethod
    def _gives(each: Giver, row: Instance, host: str) -> Verdict:
        why = f"its room on {host} is given to {row.name} (priority {priority_of(row)}); it waits for other room"
        return Verdict(each.instance_id, each.name, each.priority, "shed", reason=why)
