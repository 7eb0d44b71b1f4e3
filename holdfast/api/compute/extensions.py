"""Nova's extension list: frozen in Nova itself, and here only what this cloud really answers."""

from __future__ import annotations

from typing import Final

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.routes import Route
from holdfast.base.errors import NotFound

_RULE: Final = "os_compute_api:extensions"
_NAMES: Final = {
    "OS-DCF": ("DiskConfig", "Disk Management Extension."),
    "OS-EXT-AZ": ("ExtendedAvailabilityZone", "Availability zone of a server."),
    "OS-EXT-IPS": ("ExtendedIps", "Type of an address: fixed or floating."),
    "OS-EXT-IPS-MAC": ("ExtendedIpsMac", "MAC of an address."),
    "OS-EXT-SRV-ATTR": ("ExtendedServerAttributes", "Host attributes of a server."),
    "OS-EXT-STS": ("ExtendedStatus", "Task, power and machine state of a server."),
    "OS-FLV-DISABLED": ("FlavorDisabled", "Disabled flag of a flavor."),
    "OS-FLV-EXT-DATA": ("FlavorExtraData", "Ephemeral disk of a flavor."),
    "OS-SRV-USG": ("ServerUsage", "When a server was launched and terminated."),
    "os-availability-zone": ("AvailabilityZone", "Availability zones of the hosts."),
    "os-console-output": ("ConsoleOutput", "Console log of a server."),
    "os-flavor-access": ("FlavorAccess", "Projects that may use a private flavor."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Keys and values of a flavor."),
    "os-flavor-manage": ("FlavorManage", "Create and delete flavors."),
    "os-hosts": ("Hosts", "Hosts, before version 2.43."),
    "os-hypervisors": ("Hypervisors", "Hosts as hypervisors."),
    "os-instance-actions": ("InstanceActions", "What was done to a server, and how it ended."),
    "os-keypairs": ("Keypairs", "Public keys of users."),
    "os-quota-class-sets": ("QuotaClasses", "Default quotas."),
    "os-quota-sets": ("Quotas", "Quotas of projects."),
    "os-server-groups": ("ServerGroups", "Servers that belong together or apart."),
    "os-services": ("Services", "The compute service of each host."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "What a project used."),
    "os-used-limits": ("UsedLimits", "Use beside limits."),
    "os-user-data": ("UserData", "User data of a server."),
}


def _view(alias: str) -> dict[str, object]:
    title, description = _NAMES[alias]
    namespace = "http://docs.openstack.org/compute/ext/fake_xml"  # what Nova answers since it has no XML
    return {
        "alias": alias,
        "name": title,
        "description": description,
        "namespace": namespace,
        "updated": "2014-12-03T00:00:00Z",
        "links": [],
    }


def extensions_index(call: Call) -> Reply:
    """GET extensions."""
    return Reply(200, {"extensions": [_view(alias) for alias in _NAMES]})


def extension_show(call: Call) -> Reply:
    """GET extensions/ALIAS."""
    alias = call.parameters["alias"]
    if alias not in _NAMES:
        raise NotFound("The resource could not be found.")
    return Reply(200, {"extension": _view(alias)})


RULES = {_RULE: "@"}
ROUTES = (
    Route("GET", "/v2.1/extensions", extensions_index, _RULE),
    Route("GET", "/v2.1/extensions/{alias}", extension_show, _RULE),
)
