"""Every URL of the network service, the rule that guards it, and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.faults import neutron_fault
from holdfast.api.http.routes import PUBLIC, Facade, Route
from holdfast.api.network import (
    agents,
    availability,
    discovery,
    floating_ips,
    networks,
    ports,
    quotas,
    routers,
    security_groups,
    subnetpools,
    tags,
)
from holdfast.api.network.resource import STALE, Document, Resource, created, deleted, listed, shown, updated
from holdfast.api.network.rules import RULES
from holdfast.base.errors import HoldfastError
from holdfast.control.store.database import Tx

__all__ = ["FACADE", "RULES"]


def fault(error: HoldfastError, request_id: str) -> Reply:
    """Neutron's shape; a revision that moved on is 412."""
    reply = neutron_fault(error, request_id)
    if error.code == STALE:
        reply.status = 412
    return reply


def _noun(
    resource: Resource,
    path: str,
    make: Callable[[Tx, Call, Document], Any],
    alter: Callable[[Tx, Call, Any, Document], Any] | None,
    remove: Callable[[Tx, Call, Any], None],
    index: Callable[[Call], Reply] | None = None,
) -> tuple[Route, ...]:
    """The five URLs of a noun, and those of its tags; without `alter` it never changes and has no tags."""
    noun, one = resource.noun, f"{path}/{{id}}"
    found = (
        Route("GET", path, index or listed(resource), f"get_{noun}"),
        Route("POST", path, created(resource, make), f"create_{noun}"),
        Route("GET", one, shown(resource), f"get_{noun}"),
        Route("DELETE", one, deleted(resource, remove), f"delete_{noun}"),
    )
    if alter is None:
        return found
    return (*found, Route("PUT", one, updated(resource, alter), f"update_{noun}"), *tags.routes(resource, path))


_ROUTER = "/v2.0/routers/{id}"
_QUOTA = "/v2.0/quotas/{project_id}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/", discovery.versions, PUBLIC),
    Route("GET", "/v2.0", discovery.resources, PUBLIC),
    Route("GET", "/v2.0/extensions", discovery.extensions_listed, "get_extension"),
    Route("GET", "/v2.0/extensions/{alias}", discovery.extension_shown, "get_extension"),
    *_noun(
        networks.NETWORK,
        "/v2.0/networks",
        networks.network_create,
        networks.network_update,
        networks.network_delete,
    ),
    *_noun(networks.SUBNET, "/v2.0/subnets", networks.subnet_create, networks.subnet_update, networks.subnet_delete),
    *_noun(
        subnetpools.SUBNETPOOL,
        "/v2.0/subnetpools",
        subnetpools.subnetpool_create,
        subnetpools.subnetpool_update,
        subnetpools.subnetpool_delete,
    ),
    *_noun(ports.PORT, "/v2.0/ports", ports.port_create, ports.port_update, ports.port_delete),
    *_noun(routers.ROUTER, "/v2.0/routers", routers.router_create, routers.router_update, routers.router_delete),
    Route("PUT", f"{_ROUTER}/add_router_interface", routers.interface_add, "update_router"),
    Route("PUT", f"{_ROUTER}/remove_router_interface", routers.interface_remove, "update_router"),
    Route("PUT", f"{_ROUTER}/add_extraroutes", routers.routes_add, "update_router"),
    Route("PUT", f"{_ROUTER}/remove_extraroutes", routers.routes_remove, "update_router"),
    *_noun(
        floating_ips.FLOATING_IP,
        "/v2.0/floatingips",
        floating_ips.floating_ip_create,
        floating_ips.floating_ip_update,
        floating_ips.floating_ip_delete,
    ),
    *_noun(
        security_groups.GROUP,
        "/v2.0/security-groups",
        security_groups.group_create,
        security_groups.group_update,
        security_groups.group_delete,
        security_groups.groups_listed,
    ),
    *_noun(
        security_groups.RULE,
        "/v2.0/security-group-rules",
        security_groups.rule_create,
        None,
        security_groups.rule_delete,
    ),
    Route("GET", "/v2.0/quotas", quotas.quotas_listed, "get_quotas"),
    Route("GET", _QUOTA, quotas.quota_show, "get_quota"),
    Route("GET", f"{_QUOTA}/default", quotas.quota_default, "get_quota"),
    Route("GET", f"{_QUOTA}/details", quotas.quota_details, "get_quota"),
    Route("PUT", _QUOTA, quotas.quota_update, "update_quota"),
    Route("DELETE", _QUOTA, quotas.quota_delete, "delete_quota"),
    Route("GET", "/v2.0/availability_zones", discovery.zones_listed, "get_availability_zone"),
    Route("GET", "/v2.0/service-providers", discovery.providers_listed, "get_service_provider"),
    Route("GET", "/v2.0/network-ip-availabilities", availability.availabilities_listed, "get_network_ip_availability"),
    Route(
        "GET", "/v2.0/network-ip-availabilities/{id}", availability.availability_shown, "get_network_ip_availability"
    ),
    Route("GET", "/v2.0/agents", agents.agents_listed, "get_agents"),
    Route("GET", "/v2.0/agents/{id}", agents.agent_shown, "get_agent"),
)

FACADE = Facade("network", "network", ROUTES, fault)
