"""The ten steps of the EC2 smoke test over real HTTP, three clients at a time, without a retry."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.api.ec2_world import World, world

__all__ = ["world"]  # a fixture
PERIOD_S = 0.05
WAIT_S = 60


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """The cloud on a socket, with its engine and its hosts at work; the URL of its EC2."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(world.cloud.application, log_config=None, lifespan="off", access_log=False, ws="none")
    server, over = uvicorn.Server(config), threading.Event()

    def work() -> None:
        while not over.wait(PERIOD_S):
            world.settle()

    threads = [
        threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True),
        threading.Thread(target=work, daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/services/Cloud"
    over.set()
    server.should_exit = True
    for thread in threads:
        thread.join(WAIT_S)
    listener.close()


def client(url: str, keys: tuple[str, str]) -> Any:
    return boto3.session.Session().client(
        "ec2",
        endpoint_url=url,
        region_name="RegionOne",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=WAIT_S),
    )


def test_the_ten_steps_work_three_at_a_time_and_leave_nothing(served: str, world: World) -> None:
    keys = world.keys()
    with ThreadPoolExecutor(3) as pool:
        addresses = list(pool.map(lambda number: ten_steps(client(served, keys), number), range(3)))
    assert len(set(addresses)) == 3
    ec2 = client(served, keys)
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    states = [i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert states == ["terminated"] * 3
    floating = world.nova().get("/network/v2.0/floatingips").json["floatingips"]
    assert floating == []


def ten_steps(ec2: Any, number: int) -> str:
    """Each as the shared smoke test does it, without a retry; returns the private address."""
    name = f"smoke-{os.getpid()}-{number}"
    key = ec2.create_key_pair(KeyName=name)
    assert "PRIVATE KEY" in key["KeyMaterial"]
    assert [k["KeyName"] for k in ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"]] == [name]
    image_id = next(i for i in ec2.describe_images()["Images"] if i["ImageType"] == "machine")["ImageId"]
    assert len(ec2.describe_images(ImageIds=[image_id])["Images"]) == 1
    types = ec2.describe_instance_types()["InstanceTypes"]
    smallest = min(types, key=lambda kind: kind["MemoryInfo"]["SizeInMiB"])["InstanceType"]
    launch = {"ImageId": image_id, "KeyName": name, "InstanceType": smallest}
    instance_id = ec2.run_instances(MinCount=1, MaxCount=1, **launch)["Instances"][0]["InstanceId"]
    wait(ec2, "instance_running", InstanceIds=[instance_id])
    group_id = open_port(ec2, number)
    seen = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert seen["PrivateIpAddress"].startswith("10.77.0.") and seen["PublicIpAddress"].startswith("198.51.100.")
    elastic(ec2, instance_id)
    assert ec2.get_console_output(InstanceId=instance_id)["InstanceId"] == instance_id
    assert ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]["InstanceId"] == instance_id
    wait(ec2, "instance_terminated", InstanceIds=[instance_id])
    ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=rule(number))
    assert cidr(number) not in open_cidrs(ec2)
    ec2.delete_key_pair(KeyName=name)
    assert code(lambda: ec2.describe_key_pairs(KeyNames=[name])) == "InvalidKeyPair.NotFound"
    return str(seen["PrivateIpAddress"])


def wait(ec2: Any, what: str, **words: Any) -> None:
    ec2.get_waiter(what).wait(**words, WaiterConfig={"Delay": 0.1, "MaxAttempts": WAIT_S * 10})


def elastic(ec2: Any, instance_id: str) -> None:
    taken = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(InstanceId=instance_id, AllocationId=taken["AllocationId"])
    seen = ec2.describe_addresses(PublicIps=[taken["PublicIp"]])["Addresses"][0]
    assert seen["InstanceId"] == instance_id
    ec2.disassociate_address(AssociationId=seen["AssociationId"])
    ec2.release_address(AllocationId=taken["AllocationId"])


def cidr(number: int) -> str:
    return f"192.0.2.{number}/32"


def rule(number: int) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": cidr(number)}]}]


def default_group(ec2: Any) -> dict[str, Any]:
    return dict(next(g for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] == "default"))


def open_cidrs(ec2: Any) -> list[str]:
    permissions = default_group(ec2)["IpPermissions"]
    return [r["CidrIp"] for p in permissions if p.get("FromPort") == 22 for r in p["IpRanges"]]


def open_port(ec2: Any, number: int) -> str:
    group_id = str(default_group(ec2)["GroupId"])
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=rule(number))
    assert cidr(number) in open_cidrs(ec2)
    again = code(lambda: ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=rule(number)))
    assert again == "InvalidPermission.Duplicate"
    return group_id


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])
