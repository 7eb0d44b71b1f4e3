"""Security groups and their rules, as boto3 and EC2's first clients write them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.ec2_client import refusal
from tests.api.ec2_world import World, world

__all__ = ["world"]  # a fixture
SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}


def group(boto: Any, name: str = "default") -> dict[str, Any]:
    return dict(boto.describe_security_groups(GroupNames=[name])["SecurityGroups"][0])


def make(boto: Any, name: str = "web") -> str:
    return str(boto.create_security_group(GroupName=name, Description=f"for {name}")["GroupId"])


def ranges(*cidrs: str, **words: Any) -> list[dict[str, Any]]:
    return [{**SSH, **words, "IpRanges": [{"CidrIp": cidr} for cidr in cidrs]}]


def test_the_default_group_is_there_at_the_first_look(world: World) -> None:
    boto = world.boto("admin", "admin")
    seen = boto.describe_security_groups()["SecurityGroups"]
    assert [each["GroupName"] for each in seen] == ["default"]
    assert seen[0]["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == seen[0]["GroupId"]
    assert [p["IpProtocol"] for p in seen[0]["IpPermissionsEgress"]] == ["-1"]


def test_a_group_is_made_once_per_name_and_deleted(world: World) -> None:
    boto = world.boto()
    group_id = make(boto)
    assert refusal(lambda: make(boto))[0] == "InvalidGroup.Duplicate"
    assert refusal(lambda: make(boto, "default"))[0] == "InvalidGroup.Reserved"
    assert refusal(lambda: make(boto, "sg-x"))[0] == "InvalidParameterValue"
    wrong = {"GroupName": "a", "Description": "b", "VpcId": "vpc-" + "0" * 17}
    assert refusal(lambda: boto.create_security_group(**wrong))[0] == "InvalidVpcID.NotFound"
    boto.delete_security_group(GroupId=group_id)
    assert refusal(lambda: boto.delete_security_group(GroupId=group_id))[0] == "InvalidGroup.NotFound"
    assert refusal(lambda: boto.delete_security_group(GroupName="default"))[0] == "CannotDelete"


def test_a_group_that_is_used_or_named_is_not_deleted(world: World) -> None:
    boto = world.boto()
    used, named = make(boto, "used"), make(boto, "named")
    instance_id = world.launch(boto, SecurityGroupIds=[used])["InstanceId"]
    assert refusal(lambda: boto.delete_security_group(GroupId=used))[0] == "InvalidGroup.InUse"
    pair = [{**SSH, "UserIdGroupPairs": [{"GroupId": named}]}]
    boto.authorize_security_group_ingress(GroupId=used, IpPermissions=pair)
    assert refusal(lambda: boto.delete_security_group(GroupName="named"))[0] == "InvalidGroup.InUse"
    boto.terminate_instances(InstanceIds=[instance_id])
    world.settle()
    boto.delete_security_group(GroupId=used)
    boto.delete_security_group(GroupId=named)
    assert [each["GroupName"] for each in boto.describe_security_groups()["SecurityGroups"]] == ["default"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (SSH, ("tcp", 22, 22)),
        ({"IpProtocol": "TCP", "FromPort": 0, "ToPort": 65535}, ("tcp", 0, 65535)),
        ({"IpProtocol": "tcp", "FromPort": -1, "ToPort": -1}, ("tcp", 0, 65535)),
        ({"IpProtocol": "6", "FromPort": 1, "ToPort": 9}, ("tcp", 1, 9)),
        ({"IpProtocol": "udp", "FromPort": 0, "ToPort": 53}, ("udp", 1, 53)),
        ({"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1}, ("icmp", -1, -1)),
        ({"IpProtocol": "icmp", "FromPort": 8, "ToPort": 0}, ("icmp", 8, 0)),
        ({"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1}, ("icmp", 8, -1)),
        ({"IpProtocol": "-1"}, ("-1", None, None)),
        ({"IpProtocol": "-1", "FromPort": 5, "ToPort": 6}, ("-1", None, None)),
        ({"IpProtocol": "47"}, ("gre", None, None)),
    ],
)
def test_a_rule_goes_in_and_out_as_it_was_given(world: World, given: dict[str, Any], shown: tuple[Any, ...]) -> None:
    boto = world.boto()
    group_id = make(boto)
    permissions = [{**given, "IpRanges": [{"CidrIp": "192.0.2.0/24", "Description": "the office"}]}]
    boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=permissions)
    seen = group(boto, "web")["IpPermissions"]
    assert [(p["IpProtocol"], p.get("FromPort"), p.get("ToPort")) for p in seen] == [shown]
    assert seen[0]["IpRanges"] == [{"CidrIp": "192.0.2.0/24", "Description": "the office"}]
    again = refusal(lambda: boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=permissions))
    assert (again[0], again[2]) == ("InvalidPermission.Duplicate", 400)
    boto.revoke_security_group_ingress(GroupId=group_id, IpPermissions=seen)
    assert group(boto, "web")["IpPermissions"] == []
    gone = refusal(lambda: boto.revoke_security_group_ingress(GroupId=group_id, IpPermissions=permissions))
    assert gone[0] == "InvalidPermission.NotFound"


def test_all_rules_of_a_request_or_none(world: World) -> None:
    boto = world.boto()
    group_id = make(boto)
    boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=ranges("192.0.2.1/32"))
    both = ranges("192.0.2.2/32", "192.0.2.1/32")
    said = refusal(lambda: boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=both))
    assert said[0] == "InvalidPermission.Duplicate"
    twice = ranges("192.0.2.3/32", "192.0.2.3/32")
    said = refusal(lambda: boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=twice))
    assert said[0] == "InvalidPermission.Duplicate"
    said = refusal(lambda: boto.revoke_security_group_ingress(GroupId=group_id, IpPermissions=both))
    assert said[0] == "InvalidPermission.NotFound"
    assert [r["CidrIp"] for r in group(boto, "web")["IpPermissions"][0]["IpRanges"]] == ["192.0.2.1/32"]


@pytest.mark.parametrize(
    "permission",
    [
        SSH,
        {**SSH, "IpRanges": [{"CidrIp": "192.0.2.0/33"}]},
        {**SSH, "IpRanges": [{"CidrIp": "2001:db8::/32"}]},
        {**SSH, "Ipv6Ranges": [{"CidrIpv6": "192.0.2.0/24"}]},
        {"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {**SSH, "FromPort": 23, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {**SSH, "ToPort": 70_000, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "tpc", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {"IpProtocol": "icmp", "FromPort": 999, "ToPort": 0, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        {**SSH, "UserIdGroupPairs": [{"GroupId": "sg-00000000000000000"}]},
        {**SSH, "UserIdGroupPairs": [{"GroupName": "nobody"}]},
        {**SSH, "UserIdGroupPairs": [{}]},
        {**SSH, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "x" * 256}]},
        {**SSH, "PrefixListIds": [{"PrefixListId": "pl-1"}]},
    ],
)
def test_what_is_no_rule_is_refused_in_ec2s_words(world: World, permission: dict[str, Any]) -> None:
    boto = world.boto()
    group_id = make(boto)
    said = refusal(lambda: boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission]))
    codes = ("InvalidParameterValue", "MissingParameter", "InvalidGroup.NotFound", "UnsupportedOperation")
    assert said[0] in codes and said[2] == 400
    assert group(boto, "web")["IpPermissions"] == []


def test_a_group_that_is_let_in_is_one_permission_for_both_versions(world: World) -> None:
    boto = world.boto()
    group_id, default = make(boto), group(boto)
    pair = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": default["GroupId"]}]}]
    boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=pair)
    seen = group(boto, "web")["IpPermissions"]
    assert [p["UserIdGroupPairs"][0]["GroupName"] for p in seen] == ["default"]
    stored = world.nova().get("/network/v2.0/security-group-rules?direction=ingress").json["security_group_rules"]
    assert sorted(r["ethertype"] for r in stored if r["remote_group_id"]) == ["IPv4", "IPv4", "IPv6", "IPv6"]
    rules = boto.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group_id]}])
    ingress = [rule for rule in rules["SecurityGroupRules"] if not rule["IsEgress"]]
    assert [rule["ReferencedGroupInfo"]["GroupId"] for rule in ingress] == [default["GroupId"]]
    revoked = boto.revoke_security_group_ingress(
        GroupId=group_id, SecurityGroupRuleIds=[ingress[0]["SecurityGroupRuleId"]]
    )
    assert [r["ReferencedGroupId"] for r in revoked["RevokedSecurityGroupRules"]] == [default["GroupId"]]
    stored = world.nova().get("/network/v2.0/security-group-rules?direction=ingress").json["security_group_rules"]
    assert len([r for r in stored if r["remote_group_id"]]) == 2, "the default group's own"


def test_everything_out_can_be_revoked_and_given_again(world: World) -> None:
    boto = world.boto()
    group_id = make(boto)
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    said = refusal(lambda: boto.authorize_security_group_egress(GroupId=group_id, IpPermissions=everything))
    assert said[0] == "InvalidPermission.Duplicate"
    boto.revoke_security_group_egress(GroupId=group_id, IpPermissions=everything)
    v6 = [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    boto.revoke_security_group_egress(GroupId=group_id, IpPermissions=v6)
    assert group(boto, "web")["IpPermissionsEgress"] == []
    boto.authorize_security_group_egress(GroupId=group_id, IpPermissions=everything)
    assert group(boto, "web")["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    ingress = refusal(lambda: boto.revoke_security_group_ingress(GroupId=group_id, IpPermissions=everything))
    assert ingress[0] == "InvalidPermission.NotFound", "a rule for the way out is none for the way in"


def test_the_old_form_by_name_works(world: World) -> None:
    boto = world.boto()
    make(boto)
    flat = {"GroupName": "web", **SSH, "CidrIp": "192.0.2.0/24"}
    boto.authorize_security_group_ingress(**flat)
    assert refusal(lambda: boto.authorize_security_group_ingress(**flat))[0] == "InvalidPermission.Duplicate"
    boto.authorize_security_group_ingress(GroupName="web", SourceSecurityGroupName="default")
    assert len(group(boto, "web")["IpPermissions"]) == 2
    owner = "00000000000000000000000000000000"
    theirs = {"GroupName": "web", "SourceSecurityGroupName": "default", "SourceSecurityGroupOwnerId": owner}
    assert refusal(lambda: boto.authorize_security_group_ingress(**theirs))[0] == "InvalidGroup.NotFound"
    boto.revoke_security_group_ingress(**flat)
    boto.revoke_security_group_ingress(GroupName="web", SourceSecurityGroupName="default")
    assert group(boto, "web")["IpPermissions"] == []


def test_filters_of_groups_look_into_their_rules(world: World) -> None:
    boto = world.boto()
    group_id, default = make(boto), group(boto)["GroupId"]
    boto.authorize_security_group_ingress(GroupId=group_id, IpPermissions=ranges("192.0.2.0/24"))
    for name, value in (
        ("group-name", "w*"),
        ("group-id", group_id),
        ("description", "for web"),
        ("ip-permission.from-port", "22"),
        ("ip-permission.protocol", "tcp"),
        ("ip-permission.cidr", "192.0.2.0/24"),
    ):
        found = boto.describe_security_groups(Filters=[{"Name": name, "Values": [value]}])["SecurityGroups"]
        assert [each["GroupId"] for each in found] == [group_id], name
    for name, value in (("vpc-id", group(boto)["VpcId"]), ("egress.ip-permission.cidr", "0.0.0.0/0")):
        found = boto.describe_security_groups(Filters=[{"Name": name, "Values": [value]}])["SecurityGroups"]
        assert {each["GroupId"] for each in found} == {group_id, default}, name
    for number in range(5):
        make(boto, f"more {number}")
    pages = boto.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5})
    assert [len(page["SecurityGroups"]) for page in pages] == [5, 2]


def test_a_rule_reaches_the_record_of_the_hosts(world: World) -> None:
    nova, boto = world.nova(), world.boto()
    boto.authorize_security_group_ingress(GroupName="default", **SSH, CidrIp="192.0.2.0/24")
    rules = nova.get("/network/v2.0/security-group-rules?port_range_min=22").json["security_group_rules"]
    assert [(r["protocol"], r["remote_ip_prefix"], r["direction"]) for r in rules] == [
        ("tcp", "192.0.2.0/24", "ingress")
    ]
