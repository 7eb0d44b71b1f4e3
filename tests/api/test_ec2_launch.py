"""RunInstances: what is asked for is made, once, or refused by name."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.ec2.instances import asked
from holdfast.api.ec2.model import load
from holdfast.base.config import Settings
from holdfast.control.operations.identity.bootstrap import identity_bootstrap
from holdfast.control.operations.network.network import network_create, subnet_create
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_fetch
from holdfast.control.store.quota import quota_set
from holdfast.daemon.composition import make_application, make_services
from holdfast.domain.network import NetworkWanted, SubnetWanted
from tests.api.ec2_client import ec2, refusal
from tests.api.ec2_world import World, world, world_of
from tests.api.test_ec2_instances import names, uuid_of
from tests.client import Client
from tests.conftest import Cloud, HeldClock, open_store, password_hashes

__all__ = ["world"]  # a fixture
ONE = {"MinCount": 1, "MaxCount": 1, "InstanceType": "m1.nano"}


def run(world: World, boto: Any, **words: Any) -> list[dict[str, Any]]:
    return list(boto.run_instances(**{"ImageId": world.ami, **ONE, **words})["Instances"])


def code(world: World, boto: Any, **words: Any) -> str:
    return refusal(lambda: run(world, boto, **words))[0]


def second_network(world: World) -> dict[str, Any]:
    """Another network of the project, without a way out, with two subnets; returns the second subnet."""
    project_id = world.cloud.known.demo_project_id

    def change(tx: Tx) -> None:
        made = network_create(tx, NetworkWanted(project_id, "back"))
        for cidr in ("10.88.0.0/24", "10.99.0.0/24"):
            subnet_create(tx, SubnetWanted(project_id, made.id, cidr))

    world.store.write(change)
    wanted = [{"Name": "cidr-block", "Values": ["10.99.*"]}]
    return dict(world.boto().describe_subnets(Filters=wanted)["Subnets"][0])


def test_everything_that_a_launch_says_is_on_the_instance(world: World) -> None:
    boto = world.boto()
    boto.create_key_pair(KeyName="mine")
    group = boto.create_security_group(GroupName="web", Description="web")["GroupId"]
    subnet = boto.describe_subnets()["Subnets"][0]
    tags = [{"Key": "Name", "Value": "web"}, {"Key": "role", "Value": "<front>"}]
    seen = world.launch(
        boto,
        KeyName="mine",
        SecurityGroupIds=[group],
        SubnetId=subnet["SubnetId"],
        PrivateIpAddress="10.77.0.77",
        UserData="#!/bin/sh\necho hello",
        Placement={"AvailabilityZone": "nova"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        Monitoring={"Enabled": False},
    )
    assert (seen["KeyName"], seen["PrivateIpAddress"], seen["SubnetId"]) == ("mine", "10.77.0.77", subnet["SubnetId"])
    assert seen["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]
    assert sorted(seen["Tags"], key=lambda tag: tag["Key"]) == tags
    assert seen["Placement"]["AvailabilityZone"] == "nova"
    row = world.store.read(lambda tx: instance_fetch(tx, uuid_of(world, seen["InstanceId"])))
    assert base64.b64decode(row.user_data) == b"#!/bin/sh\necho hello"
    server = world.nova().get(f"/compute/v2.1/servers/{row.id}").json["server"]
    assert (server["name"], server["metadata"]["role"], server["key_name"]) == ("web", "<front>", "mine")


def test_groups_are_named_by_id_or_by_name(world: World) -> None:
    boto = world.boto()
    group = boto.create_security_group(GroupName="web", Description="web")["GroupId"]
    assert [g["GroupId"] for g in run(world, boto, SecurityGroups=["web"])[0]["SecurityGroups"]] == [group]
    both = run(world, boto, SecurityGroups=["default"], SecurityGroupIds=[group])[0]["SecurityGroups"]
    assert sorted(g["GroupName"] for g in both) == ["default", "web"]
    assert code(world, boto, SecurityGroups=["wbe"]) == "InvalidGroup.NotFound"
    assert code(world, boto, SecurityGroupIds=["sg-" + "0" * 17]) == "InvalidGroup.NotFound"
    assert code(world, boto, SecurityGroupIds=["web"]) == "InvalidGroupId.Malformed"


def test_what_is_not_there_is_refused_with_ec2s_codes_and_leaves_nothing(world: World) -> None:
    boto = world.boto()
    for words, wanted in (
        ({"ImageId": "ami-" + "0" * 17}, "InvalidAMIID.NotFound"),
        ({"ImageId": "tiny"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t2.micro"}, "InvalidParameterValue"),
        ({"KeyName": "nobody's"}, "InvalidKeyPair.NotFound"),
        ({"SubnetId": "subnet-" + "0" * 17}, "InvalidSubnetID.NotFound"),
        ({"PrivateIpAddress": "10.77.0.1"}, "InvalidIPAddress.InUse"),
        ({"PrivateIpAddress": "192.0.2.1"}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "mars"}}, "InvalidParameterValue"),
        ({"MinCount": 0}, "InvalidParameterValue"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"MaxCount": 100_000}, "InstanceLimitExceeded"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": "eni-" + "0" * 17}]}, _ENI + ".NotFound"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroups": ["default"]}, "InvalidParameterCombination"),
        ({"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a"}]}]}, "UnsupportedOperation"),
        ({"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:a"}]}]}, "InvalidParameterValue"),
        ({"UserData": "x" * 65_536}, "InvalidParameterValue"),
    ):
        assert code(world, boto, **words) == wanted, words
    assert boto.describe_instances()["Reservations"] == []
    private = [{"Name": "attachment.instance-id", "Values": ["*"]}]
    assert boto.describe_network_interfaces(Filters=private)["NetworkInterfaces"] == []


_ENI = "InvalidNetworkInterfaceID"


def test_what_this_cloud_does_not_do_is_refused_by_name_never_ignored(world: World) -> None:
    boto = world.boto()
    for words in (
        {"IamInstanceProfile": {"Name": "admin"}},
        {"LaunchTemplate": {"LaunchTemplateName": "web"}},
        {"InstanceMarketOptions": {"MarketType": "spot"}},
        {"DisableApiTermination": True},
        {"InstanceInitiatedShutdownBehavior": "terminate"},
        {"MetadataOptions": {"HttpTokens": "required"}},
        {"Placement": {"Tenancy": "dedicated"}},
        {"Placement": {"GroupName": "together"}},
        {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 8}}]},
        {"KernelId": "aki-" + "0" * 17},
        {"Ipv6AddressCount": 1},
        {"NetworkInterfaces": [{"DeviceIndex": 0, "Ipv6AddressCount": 1}]},
    ):
        assert code(world, boto, **words) == "UnsupportedOperation", words
    assert boto.describe_instances()["Reservations"] == []


def test_every_parameter_of_the_model_is_honoured_or_refused() -> None:
    honoured = {
        *("ImageId", "InstanceType", "KeyName", "MaxCount", "MinCount", "Placement", "SecurityGroupIds"),
        *("SecurityGroups", "SubnetId", "UserData", "TagSpecifications", "MetadataOptions", "DryRun"),
        *("PrivateIpAddress", "ClientToken", "NetworkInterfaces", "BlockDeviceMappings"),
    }
    nothing_made_otherwise = {"CreditSpecification", "MaintenanceOptions", "AdditionalInfo"}
    known = {member.name for member in load().input[load().action("RunInstances").input]}
    refused = {*asked._NOT_HERE, *asked._ONLY}
    assert known == honoured | nothing_made_otherwise | refused
    assert not honoured & refused


def test_a_card_is_in_the_subnet_that_was_named(world: World) -> None:
    boto, subnet = world.boto(), second_network(world)
    for words in (
        {"SubnetId": subnet["SubnetId"]},
        {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet["SubnetId"]}]},
    ):
        seen = run(world, boto, **words)[0]
        assert seen["PrivateIpAddress"].startswith("10.99.0.") and seen["SubnetId"] == subnet["SubnetId"]
        assert "PublicIpAddress" not in seen
    assert code(world, boto) == "VPCIdNotSpecified", "two networks and none named"


def test_an_interface_that_is_there_is_used_and_stays(world: World) -> None:
    boto, nova = world.boto(), world.nova()
    network = nova.get("/network/v2.0/networks?name=private").json["networks"][0]["id"]
    port = nova.post("/network/v2.0/ports", {"port": {"network_id": network}}).json["port"]
    free = [{"Name": "mac-address", "Values": [port["mac_address"]]}]
    interface = boto.describe_network_interfaces(Filters=free)["NetworkInterfaces"][0]
    assert interface["Status"] == "available"
    named = [{"DeviceIndex": 0, "NetworkInterfaceId": interface["NetworkInterfaceId"]}]
    seen = world.launch(boto, NetworkInterfaces=named)
    assert seen["PrivateIpAddress"] == port["fixed_ips"][0]["ip_address"] and "PublicIpAddress" in seen
    assert code(world, boto, NetworkInterfaces=named) == "InvalidNetworkInterface.InUse"
    boto.terminate_instances(InstanceIds=[seen["InstanceId"]])
    world.settle()
    left = boto.describe_network_interfaces(Filters=free)["NetworkInterfaces"][0]
    assert left["Status"] == "available" and "Association" not in left
    assert nova.get("/network/v2.0/floatingips").json["floatingips"] == []


def test_an_instance_has_a_public_address_and_gives_it_back(world: World) -> None:
    boto, nova = world.boto(), world.nova()
    seen = run(world, boto)[0]
    assert seen["PublicIpAddress"].startswith("198.51.100.")
    assert boto.describe_addresses()["Addresses"] == [], "it is the instance's, not the project's"
    held = nova.get("/network/v2.0/floatingips").json["floatingips"]
    assert [each["floating_ip_address"] for each in held] == [seen["PublicIpAddress"]]
    world.settle()
    boto.terminate_instances(InstanceIds=[seen["InstanceId"]])
    world.settle()
    assert nova.get("/network/v2.0/floatingips").json["floatingips"] == []


def test_an_empty_pool_fails_no_launch_unless_an_address_was_asked_for(world: World) -> None:
    boto = world.boto()
    while refusal_or_none(boto) is None:
        pass
    ports = len(world.nova("admin", "admin").get("/network/v2.0/ports").json["ports"])
    seen = run(world, boto)[0]
    assert "PublicIpAddress" not in seen and seen["PrivateIpAddress"]
    after = len(world.nova("admin", "admin").get("/network/v2.0/ports").json["ports"])
    assert after == ports + 1, "what the failed try had begun is gone"
    must = [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}]
    assert code(world, boto, NetworkInterfaces=must) == "InsufficientAddressCapacity"
    assert len(names(boto.describe_instances())) == 1


def refusal_or_none(boto: Any) -> str | None:
    try:
        boto.allocate_address()
    except boto.exceptions.ClientError as err:
        return str(err.response["Error"]["Code"])
    return None


def test_no_public_address_where_none_is_wanted_or_allowed(world: World) -> None:
    boto = world.boto()
    without = [{"DeviceIndex": 0, "AssociatePublicIpAddress": False}]
    assert "PublicIpAddress" not in run(world, boto, NetworkInterfaces=without)[0]
    project_id = world.cloud.known.demo_project_id
    world.store.write(lambda tx: quota_set(tx, project_id, {"floatingip": 0}))
    assert "PublicIpAddress" not in run(world, boto)[0]


def test_a_launch_over_the_quota_makes_none_or_as_many_as_fit(world: World) -> None:
    boto, project_id = world.boto(), world.cloud.known.demo_project_id
    world.store.write(lambda tx: quota_set(tx, project_id, {"instances": 3}))
    assert code(world, boto, MinCount=4, MaxCount=4) == "InstanceLimitExceeded"
    assert boto.describe_instances()["Reservations"] == []
    assert len(run(world, boto, MinCount=2, MaxCount=9)) == 3
    assert code(world, boto) == "InstanceLimitExceeded"


def test_a_cloud_without_room_says_so_at_once_and_makes_nothing(world: World) -> None:
    boto = world.boto()
    for vcpus, memory_mib, fits in ((64, 512 + 3 * 128, 3), (64, 512 + 127, 0)):
        world.report(world.hosts[0], vcpus, memory_mib)
        said = refusal(lambda fits=fits: run(world, boto, MinCount=fits + 1, MaxCount=9))
        assert (said[0], said[2]) == ("InsufficientInstanceCapacity", 500)
        assert "one" not in said[1].split(), "a host's name is not the caller's to know"
    assert boto.describe_instances()["Reservations"] == []
    world.report(world.hosts[0], 64, 512 + 3 * 128)
    assert len(run(world, boto, MinCount=1, MaxCount=9)) == 3
    world.cloud.clock.advance_s(60)
    assert code(world, boto) == "InsufficientInstanceCapacity", "the host is down"


@pytest.fixture
def any_world(store_url: str, tmp_path: Path, clock: HeldClock) -> Iterator[World]:
    """The same world on each database."""
    settings = Settings(state=str(tmp_path), store=store_url)
    database = open_store(store_url, clock)
    services = make_services(settings, database, clock)
    application = make_application(services)
    known = database.write(lambda tx: identity_bootstrap(tx, password_hashes()))
    yield world_of(Cloud(services, application, Client(application), clock, known))
    database.close()


def test_twenty_launches_with_one_token_at_once_make_one_instance(any_world: World) -> None:
    world, keys = any_world, any_world.keys()
    clients = [ec2(world.cloud.client, *keys) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        seen = list(pool.map(lambda boto: run(world, boto, ClientToken="once")[0]["InstanceId"], clients))
    assert len(set(seen)) == 1
    assert names(clients[0].describe_instances()) == seen[:1]
    assert len(world.nova().get("/network/v2.0/floatingips").json["floatingips"]) == 1
    world.settle()
    later = run(world, clients[0], ClientToken="once")[0]
    assert (later["InstanceId"], later["State"]["Name"]) == (seen[0], "running"), "as it is now"
    assert code(world, clients[0], ClientToken="once", InstanceType="m1.tiny") == "IdempotentParameterMismatch"
    other = ec2(world.cloud.client, *world.keys("admin", "admin"))
    assert code(world, other, ClientToken="once") == "VPCIdNotSpecified", "tokens are a project's own"
    clients[0].terminate_instances(InstanceIds=seen[:1])
    world.settle()
    assert run(world, clients[0], ClientToken="once")[0]["State"]["Name"] == "terminated"


def test_a_launch_that_failed_may_be_repeated_with_its_token(world: World) -> None:
    boto = world.boto()
    assert code(world, boto, ClientToken="t", KeyName="later") == "InvalidKeyPair.NotFound"
    boto.create_key_pair(KeyName="later")
    assert run(world, boto, ClientToken="t", KeyName="later")[0]["KeyName"] == "later"


def test_instances_launched_through_nova_are_ec2s_too(world: World) -> None:
    boto, nova = world.boto(), world.nova()
    body = {"name": "of nova", "imageRef": world.image_id, "flavorRef": "42", "metadata": {"role": "db"}}
    answer = nova.post("/compute/v2.1/servers", {"server": body})
    assert answer.status == 202, answer.body
    world.settle()
    seen = boto.describe_instances()["Reservations"][0]["Instances"][0]
    assert uuid_of(world, seen["InstanceId"]) == answer.json["server"]["id"]
    assert (seen["Tags"], "PublicIpAddress" in seen) == ([{"Key": "role", "Value": "db"}], False)
