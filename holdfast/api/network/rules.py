"""Who may do what in the network service: Neutron's rule names and what they mean here.

A rule is asked with the project of the object it is about; for what depends on the network that a port is in, with
the network's project (`net_owner`). What a project may see at all is decided by the store's conditions, before.
"""

from __future__ import annotations

from holdfast.api.http.policy import ADMIN, MEMBER, READER, SERVICE

_NOUNS = ("network", "subnet", "subnetpool", "port", "router", "floatingip", "security_group", "security_group_rule")
_SERVICE_OR_MEMBER = f"{MEMBER} or role:service"

_ADMIN_ONLY = (
    "create_network:shared",
    "update_network:shared",
    "create_network:router:external",
    "update_network:router:external",
    "create_network:is_default",
    "update_network:is_default",
    "create_subnetpool:shared",
    "create_subnetpool:is_default",
    "update_subnetpool:is_default",
    "create_network:provider:network_type",
    "create_network:provider:physical_network",
    "create_network:provider:segmentation_id",
    "get_network:provider:network_type",
    "create_router:ha",
    "update_router:ha",
    "create_router:distributed",
    "update_router:distributed",
    "create_router:external_gateway_info:enable_snat",
    "update_router:external_gateway_info:enable_snat",
    "create_router:external_gateway_info:external_fixed_ips",
    "update_router:external_gateway_info:external_fixed_ips",
    "create_floatingip:floating_ip_address",
    "update_quota",
    "delete_quota",
    "get_quotas",
    "get_agent",
    "get_network_ip_availability",
)
_NET_OWNER = (
    "mac_address",
    "port_security_enabled",
    "allowed_address_pairs",
    "fixed_ips:ip_address",
    "fixed_ips:subnet_id",
)

RULES: dict[str, str] = {
    "context_is_admin": ADMIN,
    "context_sees_all": SERVICE,
    **{f"get_{noun}": f"{READER} or role:service" for noun in _NOUNS},
    **{f"{act}_{noun}": _SERVICE_OR_MEMBER for noun in _NOUNS for act in ("create", "update", "delete")},
    **dict.fromkeys(_ADMIN_ONLY, ADMIN),
    **{f"{act}_port:{what}": _SERVICE_OR_MEMBER for what in _NET_OWNER for act in ("create", "update")},
    "get_port:binding:host_id": SERVICE,
    **{f"{act}_port:binding:{what}": SERVICE for what in ("host_id", "profile") for act in ("create", "update")},
    "create_port:device_owner": SERVICE,
    "get_quota": READER,
    "get_agents": "@",
    "get_extension": "@",
    "get_availability_zone": "@",
    "get_service_provider": "@",
}
