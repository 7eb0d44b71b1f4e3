"""Instances, as boto3 watches them, acts on them and ends them."""

from __future__ import annotations

import base64
import time
from typing import Any

import msgspec

from holdfast.api.ec2.instances.views import CODES, state_of
from holdfast.base.clock import SECOND_US
from holdfast.base.ec2_ids import id_bounds
from holdfast.control.store.console import console_append
from holdfast.control.store.instance import instance_fetch, instance_ids_within, instance_update
from holdfast.control.store.server import server_fetch
from holdfast.domain.desired import Power
from holdfast.domain.instance import InstanceState
from holdfast.domain.server import VM_STATE
from tests.api.ec2_client import refusal
from tests.api.ec2_world import World, world

__all__ = ["world"]  # a fixture


def uuid_of(world: World, instance_id: str) -> str:
    projects = (world.cloud.known.demo_project_id, world.cloud.known.admin_project_id)
    bounds = [id_bounds(instance_id)]
    return str(world.store.read(lambda tx: [i for p in projects for i in instance_ids_within(tx, p, bounds)])[0])


def change(world: World, instance_id: str, **words: Any) -> None:
    uuid = uuid_of(world, instance_id)
    world.store.write(lambda tx: instance_update(tx, instance_fetch(tx, uuid), **words))


def names(answer: dict[str, Any]) -> list[str]:
    return [i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]]


def test_a_launch_is_pending_at_once_then_running_and_terminated_at_the_end(world: World) -> None:
    boto = world.boto()
    made = boto.run_instances(ImageId=world.ami, MinCount=1, MaxCount=1, InstanceType="m1.tiny")["Instances"][0]
    assert made["State"] == {"Code": 0, "Name": "pending"}
    assert world.show(boto, made["InstanceId"])["State"]["Name"] == "pending"
    servers = world.nova().get("/compute/v2.1/servers/detail").json["servers"]
    assert [(server["name"], server["status"]) for server in servers] == [(made["InstanceId"], "BUILD")]
    world.settle()
    assert world.show(boto, made["InstanceId"])["State"] == {"Code": 16, "Name": "running"}
    ended = boto.terminate_instances(InstanceIds=[made["InstanceId"]])["TerminatingInstances"][0]
    assert (ended["PreviousState"]["Name"], ended["CurrentState"]["Name"]) == ("running", "shutting-down")
    assert world.show(boto, made["InstanceId"])["State"]["Name"] == "shutting-down"
    world.settle()
    gone = world.show(boto, made["InstanceId"])
    assert (gone["State"], gone["StateReason"]["Code"]) == (
        {"Code": 48, "Name": "terminated"},
        "Client.UserInitiatedShutdown",
    )
    again = boto.terminate_instances(InstanceIds=[made["InstanceId"]])["TerminatingInstances"][0]
    assert again["CurrentState"]["Name"] == "terminated"


def test_a_terminated_instance_is_seen_for_an_hour_and_no_longer(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]
    boto.terminate_instances(InstanceIds=[instance_id])
    world.settle()
    now_us = world.cloud.clock.now_us()
    change(world, instance_id, terminated_us=now_us - 3_590 * SECOND_US)
    assert names(boto.describe_instances()) == [instance_id]
    change(world, instance_id, terminated_us=now_us - 3_610 * SECOND_US)
    assert boto.describe_instances()["Reservations"] == []
    unknown = refusal(lambda: boto.describe_instances(InstanceIds=[instance_id]))
    assert (unknown[0], unknown[2]) == ("InvalidInstanceID.NotFound", 400)
    assert refusal(lambda: boto.terminate_instances(InstanceIds=[instance_id]))[0] == "InvalidInstanceID.NotFound"


