"""Elastic addresses: nobody's instance ever loses one that its owner did not take from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from holdfast.control.store.quota import quota_set
from tests.api.ec2_client import ec2, refusal
from tests.api.ec2_world import World, world

__all__ = ["world"]  # a fixture


def launch(world: World, boto: Any) -> str:
    return str(world.launch(boto, InstanceType="m1.nano")["InstanceId"])


def address(boto: Any, taken: dict[str, Any]) -> dict[str, Any]:
    return dict(boto.describe_addresses(AllocationIds=[taken["AllocationId"]])["Addresses"][0])


def test_an_address_is_taken_led_to_an_instance_led_away_and_given_back(world: World) -> None:
    boto = world.boto()
    instance_id = launch(world, boto)
    automatic = world.show(boto, instance_id)["PublicIpAddress"]
    taken = boto.allocate_address(Domain="vpc")
    assert taken["PublicIp"] != automatic
    led = boto.associate_address(InstanceId=instance_id, AllocationId=taken["AllocationId"])["AssociationId"]
    seen = world.show(boto, instance_id)
    assert seen["PublicIpAddress"] == taken["PublicIp"], "the automatic address made way"
    floating = world.nova().get("/network/v2.0/floatingips").json["floatingips"]
    assert [each["floating_ip_address"] for each in floating] == [taken["PublicIp"]]
    shown = address(boto, taken)
    assert (shown["InstanceId"], shown["AssociationId"]) == (instance_id, led)
    assert shown["PrivateIpAddress"] == seen["PrivateIpAddress"]
    again = boto.associate_address(InstanceId=instance_id, PublicIp=taken["PublicIp"])["AssociationId"]
    assert again == led, "there already"
    in_use = refusal(lambda: boto.release_address(AllocationId=taken["AllocationId"]))
    assert in_use[0] == "InvalidIPAddress.InUse"
    boto.disassociate_address(AssociationId=led)
    assert refusal(lambda: boto.disassociate_address(AssociationId=led))[0] == "InvalidAssociationID.NotFound"
    assert "InstanceId" not in address(boto, taken)
    boto.release_address(AllocationId=taken["AllocationId"])
    assert boto.describe_addresses()["Addresses"] == []
    gone = refusal(lambda: boto.release_address(AllocationId=taken["AllocationId"]))
    assert gone[0] == "InvalidAllocationID.NotFound"
    assert refusal(lambda: boto.release_address(PublicIp=taken["PublicIp"]))[0] == "InvalidAddress.NotFound"


def test_an_address_that_leads_somewhere_moves_only_when_its_owner_says_so(world: World) -> None:
    boto = world.boto()
    first, second = launch(world, boto), launch(world, boto)
    one, two = boto.allocate_address(), boto.allocate_address()
    old = boto.associate_address(InstanceId=first, AllocationId=one["AllocationId"])["AssociationId"]
    boto.associate_address(InstanceId=second, AllocationId=two["AllocationId"])
    for words in ({}, {"AllowReassociation": False}):
        given = {"InstanceId": second, "AllocationId": one["AllocationId"], **words}
        said = refusal(lambda given=given: boto.associate_address(**given))
        assert said[0] == "Resource.AlreadyAssociated"
    assert (address(boto, one)["InstanceId"], address(boto, two)["InstanceId"]) == (first, second)
    boto.associate_address(InstanceId=second, AllocationId=one["AllocationId"], AllowReassociation=True)
    assert address(boto, one)["InstanceId"] == second and "InstanceId" not in address(boto, two)
    stale = refusal(lambda: boto.disassociate_address(AssociationId=old))
    assert stale[0] == "InvalidAssociationID.NotFound", "it would have ended another's association"
    assert address(boto, one)["InstanceId"] == second


def test_eight_clients_that_want_one_address_get_one_association(world: World) -> None:
    keys, boto = world.keys(), world.boto()
    instances = [launch(world, boto) for _ in range(4)]
    taken = boto.allocate_address()

    def associate(instance_id: str) -> str:
        mine = ec2(world.cloud.client, *keys)
        try:
            mine.associate_address(InstanceId=instance_id, AllocationId=taken["AllocationId"])
        except mine.exceptions.ClientError as err:
            return str(err.response["Error"]["Code"])
        return instance_id

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(associate, instances))
    won = [answer for answer in answers if answer.startswith("i-")]
    assert len(won) == 1 and address(boto, taken)["InstanceId"] == won[0]
    assert set(answers) - set(won) == {"Resource.AlreadyAssociated"}


def test_what_cannot_be_associated_is_refused(world: World) -> None:
    boto = world.boto()
    taken, instance_id = boto.allocate_address(), launch(world, boto)
    address_id = taken["AllocationId"]
    for words, code in (
        ({"InstanceId": "i-" + "0" * 17, "AllocationId": address_id}, "InvalidInstanceID.NotFound"),
        ({"InstanceId": instance_id, "AllocationId": "eipalloc-" + "0" * 17}, "InvalidAllocationID.NotFound"),
        ({"InstanceId": instance_id, "PublicIp": "192.0.2.1"}, "InvalidAddress.NotFound"),
        ({"InstanceId": instance_id}, "MissingParameter"),
        ({"AllocationId": address_id}, "MissingParameter"),
        ({"NetworkInterfaceId": "eni-" + "0" * 17, "AllocationId": address_id}, "InvalidNetworkInterfaceID.NotFound"),
        (
            {"InstanceId": instance_id, "AllocationId": address_id, "PrivateIpAddress": "10.77.0.250"},
            "InvalidParameterValue",
        ),
    ):
        assert refusal(lambda words=words: boto.associate_address(**words))[0] == code, words
    boto.terminate_instances(InstanceIds=[instance_id])
    said = refusal(lambda: boto.associate_address(InstanceId=instance_id, AllocationId=address_id))
    assert said[0] == "IncorrectInstanceState"


def test_an_instance_that_ends_leaves_the_address_to_its_owner(world: World) -> None:
    boto = world.boto()
    taken, instance_id = boto.allocate_address(), launch(world, boto)
    boto.associate_address(InstanceId=instance_id, PublicIp=taken["PublicIp"])
    boto.terminate_instances(InstanceIds=[instance_id])
    world.settle()
    assert "AssociationId" not in address(boto, taken)


def test_an_empty_pool_and_a_full_quota_have_their_codes(world: World) -> None:
    boto, project_id = world.boto(), world.cloud.known.demo_project_id
    taken = [boto.allocate_address()["PublicIp"] for _ in range(12)]
    assert len(set(taken)) == 12
    empty = refusal(boto.allocate_address)
    assert (empty[0], empty[2]) == ("InsufficientAddressCapacity", 500)
    world.store.write(lambda tx: quota_set(tx, project_id, {"floatingip": 12}))
    assert refusal(boto.allocate_address)[0] == "AddressLimitExceeded"


def test_filters_and_names_of_addresses(world: World) -> None:
    boto = world.boto()
    one, two, instance_id = boto.allocate_address(), boto.allocate_address(), launch(world, boto)
    boto.associate_address(InstanceId=instance_id, AllocationId=one["AllocationId"])
    for name, value in (
        ("instance-id", instance_id),
        ("public-ip", one["PublicIp"]),
        ("allocation-id", one["AllocationId"]),
        ("association-id", address(boto, one)["AssociationId"]),
        ("private-ip-address", "10.77.*"),
    ):
        found = boto.describe_addresses(Filters=[{"Name": name, "Values": [value]}])["Addresses"]
        assert [each["PublicIp"] for each in found] == [one["PublicIp"]], name
    both = boto.describe_addresses(Filters=[{"Name": "domain", "Values": ["vpc"]}])["Addresses"]
    assert {each["PublicIp"] for each in both} == {one["PublicIp"], two["PublicIp"]}
    assert refusal(lambda: boto.describe_addresses(PublicIps=["192.0.2.1"]))[0] == "InvalidAddress.NotFound"
    assert refusal(lambda: boto.allocate_address(PublicIpv4Pool="mars"))[0] == "InvalidPublicIpv4PoolID.NotFound"
    assert refusal(lambda: boto.allocate_address(Address="198.51.100.9"))[0] == "UnauthorizedOperation"


def test_an_automatic_address_is_not_in_anybodys_hands(world: World) -> None:
    boto = world.boto()
    automatic = world.show(boto, launch(world, boto))["PublicIpAddress"]
    for act in (
        lambda: boto.release_address(PublicIp=automatic),
        lambda: boto.associate_address(InstanceId=launch(world, boto), PublicIp=automatic),
    ):
        assert refusal(act)[0] == "InvalidAddress.NotFound"
    assert refusal(lambda: boto.disassociate_address(PublicIp=automatic))[0] == "InvalidAssociationID.NotFound"
