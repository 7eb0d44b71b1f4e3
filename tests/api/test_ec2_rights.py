"""Who may do what through EC2: nobody unsigned, a reader only reads, and another project's ids are unknown.

The table of requests below has one for every action: a new action without one fails the first test.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from holdfast.api.ec2.codes import _EC2, ec2_code
from holdfast.api.ec2.facade import ec2_facades
from holdfast.api.ec2.model import load
from holdfast.api.ec2.routes import ACTIONS, RULES
from holdfast.api.http.application import Application
from holdfast.api.http.call import Call
from holdfast.api.http.policy import Policy
from holdfast.api.versions import ROOT
from holdfast.control.store.tables import metadata
from holdfast.daemon import composition
from holdfast.domain.credentials import Credentials, imply
from tests.api.ec2_client import SECRETS, ec2, refusal
from tests.api.ec2_world import World, add_image, ec2_id, world
from tests.client import Client

__all__ = ["world"]  # a fixture
Ids = dict[str, str]
Members = dict[str, Any]
SSH = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}]
TAG = [{"Key": "a", "Value": "b"}]
ONE = {"MinCount": 1, "MaxCount": 1, "InstanceType": "m1.nano"}

# What each action is asked to do with another project's objects. Several: one for each way to name them.
REQUESTS: dict[str, Callable[[Ids], list[Members]]] = {
    "AllocateAddress": lambda o: [],
    "AssociateAddress": lambda o: [
        {"InstanceId": o["instance"], "AllocationId": o["mine"]},
        {"InstanceId": o["instance"], "AllocationId": o["mine"], "AllowReassociation": True},
        {"NetworkInterfaceId": o["interface"], "AllocationId": o["mine"]},
        {"InstanceId": o["instance"], "AllocationId": o["address"]},
        {"InstanceId": o["instance"], "PublicIp": o["public"], "AllowReassociation": True},
    ],
    "AuthorizeSecurityGroupEgress": lambda o: [{"GroupId": o["group"], "IpPermissions": SSH}],
    "AuthorizeSecurityGroupIngress": lambda o: [
        {"GroupId": o["group"], "IpPermissions": SSH},
        {"GroupName": "web", "IpPermissions": SSH},
        {
            "GroupName": "default",
            "IpPermissions": [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": o["group"]}]}],
        },
        {"GroupName": "default", "SourceSecurityGroupName": "web"},
    ],
    "CreateImage": lambda o: [{"InstanceId": o["instance"], "Name": "stolen"}],
    "CreateKeyPair": lambda o: [],
    "CreateSecurityGroup": lambda o: [{"GroupName": "x", "Description": "x", "VpcId": o["vpc"]}],
    "CreateTags": lambda o: [{"Resources": [o["instance"]], "Tags": TAG}],
    "DeleteKeyPair": lambda o: [],
    "DeleteSecurityGroup": lambda o: [{"GroupId": o["group"]}, {"GroupName": "web"}],
    "DeleteTags": lambda o: [{"Resources": [o["instance"]]}],
    "DeregisterImage": lambda o: [{"ImageId": o["image"]}],
    "DescribeAccountAttributes": lambda o: [],
    "DescribeAddresses": lambda o: [{"AllocationIds": [o["address"]]}, {"PublicIps": [o["public"]]}],
    "DescribeAvailabilityZones": lambda o: [],
    "DescribeImages": lambda o: [{"ImageIds": [o["image"]]}],
    "DescribeInstanceAttribute": lambda o: [{"InstanceId": o["instance"], "Attribute": "userData"}],
    "DescribeInstanceStatus": lambda o: [{"InstanceIds": [o["instance"]]}],
    "DescribeInstanceTypes": lambda o: [],
    "DescribeInstances": lambda o: [{"InstanceIds": [o["instance"]]}],
    "DescribeKeyPairs": lambda o: [{"KeyNames": ["mine"]}, {"KeyPairIds": [o["key"]]}],
    "DescribeNetworkInterfaces": lambda o: [{"NetworkInterfaceIds": [o["interface"]]}],
    "DescribeRegions": lambda o: [],
    "DescribeSecurityGroupRules": lambda o: [{"SecurityGroupRuleIds": [o["rule"]]}],
    "DescribeSecurityGroups": lambda o: [{"GroupIds": [o["group"]]}, {"GroupNames": ["web"]}],
    "DescribeSubnets": lambda o: [{"SubnetIds": [o["subnet"]]}],
    "DescribeTags": lambda o: [],
    "DescribeVolumes": lambda o: [{"VolumeIds": ["vol-00000000000000000"]}],
    "DescribeVpcs": lambda o: [{"VpcIds": [o["vpc"]]}],
    "DisassociateAddress": lambda o: [{"AssociationId": o["association"]}, {"PublicIp": o["public"]}],
    "GetConsoleOutput": lambda o: [{"InstanceId": o["instance"]}],
    "ImportKeyPair": lambda o: [],
    "ModifyInstanceAttribute": lambda o: [
        {"InstanceId": o["instance"], "Groups": [o["group"]]},
        {"InstanceId": o["instance"], "UserData": {"Value": b"x"}},
    ],
    "RebootInstances": lambda o: [{"InstanceIds": [o["instance"]]}],
    "RegisterImage": lambda o: [],
    "ReleaseAddress": lambda o: [{"AllocationId": o["address"]}, {"PublicIp": o["public"]}],
    "RevokeSecurityGroupEgress": lambda o: [
        {"GroupId": o["group"], "IpPermissions": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}
    ],
    "RevokeSecurityGroupIngress": lambda o: [
        {"GroupId": o["group"], "IpPermissions": SSH},
        {"GroupName": "web", "IpPermissions": SSH},
        {"GroupName": "default", "SecurityGroupRuleIds": [o["rule"]]},
    ],
    "RunInstances": lambda o: [
        {"ImageId": o["image"], **ONE},
        {"ImageId": o["public_image"], "SubnetId": o["subnet"], **ONE},
        {"ImageId": o["public_image"], "KeyName": "mine", **ONE},
        {"ImageId": o["public_image"], "SubnetId": o["my_subnet"], "SecurityGroupIds": [o["group"]], **ONE},
        {"ImageId": o["public_image"], "SubnetId": o["my_subnet"], "SecurityGroups": ["web"], **ONE},
        {
            "ImageId": o["public_image"],
            "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": o["interface"]}],
            **ONE,
        },
    ],
    "StartInstances": lambda o: [{"InstanceIds": [o["instance"]]}],
    "StopInstances": lambda o: [{"InstanceIds": [o["instance"]], "Force": True}],
    "TerminateInstances": lambda o: [{"InstanceIds": [o["instance"]]}],
}
CHANGES = {name for name in REQUESTS if not name.startswith(("Describe", "Get"))}


def method(boto: Any, action: str) -> Any:
    names = boto.meta.method_to_api_mapping
    return getattr(boto, next(name for name, known in names.items() if known == action))


def test_every_action_has_a_handler_a_rule_and_a_request() -> None:
    assert set(ACTIONS) == set(load().actions) == set(REQUESTS)
    for name, action in ACTIONS.items():
        assert action.rule in composition.RULES, f"{name}: nobody but administrators could do it"


def test_the_rules_are_openstacks_own() -> None:
    others = {**composition.RULES}
    for name, rule in RULES.items():
        assert others[name] == rule
        assert name.startswith(("ec2:Describe", "volume:"))


@pytest.mark.parametrize("action", sorted(REQUESTS))
def test_no_action_is_done_unsigned(world: World, action: str) -> None:
    answer = world.cloud.client.post(f"/services/Cloud?Action={action}&Version=2016-11-15")
    assert answer.status == 401 and b"MissingAuthenticationToken" in answer.body


def objects(world: World) -> Ids:
    """One of everything of the project demo, and what the outsider has."""
    boto, project_id = world.boto(), world.cloud.known.demo_project_id
    key = boto.create_key_pair(KeyName="mine")["KeyPairId"]
    group = boto.create_security_group(GroupName="web", Description="web")["GroupId"]
    rule = boto.authorize_security_group_ingress(GroupId=group, IpPermissions=SSH)["SecurityGroupRules"][0]
    words = {"KeyName": "mine", "SecurityGroupIds": [group], "UserData": "secret"}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}]
    seen = world.launch(boto, TagSpecifications=tags, **words)
    taken = boto.allocate_address()
    led = boto.associate_address(InstanceId=seen["InstanceId"], AllocationId=taken["AllocationId"])
    return {
        "key": key,
        "group": group,
        "rule": rule["SecurityGroupRuleId"],
        "instance": seen["InstanceId"],
        "interface": seen["NetworkInterfaces"][0]["NetworkInterfaceId"],
        "subnet": seen["SubnetId"],
        "vpc": seen["VpcId"],
        "address": taken["AllocationId"],
        "public": taken["PublicIp"],
        "association": led["AssociationId"],
        "image": ec2_id("ami", add_image(world.store, project_id, "private", visibility="private")),
        "public_image": world.ami,
    }


def rows(world: World) -> dict[str, list[Any]]:
    """Everything in the store."""
    tables = [table for table in metadata.sorted_tables if table.name != "idempotency"]
    return {t.name: sorted(map(repr, world.store.read(lambda tx, t=t: tx.all(select(t))))) for t in tables}


def test_another_projects_objects_are_unknown_and_stay_as_they_are(world: World) -> None:
    """The outsider is an administrator in a project of its own: no rule stands in its way, only whose it is."""
    theirs = objects(world)
    outsider = world.boto("admin", "admin")
    nova = world.nova("admin", "admin")
    network = nova.post("/network/v2.0/networks", {"network": {"name": "own"}}).json["network"]["id"]
    body = {"subnet": {"network_id": network, "cidr": "10.66.0.0/24", "ip_version": 4}}
    assert nova.post("/network/v2.0/subnets", body).status == 201
    theirs["mine"] = outsider.allocate_address()["AllocationId"]
    theirs["my_subnet"] = outsider.describe_subnets()["Subnets"][0]["SubnetId"]
    outsider.describe_security_groups()  # makes its default group
    before = rows(world)
    done = 0
    for action, requests in REQUESTS.items():
        for request in requests(theirs):
            code = refusal(lambda a=action, r=request: method(outsider, a)(**r))[0]
            assert code.endswith(".NotFound"), (action, request, code)
            done += 1
    assert done > 45
    assert rows(world) == before
    for describe in (name for name in REQUESTS if name.startswith("Describe") and name != "DescribeInstanceAttribute"):
        said = repr(method(outsider, describe)())
        for word, object_id in theirs.items():
            if word not in ("mine", "my_subnet", "public_image"):
                assert object_id not in said, f"{describe} shows another project's {word}"


def reader(world: World) -> Any:
    """A client that may only read, in the project demo."""
    known = world.cloud.known
    credentials = Credentials(
        known.demo_user_id, "demo", "default", project_id=known.demo_project_id, roles=imply(frozenset({"reader"}))
    )
    return signed_as(world, credentials, composition.RULES)


def signed_as(world: World, credentials: Credentials, rules: dict[str, str]) -> Any:
    def signer_of(call: Call, access_key: str) -> tuple[str, Credentials]:
        return SECRETS[access_key], credentials

    def refuse(_: Any) -> Any:
        raise AssertionError("no token is looked at")

    facades = ec2_facades(ACTIONS, signer_of, old_clients=False)
    return ec2(Client(Application(world.cloud.services, facades, Policy(rules), refuse, refuse, ROOT)))


def test_a_reader_reads_and_changes_nothing(world: World) -> None:
    mine = objects(world)
    mine |= {"mine": mine["address"], "my_subnet": mine["subnet"]}
    boto, before = reader(world), rows(world)
    users_own = {"DeleteKeyPair", "CreateKeyPair", "ImportKeyPair"}
    for action in CHANGES - users_own:
        for request in REQUESTS[action](mine) or [{"Name": "image"} if action == "RegisterImage" else {}]:
            assert refusal(lambda a=action, r=request: method(boto, a)(**r))[0] == "UnauthorizedOperation", action
    assert rows(world) == before
    for action in set(REQUESTS) - CHANGES - {"DescribeVolumes", "GetConsoleOutput"}:
        for request in REQUESTS[action](mine):
            method(boto, action)(**request)
    with pytest.raises(boto.exceptions.ClientError, match="UnauthorizedOperation"):
        boto.run_instances(ImageId=world.ami, **ONE)


def test_one_policy_governs_both_apis(world: World) -> None:
    """CVE-2014-0167: what an operator forbids in Nova must not be possible through EC2."""
    mine, known = objects(world), world.cloud.known
    mine |= {"mine": mine["address"], "my_subnet": mine["subnet"]}
    member = Credentials(
        known.demo_user_id, "demo", "default", project_id=known.demo_project_id, roles=imply(frozenset({"member"}))
    )
    for action in sorted(REQUESTS):
        rule = ACTIONS[action].rule
        boto = signed_as(world, member, {**composition.RULES, rule: "!"})
        for request in REQUESTS[action](mine):
            code = refusal(lambda a=action, r=request, b=boto: method(b, a)(**r))[0]
            assert code == "UnauthorizedOperation", (action, rule)
    owner_only = {**composition.RULES, "os_compute_api:servers:delete": "user_id:%(user_id)s"}
    other = Credentials("another", "x", "default", project_id=known.demo_project_id, roles=imply(frozenset({"member"})))
    terminate = {"InstanceIds": [mine["instance"]]}
    for stranger in (signed_as(world, other, owner_only),):
        assert refusal(lambda b=stranger: b.terminate_instances(**terminate))[0] == "UnauthorizedOperation"
    signed_as(world, member, owner_only).terminate_instances(**terminate)


def test_every_code_that_is_raised_here_is_known_and_no_other_reaches_a_client() -> None:
    package = Path(composition.__file__).parent.parent
    raised = {code for path in package.glob("api/ec2/**/*.py") if path.name != "codes.py" for code in codes_in(path)}
    assert len(raised) > 40 and raised <= _EC2
    foreign = {c for room in ("control", "domain") for path in package.glob(f"{room}/**/*.py") for c in codes_in(path)}
    assert len(foreign) > 60
    for code in foreign:
        said = ec2_code("RunInstances", code)
        assert said in _EC2 or not said[:1].isupper(), code


def codes_in(path: Path) -> set[str]:
    """Codes that begin with a capital, where an error is made and in the table of kinds."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [n.value for n in nodes if isinstance(n, ast.keyword) and n.arg == "code"]
    kinds = [n.args for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "Kind"]
    constants = [*named, *(argument for arguments in kinds for argument in arguments[2:])]
    return {str(n.value) for n in constants if isinstance(n, ast.Constant) and str(n.value)[:1].isupper()}
