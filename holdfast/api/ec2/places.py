"""Where and as what instances can run: regions, zones, account attributes and instance types."""

from __future__ import annotations

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import filter_of, page_of
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput
from holdfast.control.store.flavor import flavors_list
from holdfast.control.store.host import hosts_list
from holdfast.domain.instance import Flavor


def regions(call: Call, members: Members) -> Members:
    """The one region of this cloud."""
    settings = call.services.settings
    region = {"RegionName": settings.region, "Endpoint": f"{settings.endpoint}/services/Cloud"}
    passes = filter_of(members.get("Filters", []), ("region-name", "endpoint"))
    _require(members.get("RegionNames", []), {settings.region}, "region")
    kept = passes({"region-name": [settings.region], "endpoint": [region["Endpoint"]]})
    return {"Regions": [{**region, "OptInStatus": "opt-in-not-required"}] if kept else []}


def availability_zones(call: Call, members: Members) -> Members:
    """A zone is available while a host of it is up and enabled."""
    region, now_us = call.services.settings.region, call.services.clock.now_us()
    hosts = call.services.store.read(hosts_list)
    usable = {host.zone for host in hosts if host.enabled and host.is_up(now_us)}
    zones = {call.services.settings.zone, *(host.zone for host in hosts)}
    passes = filter_of(members.get("Filters", []), ("zone-name", "state", "region-name"))
    asked = members.get("ZoneNames", [])
    _require(asked, zones, "availability zone")
    rows = [(zone, "available" if zone in usable else "unavailable") for zone in sorted(zones)]
    return {
        "AvailabilityZones": [
            {"ZoneName": zone, "ZoneId": zone, "State": state, "RegionName": region, "Messages": []}
            for zone, state in rows
            if (not asked or zone in asked) and passes({"zone-name": [zone], "state": [state], "region-name": [region]})
        ]
    }


def account_attributes(call: Call, members: Members) -> Members:
    """What old clients ask to learn whether there is a classic network; there is none."""
    known = {"supported-platforms": "VPC", "default-vpc": "none"}
    asked = members.get("AttributeNames", list(known))
    _require(asked, set(known), "account attribute")
    return {
        "AccountAttributes": [
            {"AttributeName": name, "AttributeValues": [{"AttributeValue": known[name]}]} for name in asked
        ]
    }


def instance_types(call: Call, members: Members) -> Members:
    """The flavors that the project may use."""
    flavors = call.services.store.read(lambda tx: flavors_list(tx, call.project_id))
    usable = sorted((flavor for flavor in flavors if not flavor.disabled), key=lambda flavor: flavor.name)
    asked = members.get("InstanceTypes", [])
    _require(asked, {flavor.name for flavor in usable}, "instance type")
    passes = filter_of(members.get("Filters", []), _flavor_facts(Flavor("", "", 0, 0, 0)))
    kept = [f for f in usable if (not asked or f.name in asked) and passes(_flavor_facts(f))]
    page, token = page_of(kept, members, lambda flavor: flavor.name)
    return {"InstanceTypes": [_instance_type(flavor) for flavor in page], "NextToken": token}


def _flavor_facts(flavor: Flavor) -> dict[str, list[str]]:
    return {
        "instance-type": [flavor.name],
        "vcpu-info.default-vcpus": [str(flavor.vcpus)],
        "memory-info.size-in-mib": [str(flavor.memory_mib)],
    }


def _instance_type(flavor: Flavor) -> Members:
    return {
        "InstanceType": flavor.name,
        "CurrentGeneration": True,
        "BareMetal": False,
        "VCpuInfo": {"DefaultVCpus": flavor.vcpus},
        "MemoryInfo": {"SizeInMiB": flavor.memory_mib},
        "InstanceStorageSupported": True,
        "InstanceStorageInfo": {"TotalSizeInGB": flavor.disk_gib},
    }


def _require(asked: list[str], known: set[str], kind: str) -> None:
    for name in asked:
        if name not in known:
            raise BadInput(f"There is no {kind} '{name[:64]}'.", code="InvalidParameterValue")


RULES = {
    "ec2:DescribeRegions": "@",
    "ec2:DescribeAvailabilityZones": "@",
    "ec2:DescribeAccountAttributes": "@",
    "ec2:DescribeInstanceTypes": "@",
}
ACTIONS = {
    "DescribeRegions": Action("ec2:DescribeRegions", regions),
    "DescribeAvailabilityZones": Action("ec2:DescribeAvailabilityZones", availability_zones),
    "DescribeAccountAttributes": Action("ec2:DescribeAccountAttributes", account_attributes),
    "DescribeInstanceTypes": Action("ec2:DescribeInstanceTypes", instance_types),
}