def test_stop_and_start_go_through_their_states_and_may_be_repeated(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]

    def act(verb: str, answer: str) -> tuple[str, str]:
        found = getattr(boto, verb)(InstanceIds=[instance_id])[answer][0]
        return found["PreviousState"]["Name"], found["CurrentState"]["Name"]

    assert act("start_instances", "StartingInstances") == ("running", "running")
    assert act("stop_instances", "StoppingInstances") == ("running", "stopping")
    assert act("stop_instances", "StoppingInstances") == ("stopping", "stopping")
    assert refusal(lambda: boto.start_instances(InstanceIds=[instance_id]))[0] == "IncorrectInstanceState"
    world.settle()
    stopped = world.show(boto, instance_id)
    assert (stopped["State"]["Name"], stopped["StateReason"]["Code"]) == ("stopped", "Client.UserInitiatedShutdown")
    assert act("stop_instances", "StoppingInstances") == ("stopped", "stopped")
    assert refusal(lambda: boto.reboot_instances(InstanceIds=[instance_id]))[0] == "IncorrectInstanceState"
    assert act("start_instances", "StartingInstances") == ("stopped", "pending")
    world.settle()
    assert world.show(boto, instance_id)["State"]["Name"] == "running"
    boto.reboot_instances(InstanceIds=[instance_id])
    assert world.show(boto, instance_id)["State"]["Name"] == "running"
    world.settle()
    assert instance_boot(world, instance_id) == 2


def instance_boot(world: World, instance_id: str) -> int:
    uuid = uuid_of(world, instance_id)
    return int(world.store.read(lambda tx: instance_fetch(tx, uuid)).boot)


def test_an_act_on_several_is_done_for_all_or_for_none(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]
    for stranger, code in (
        ("i-00000000000000000", "InvalidInstanceID.NotFound"),
        ("i-0", "InvalidInstanceID.Malformed"),
        ("ami-00000000000000000", "InvalidInstanceID.Malformed"),
        ("i-" + "g" * 17, "InvalidInstanceID.Malformed"),
    ):
        for verb in ("stop_instances", "reboot_instances", "terminate_instances"):
            act = getattr(boto, verb)
            assert refusal(lambda act=act, s=stranger: act(InstanceIds=[instance_id, s]))[0] == code
    world.settle()
    assert world.show(boto, instance_id)["State"]["Name"] == "running"


def test_a_pending_instance_can_be_terminated(world: World) -> None:
    boto = world.boto()
    launch = boto.run_instances(ImageId=world.ami, MinCount=1, MaxCount=1, InstanceType="m1.tiny")
    instance_id = launch["Instances"][0]["InstanceId"]
    assert refusal(lambda: boto.stop_instances(InstanceIds=[instance_id]))[0] == "IncorrectInstanceState"
    boto.terminate_instances(InstanceIds=[instance_id])
    world.settle()
    assert world.show(boto, instance_id)["State"]["Name"] == "terminated"
    assert boto.describe_network_interfaces(Filters=[{"Name": "description", "Values": ["*"]}]) is not None


def test_an_instance_that_could_not_be_made_is_stopped_and_says_why(world: World) -> None:
    boto = world.boto()
    made = boto.run_instances(ImageId=world.ami, MinCount=1, MaxCount=1, InstanceType="m1.tiny")["Instances"][0]
    world.failing[uuid_of(world, made["InstanceId"])] = "the disk is full"
    for _ in range(6):  # tried again for a while
        world.settle()
        world.cloud.clock.advance_s(33)
    seen = world.show(boto, made["InstanceId"])
    assert seen["State"]["Name"] == "stopped"
    assert seen["StateReason"] == {
        "Code": "Server.InternalError",
        "Message": "Server.InternalError: the disk is full",
    }
    boto.terminate_instances(InstanceIds=[made["InstanceId"]])
    world.failing.clear()
    world.settle()
    assert world.show(boto, made["InstanceId"])["State"]["Name"] == "terminated"


