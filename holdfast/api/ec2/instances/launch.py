"""RunInstances: everything that is asked for is taken in one transaction, or nothing is.

A ClientToken makes a launch happen once, however often it is asked for. Each instance gets a public address
when a router leads from its network to an external one and the pool has one left: it is the instance's, is
not listed among the project's addresses, and goes back with the instance. A pool without room fails no
launch, unless the address was asked for by name (AssociatePublicIpAddress).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.instances.asked import check_supported, launch_asked
from holdfast.api.ec2.instances.describe import views_of
from holdfast.api.ec2.instances.views import reservation_view
from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.base import log as logs
from holdfast.base.errors import BadInput, Conflict, NoCapacity, NotFound, QuotaExceeded
from holdfast.control.operations.network.floating_ip import floating_ip_take
from holdfast.control.operations.server.placing import servers_that_fit
from holdfast.control.operations.server.request import ServerWanted, servers_accept
from holdfast.control.store.database import Tx
from holdfast.control.store.network.port import ports_of_instance_ids
from holdfast.control.store.network.router import routers_fetch, routers_of_networks
from holdfast.control.store.server import ServerQuery, servers_list
from holdfast.domain.floating_ip import FloatingWanted
from holdfast.domain.port import Port

log = logs.get(__name__)


def instances_run(call: Call, members: Members) -> Members:
    """RunInstances."""
    check_supported(members)

    def change(tx: Tx) -> Reply:
        asked = launch_asked(call, tx, members)
        wanted = _room_check(call, tx, asked.wanted)
        rows = servers_accept(tx, wanted, call.credentials, call.request_id)
        if asked.public is not False:
            _public_addresses_give(call, tx, [row.id for row in rows], required=asked.public is True)
        return Reply(200, {"ids": [row.id for row in rows]})

    reply = write_once(call, change, key=members.get("ClientToken", ""))
    body = reply.body if isinstance(reply.body, dict) else msgspec.json.decode(reply.body)
    return call.services.store.read(lambda tx: _answer(call, tx, body["ids"]))


def _room_check(call: Call, tx: Tx, wanted: ServerWanted) -> ServerWanted:
    """Say at once that no host has room; between MinCount and MaxCount, launch what fits."""
    try:
        fits = servers_that_fit(tx, call.services.settings, wanted.flavor, wanted.zone, wanted.count_max)
    except NoCapacity as err:
        raise _no_room(err.message) from err
    if fits < wanted.count_min:
        raise _no_room(f"{fits} of {wanted.count_min} instances have room")
    return msgspec.structs.replace(wanted, count_max=fits)


def _no_room(detail: str) -> NoCapacity:
    """Which hosts there are is not the caller's to know."""
    message = "There is not enough capacity for the instances that you asked for. Try again later."
    return NoCapacity(message, code="InsufficientInstanceCapacity", detail=detail)


def _public_addresses_give(call: Call, tx: Tx, instance_ids: Sequence[str], *, required: bool) -> None:
    if not call.may("create_floatingip"):
        if required:
            call.authorise("create_floatingip")
        return
    seen: set[str] = set()
    for port in ports_of_instance_ids(tx, instance_ids):
        if port.instance_id not in seen:
            seen.add(port.instance_id)
            _public_address_give(tx, port, required)


def _public_address_give(tx: Tx, port: Port, required: bool) -> None:
    routers = routers_fetch(tx, routers_of_networks(tx, [port.network_id]))
    outside = sorted({router.external_network_id for router in routers if router.external_network_id})
    if not outside:
        if required:
            raise BadInput("The subnet leads to no network with public addresses.", code="Gateway.NotAttached")
        return
    wanted = FloatingWanted(port.project_id, outside[0], port.id, auto_for_instance=True)
    try:
        tx.attempt(lambda: floating_ip_take(tx, wanted))
    except (NoCapacity, QuotaExceeded, NotFound, BadInput, Conflict) as err:
        if required:
            raise NoCapacity("No public address is available.", code="InsufficientAddressCapacity") from err
        log.info("launch_without_public_address", instance=port.instance_id, reason=err.message)


def _answer(call: Call, tx: Tx, instance_ids: Sequence[str]) -> Members:
    """The launch as it is now: a repeat shows what became of the first."""
    query = ServerQuery(
        project_id=call.project_id, ids=tuple(instance_ids), with_deleted=True, sort=(("created_at", False),)
    )
    servers = sorted(servers_list(tx, query), key=lambda server: server.instance.launch_index)
    if not servers:
        raise Conflict("The instances of this ClientToken are gone.", code="IdempotentInstanceTerminated")
    return reservation_view(views_of(call, tx, servers), servers[0].instance.reservation_id, call.project_id)


ACTIONS = {"RunInstances": Action("os_compute_api:servers:create", instances_run)}
