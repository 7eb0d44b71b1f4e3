"""The network agents, as operators list them: one for each host, seen to be alive as its host is.

There is no agent of its own for DHCP, routers or metadata: the agent of a host does all of it.
"""

from __future__ import annotations

from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.network.listing import listing_of, selected
from holdfast.base.clock import iso_z
from holdfast.base.errors import BadInput, NotFound
from holdfast.control.store.host import hosts_list
from holdfast.domain.host import Host

BINARY, TYPE = "holdfast-agent", "Holdfast agent"
FIELDS = {"id", "agent_type", "binary", "topic", "host", "availability_zone", "admin_state_up", "alive", "description"}

Agent = dict[str, Any]


def agents_listed(call: Call) -> Reply:
    """GET /v2.0/agents"""
    if not call.may("get_agent"):
        return Reply(200, {"agents": []})  # as Neutron filters what its caller may not see
    wanted = listing_of(call).filters
    if unknown := sorted({name for name, _ in wanted} - FIELDS):
        raise BadInput(f"{[name[:64] for name in unknown]} is invalid attribute for filtering", code="HTTPBadRequest")
    return Reply(200, {"agents": [selected(call, each) for each in _agents(call) if _matches(each, wanted)]})


def agent_shown(call: Call) -> Reply:
    """GET /v2.0/agents/ID"""
    wanted = call.parameters["id"]
    for each in _agents(call):
        if each["id"] == wanted:
            return Reply(200, {"agent": selected(call, each)})
    raise NotFound(f"Agent {wanted[:64]} could not be found.", code="AgentNotFound")


def _agents(call: Call) -> list[Agent]:
    return [_view(host, call.services.clock.now_us()) for host in call.services.store.read(hosts_list)]


def _view(host: Host, now_us: int) -> Agent:
    """Whoever lists agents asks whether they are alive; nothing here switches one off by itself."""
    return {
        "id": host.id,
        "agent_type": TYPE,
        "binary": BINARY,
        "topic": "N/A",
        "host": host.name,
        "availability_zone": host.zone,
        "admin_state_up": True,
        "alive": host.is_up(now_us),
        "created_at": _seconds(host.created_us),
        "started_at": None,  # not reported; a host's boots are counted by its lease
        "heartbeat_timestamp": _seconds(host.reported_us) if host.reported_us else None,
        "description": None,
        "configurations": {},
        "resources_synced": None,
    }


def _seconds(instant_us: int) -> str:
    """Neutron's form for agents: no zone, no T."""
    return iso_z(instant_us).rstrip("Z").replace("T", " ")


def _matches(agent: Agent, wanted: tuple[tuple[str, tuple[str, ...]], ...]) -> bool:
    return all(str(agent[name]).lower() in {value.lower() for value in values} for name, values in wanted)
