"""Every URL of Nova's API here: the table of contents."""

from __future__ import annotations

from holdfast.api.compute import (
    availability_zones,
    extensions,
    flavor_parts,
    flavors,
    hypervisors,
    instance_actions,
    keypairs,
    quotas,
    server_actions,
    server_groups,
    server_parts,
    server_volumes,
    servers,
    services,
    usages,
    versions,
)
from holdfast.api.compute.moves import migrations
from holdfast.api.http.faults import nova_fault
from holdfast.api.http.routes import Facade

_PARTS = (
    servers,
    server_actions,
    server_parts,
    server_volumes,
    instance_actions,
    migrations,
    flavor_parts,
    flavors,
    keypairs,
    server_groups,
    hypervisors,
    services,
    availability_zones,
    quotas,
    usages,
    extensions,
)

FACADE = Facade(
    name="compute",
    mount="compute",
    routes=(*versions.ROUTES, *(route for part in _PARTS for route in part.ROUTES)),
    fault=nova_fault,
    version=versions.version_of,
    version_headers=versions.version_headers,
)
RULES = {name: rule for part in _PARTS for name, rule in part.RULES.items()}
