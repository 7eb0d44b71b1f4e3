"""Regions, zones, attributes and instance types, as boto3 sees them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.api.ec2.facade import ec2_facades
from holdfast.api.ec2.routes import ACTIONS, RULES
from holdfast.api.http.application import Application
from holdfast.api.http.call import Call
from holdfast.api.http.policy import Policy
from holdfast.api.versions import ROOT
from holdfast.control.store.flavor import flavor_insert
from holdfast.control.store.host import host_insert, host_update
from holdfast.domain.credentials import Credentials
from holdfast.domain.instance import Flavor
from tests.api.ec2_client import SECRETS, ec2, refusal
from tests.api.test_ec2_wire_facade import services
from tests.client import Client

__all__ = ["services"]  # a fixture


def signer_of(call: Call, access_key: str) -> tuple[str, Credentials]:
    return SECRETS[access_key], Credentials("u", "member", "d", project_id="p", roles=frozenset({"reader"}))


@pytest.fixture
def cloud(services: Any) -> Any:
    """boto3's client, and the services behind it."""

    def refuse(_: Any) -> Any:
        raise AssertionError("no token is looked at")

    facades = ec2_facades(ACTIONS, signer_of, old_clients=False)
    services.store.write(lambda tx: host_insert(tx, "h1", "one", "east", "digest"))
    services.store.write(lambda tx: host_insert(tx, "h2", "two", "west", "digest"))
    services.store.write(lambda tx: host_update(tx, "h1", reported_us=services.clock.now_us()))
    for number, name in enumerate(("m1.tiny", "m1.small", "x.hidden", "x.off")):
        flavor = Flavor(str(number), name, 1, 512 << number, 5, is_public=name[0] == "m", disabled=name == "x.off")
        services.store.write(lambda tx, flavor=flavor: flavor_insert(tx, flavor))
    return ec2(Client(Application(services, facades, Policy(RULES), refuse, refuse, ROOT)))


def test_there_is_one_region(cloud: Any) -> None:
    region = cloud.describe_regions()["Regions"][0]
    assert (region["RegionName"], region["Endpoint"]) == ("RegionOne", "http://127.0.0.1:5000/services/Cloud")
    assert cloud.describe_regions(Filters=[{"Name": "region-name", "Values": ["x*"]}])["Regions"] == []
    assert refusal(lambda: cloud.describe_regions(RegionNames=["mars"]))[0] == "InvalidParameterValue"


def test_a_zone_is_available_while_a_host_of_it_is_up(cloud: Any) -> None:
    zones = cloud.describe_availability_zones()["AvailabilityZones"]
    assert {zone["ZoneName"]: zone["State"] for zone in zones} == {
        "east": "available",
        "nova": "unavailable",
        "west": "unavailable",
    }
    kept = cloud.describe_availability_zones(Filters=[{"Name": "state", "Values": ["available"]}])
    assert [zone["ZoneName"] for zone in kept["AvailabilityZones"]] == ["east"]
    kept = cloud.describe_availability_zones(ZoneNames=["west"])
    assert [zone["ZoneName"] for zone in kept["AvailabilityZones"]] == ["west"]


def test_old_clients_learn_that_there_is_no_classic_network(cloud: Any) -> None:
    said = cloud.describe_account_attributes(AttributeNames=["supported-platforms"])["AccountAttributes"]
    assert said == [{"AttributeName": "supported-platforms", "AttributeValues": [{"AttributeValue": "VPC"}]}]


def test_instance_types_are_the_flavors_that_the_project_may_use(cloud: Any) -> None:
    types = cloud.describe_instance_types()["InstanceTypes"]
    assert [kind["InstanceType"] for kind in types] == ["m1.small", "m1.tiny"]
    assert (types[1]["VCpuInfo"]["DefaultVCpus"], types[1]["MemoryInfo"]["SizeInMiB"]) == (1, 512)
    big = cloud.describe_instance_types(Filters=[{"Name": "memory-info.size-in-mib", "Values": ["1024"]}])
    assert [kind["InstanceType"] for kind in big["InstanceTypes"]] == ["m1.small"]


def test_many_instance_types_come_in_pages(cloud: Any, services: Any) -> None:
    for number in range(10, 19):
        flavor = Flavor(str(number), f"z{number}", 1, 64, 1)
        services.store.write(lambda tx, flavor=flavor: flavor_insert(tx, flavor))
    pages = cloud.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 5})
    assert [len(page["InstanceTypes"]) for page in pages] == [5, 5, 1]


def test_a_flavor_of_others_is_not_shown(cloud: Any) -> None:
    assert refusal(lambda: cloud.describe_instance_types(InstanceTypes=["x.hidden"]))[0] == "InvalidParameterValue"
