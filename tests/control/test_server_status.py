"""The status of a server is said twice, in Python for views and in SQL for filters: here they are held together."""

from __future__ import annotations

import itertools

import msgspec

from holdfast.base import ids
from holdfast.control.store.database import Database
from holdfast.control.store.instance import instance_insert
from holdfast.control.store.operation import operation_insert
from holdfast.control.store.server import ServerQuery, servers_list
from holdfast.domain.desired import Power
from holdfast.domain.instance import Fault, Flavor, InstanceState, instance_new
from holdfast.domain.server import VM_STATE, status

FLAVOR = Flavor("1", "m1.tiny", 1, 128, 1)
ACTS = ["", "server_create", "server_delete", "server_stop", "server_start", "server_reboot", "server_pause"]
ACTS += ["server_unpause", "server_rebuild", "server_capture", "server_resize", "server_revert"]
ACTS += ["server_migrate", "server_live_migrate", "server_evacuate"]

PLAIN = instance_new(
    1,
    id="",
    project_id="p",
    user_id="u",
    name="n",
    description="",
    hostname="n",
    revision=1,
    flavor=FLAVOR,
    key_name="",
    key_public="",
    user_data="",
    config_drive=False,
    zone_asked="",
    properties={},
    tags=[],
    security_groups=[],
    group_id="",
    reservation_id="r",
    launch_index=0,
)


def test_a_filter_by_status_finds_exactly_the_servers_that_show_it(store: Database) -> None:
    faults, launches = (None, Fault(500, "broken", 1)), (0, 5)
    words = {"project_id": "p", "user_id": "u", "request_id": "r", "deadline_s": 0, "step": "s"}

    def fill(tx: object) -> list[str]:
        made = []
        cases = itertools.product(InstanceState, Power, ACTS, faults, launches, (None, FLAVOR), (False, True))
        for state, power, act, fault, launched_us, old_flavor, soft in cases:
            changes = {"state": state, "power": power, "fault": fault, "launched_us": launched_us, "soft": soft}
            row = msgspec.structs.replace(PLAIN, id=ids.new_id(), old_flavor=old_flavor, **changes)
            instance_insert(tx, row)  # type: ignore[arg-type]
            if act:
                operation_insert(tx, kind=act, resource_id=row.id, **words)  # type: ignore[arg-type]
            made.append(row.id)
        return made

    made = store.write(fill)
    shown: dict[str, set[str]] = {}
    for server in store.read(lambda tx: servers_list(tx, ServerQuery(with_deleted=True, limit=100_000))):
        shown.setdefault(status(server), set()).add(server.instance.id)
    assert set().union(*shown.values()) == set(made)
    for word in VM_STATE:
        query = ServerQuery(statuses=(word,), limit=100_000)
        found = {server.instance.id for server in store.read(lambda tx, query=query: servers_list(tx, query))}
        assert found == shown.get(word, set()), word