def test_every_word_of_novas_has_a_state(world: World) -> None:
    boto = world.boto()
    uuid = uuid_of(world, world.launch(boto)["InstanceId"])
    server = world.store.read(lambda tx: server_fetch(tx, uuid))
    acts = ("", "server_reboot", "server_resize", "server_revert", "server_rebuild", "server_pause", "server_stop")
    acts += ("server_migrate", "server_live_migrate")
    seen = set()
    for state in InstanceState:
        for power in Power:
            for act in acts:
                row = msgspec.structs.replace(server.instance, state=state, power=power)
                word = state_of(msgspec.structs.replace(server, instance=row, act=act))
                assert word in CODES
                seen.add(word)
    assert seen == set(CODES) and len(VM_STATE) == 13, "a new word of Nova's: does state_of know it?"


def test_a_paused_server_is_stopped_and_a_start_brings_it_back(world: World) -> None:
    boto, nova = world.boto(), world.nova()
    instance_id = world.launch(boto)["InstanceId"]
    path = f"/compute/v2.1/servers/{uuid_of(world, instance_id)}"
    assert nova.post(f"{path}/action", {"pause": None}).status == 202
    world.settle()
    assert world.show(boto, instance_id)["State"]["Name"] == "stopped"
    boto.start_instances(InstanceIds=[instance_id])
    world.settle()
    assert nova.get(path).json["server"]["status"] == "ACTIVE"


def test_a_lock_forbids_what_it_forbids_in_nova(world: World) -> None:
    boto, nova = world.boto(), world.nova()
    instance_id = world.launch(boto)["InstanceId"]
    assert nova.post(f"/compute/v2.1/servers/{uuid_of(world, instance_id)}/action", {"lock": None}).status == 202
    acts = (
        lambda: boto.stop_instances(InstanceIds=[instance_id]),
        lambda: boto.terminate_instances(InstanceIds=[instance_id]),
        lambda: boto.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "b"}]),
        lambda: boto.create_image(InstanceId=instance_id, Name="image"),
        lambda: boto.modify_instance_attribute(InstanceId=instance_id, Groups=["sg-" + "0" * 17]),
    )
    for act in acts:
        assert refusal(act)[0] == "OperationNotPermitted"
    shown = boto.describe_instance_attribute(InstanceId=instance_id, Attribute="disableApiTermination")
    assert shown["DisableApiTermination"] == {"Value": True}


def test_filters_find_what_they_say_and_unknown_ones_are_refused(world: World) -> None:
    boto = world.boto()
    web = world.launch(
        boto, TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}]
    )
    db = world.launch(boto, InstanceType="m1.nano")
    boto.stop_instances(InstanceIds=[db["InstanceId"]])
    world.settle()
    facts = {
        "tag:Name": "w?b",
        "tag-key": "Name",
        "instance-state-name": "running",
        "instance-state-code": "16",
        "instance-type": "m1.tiny",
        "private-ip-address": web["PrivateIpAddress"],
        "ip-address": web["PublicIpAddress"],
        "network-interface.network-interface-id": web["NetworkInterfaces"][0]["NetworkInterfaceId"],
        "network-interface.addresses.private-ip-address": web["PrivateIpAddress"],
        "reservation-id": "r-" + web["InstanceId"][2:10],
        "instance-id": web["InstanceId"],
    }
    for name, value in facts.items():
        found = boto.describe_instances(Filters=[{"Name": name, "Values": [value, "nothing"]}])
        assert names(found) == [web["InstanceId"]], name
    both = {
        "image-id": world.ami,
        "vpc-id": web["VpcId"],
        "subnet-id": web["SubnetId"],
        "group-name": "default",
        "instance.group-id": web["SecurityGroups"][0]["GroupId"],
        "availability-zone": "nova",
        "owner-id": world.cloud.known.demo_project_id,
        "architecture": "x86_64",
        "root-device-type": "instance-store",
        "launch-time": web["LaunchTime"].strftime("%Y-%m-%d*"),
    }
    for name, value in both.items():
        found = boto.describe_instances(Filters=[{"Name": name, "Values": [value]}])
        assert set(names(found)) == {web["InstanceId"], db["InstanceId"]}, name
        assert names(boto.describe_instances(Filters=[{"Name": name, "Values": ["nothing"]}])) == [], name
    wrong = refusal(lambda: boto.describe_instances(Filters=[{"Name": "intance-id", "Values": ["x"]}]))
    assert wrong[0] == "InvalidParameterValue"


def test_pages_show_every_instance_once_and_launches_stay_together(world: World) -> None:
    boto = world.boto()
    for count in (3, 2, 4):
        boto.run_instances(ImageId=world.ami, MinCount=count, MaxCount=count, InstanceType="m1.nano")
        world.cloud.clock.at_us += 1
    whole = boto.describe_instances()["Reservations"]
    assert [len(r["Instances"]) for r in whole] == [3, 2, 4]
    assert [i["AmiLaunchIndex"] for i in sorted(whole[2]["Instances"], key=lambda i: i["AmiLaunchIndex"])] == [
        0,
        1,
        2,
        3,
    ]
    for filters in ([], [{"Name": "image-id", "Values": [world.ami]}]):
        pages = list(
            boto.get_paginator("describe_instances").paginate(Filters=filters, PaginationConfig={"PageSize": 4})
        )
        assert [len(names(page)) for page in pages] == [4, 4, 1]
        assert sorted(name for page in pages for name in names(page)) == sorted(names({"Reservations": whole}))
    token = pages[0]["NextToken"]
    assert refusal(lambda: boto.describe_instances(NextToken=token[:-4] + "AAAA"))[0] == "InvalidNextToken"
    one = names({"Reservations": whole})[:1]
    both = refusal(lambda: boto.describe_instances(InstanceIds=one, MaxResults=5))
    assert both[0] == "InvalidParameterCombination"


def test_a_token_of_another_projects_instance_is_none(world: World) -> None:
    boto, other = world.boto(), world.boto("admin", "admin")
    for _ in range(2):
        world.launch(boto, InstanceType="m1.nano")
    token = boto.describe_instances(MaxResults=1)["NextToken"]
    assert refusal(lambda: other.describe_instances(NextToken=token))[0] == "InvalidNextToken"


def test_status_tells_the_host_and_the_guest_apart(world: World) -> None:
    boto = world.boto()
    running, stopped = world.launch(boto)["InstanceId"], world.launch(boto)["InstanceId"]
    boto.stop_instances(InstanceIds=[stopped])
    world.settle()
    found = boto.describe_instance_status()["InstanceStatuses"]
    assert [(s["InstanceId"], s["InstanceStatus"]["Status"], s["SystemStatus"]["Status"]) for s in found] == [
        (running, "ok", "ok")
    ]
    everyone = boto.describe_instance_status(IncludeAllInstances=True)["InstanceStatuses"]
    assert {s["InstanceId"]: s["InstanceStatus"]["Status"] for s in everyone} == {
        running: "ok",
        stopped: "not-applicable",
    }
    world.cloud.clock.advance_s(60)
    found = boto.describe_instance_status(InstanceIds=[running])["InstanceStatuses"][0]
    assert (found["SystemStatus"]["Status"], found["InstanceStatus"]["Status"]) == ("impaired", "insufficient-data")
    lost = boto.describe_instance_status(Filters=[{"Name": "system-status.reachability", "Values": ["failed"]}])
    assert len(lost["InstanceStatuses"]) == 1


def test_the_console_is_what_the_guest_wrote_also_after_its_end(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]
    uuid = uuid_of(world, instance_id)
    world.store.write(lambda tx: console_append(tx, uuid, 0, b"hello \x1b[31m<guest>\n" + b"x" * 70_000, False))
    boto.terminate_instances(InstanceIds=[instance_id])
    world.settle()
    said = boto.get_console_output(InstanceId=instance_id, Latest=True)
    assert abs(said["Timestamp"].timestamp() - time.time()) < 120
    assert said["Output"] == "x" * 65_536
    world.store.write(lambda tx: console_append(tx, uuid, 70_019, b"\n<\x1b[31mend>", False))
    assert boto.get_console_output(InstanceId=instance_id)["Output"].endswith("x\n<[31mend>")
    world.store.write(lambda tx: console_append(tx, uuid, 70_029, "é".encode() * 40_000 + b".", False))
    assert boto.get_console_output(InstanceId=instance_id)["Output"] == "é" * 32_767 + "."


def test_attributes_are_shown_and_changed_where_that_means_something(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto, UserData="first")["InstanceId"]

    def shown(word: str) -> Any:
        answer = boto.describe_instance_attribute(InstanceId=instance_id, Attribute=word)
        del answer["ResponseMetadata"], answer["InstanceId"]
        return next(iter(answer.values()))

    assert shown("instanceType") == {"Value": "m1.tiny"}
    assert base64.b64decode(shown("userData")["Value"]) == b"first"
    assert shown("instanceInitiatedShutdownBehavior") == {"Value": "stop"}
    assert [group["GroupName"] for group in shown("groupSet")] == ["default"]
    change = boto.modify_instance_attribute
    running = refusal(lambda: change(InstanceId=instance_id, UserData={"Value": b"second"}))
    assert running[0] == "IncorrectInstanceState"
    assert refusal(lambda: change(InstanceId=instance_id, InstanceType={"Value": "m1.small"}))[0] == running[0]
    group = boto.create_security_group(GroupName="web", Description="web")["GroupId"]
    change(InstanceId=instance_id, Groups=[group])
    assert [each["GroupName"] for each in world.show(boto, instance_id)["SecurityGroups"]] == ["web"]
    boto.stop_instances(InstanceIds=[instance_id])
    world.settle()
    change(InstanceId=instance_id, UserData={"Value": b"second"})
    assert base64.b64decode(shown("userData")["Value"]) == b"second"
    change(InstanceId=instance_id, Attribute="instanceType", Value="m1.small")
    boto.start_instances(InstanceIds=[instance_id])
    world.settle()
    seen = world.show(boto, instance_id)
    assert (seen["InstanceType"], seen["State"]["Name"]) == ("m1.small", "running")
    for words in ({"EbsOptimized": {"Value": True}}, {"SourceDestCheck": {"Value": False}}, {"Kernel": {"Value": "x"}}):
        assert refusal(lambda words=words: change(InstanceId=instance_id, **words))[0] == "UnsupportedOperation"
    two = refusal(lambda: change(InstanceId=instance_id, Groups=[group], EbsOptimized={"Value": False}))
    assert two[0] == "InvalidParameterCombination"


def test_a_type_that_the_host_has_no_room_for_changes_nothing(world: World) -> None:
    boto = world.boto()
    world.report(world.hosts[0], vcpus=1, memory_mib=2_048 + 512)
    instance_id = world.launch(boto)["InstanceId"]
    boto.stop_instances(InstanceIds=[instance_id])
    world.settle()
    world.report(world.hosts[0], vcpus=1, memory_mib=2_048 + 512)
    words = {"InstanceId": instance_id, "InstanceType": {"Value": "m1.xlarge"}}
    assert refusal(lambda: boto.modify_instance_attribute(**words))[0] == "InsufficientInstanceCapacity"
    assert world.show(boto, instance_id)["InstanceType"] == "m1.tiny"


def test_a_dry_run_does_nothing(world: World) -> None:
    boto = world.boto()
    launch = {"ImageId": world.ami, "MinCount": 1, "MaxCount": 1, "DryRun": True}
    assert refusal(lambda: boto.run_instances(**launch))[0] == "DryRunOperation"
    assert boto.describe_instances()["Reservations"] == []
