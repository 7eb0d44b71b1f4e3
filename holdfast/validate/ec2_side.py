"""The ten steps over the EC2 query API.

Each client has a security group of its own: the project's `default` group is nobody's to change, and clients that
run side by side do not meet in it. An address is allocated when the instance has no public one.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any

from holdfast.base.errors import HoldfastError, NotFound
from holdfast.base.limits import SMOKE_GONE_S, SMOKE_RUNNING_S, SMOKE_SSH_S, WATCH_S
from holdfast.client.ec2 import Ec2, Ec2Error, items
from holdfast.validate.guest_key import GuestKey, command_answers
from holdfast.validate.steps import NothingToDo, wait_until

_SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


class Ec2Side:
    """One client with its own names; remembers what it made, so that it can be removed in any state."""

    def __init__(self, ec2: Ec2, name: str, image: str, flavor: str, user: str, elastic: bool) -> None:
        self._ec2, self._name, self._image, self._flavor = ec2, name, image, flavor
        self._user, self._elastic = user, elastic
        self._key = GuestKey()
        self.key_path = self._key.path
        self._has_key_pair = False
        self.server_id = self._image_id = self._group_id = self._allocation_id = self._address = ""
        self._opened = False

    def key_create(self) -> None:
        made = self._ec2.call("CreateKeyPair", KeyName=self._name)
        self._has_key_pair = True
        self._key.keep(made["keyMaterial"])
        found = items(self._ec2.call("DescribeKeyPairs", KeyName=[self._name]), "keySet")
        _require([pair["keyName"] for pair in found] == [self._name], "the key pair is not listed")

    def image_find(self) -> None:
        images = items(self._ec2.call("DescribeImages"), "imagesSet")
        machines = [image for image in images if image.get("imageType", "machine") == "machine"]
        named = [image for image in machines if self._image in (image["imageId"], image.get("name"))]
        if not named:
            names = ", ".join(sorted(str(image.get("name") or image["imageId"]) for image in machines)) or "none"
            raise NotFound(f"no image is named {self._image!r}; there are: {names}")
        self._image_id = named[0]["imageId"]

    def server_run(self) -> None:
        words = "made by holdfast smoke"
        group = self._ec2.call("CreateSecurityGroup", GroupName=self._name, GroupDescription=words)
        self._group_id = group["groupId"]
        made = self._ec2.call(
            "RunInstances",
            ImageId=self._image_id,
            MinCount=1,
            MaxCount=1,
            KeyName=self._name,
            InstanceType=self._flavor,
            SecurityGroupId=[self._group_id],
            ClientToken=str(uuid.uuid4()),
        )
        instance = items(made, "instancesSet")[0]
        self.server_id = instance["instanceId"]
        _require(instance["instanceState"]["name"] in ("pending", "running"), f"state is {instance['instanceState']}")

    def server_wait(self) -> None:
        wait_until(self._runs, SMOKE_RUNNING_S, WATCH_S, f"instance {self.server_id} is not running")

    def _runs(self) -> bool:
        state = self._instance()["instanceState"]["name"]
        _require(state in ("pending", "running"), f"instance {self.server_id} went to {state}")
        return bool(state == "running")

    def port_open(self) -> None:
        self._opened = True
        self._ec2.call("AuthorizeSecurityGroupIngress", GroupId=self._group_id, IpPermissions=[_SSH])
        _require(self._port_is_open(), "the rule is not in the group")

    def address_find(self) -> list[str]:
        instance = self._instance()
        fixed, public = instance.get("privateIpAddress", ""), instance.get("ipAddress", "")
        _require(bool(fixed), f"instance {self.server_id} has no private address")
        if self._elastic or public in ("", fixed):
            public = self._allocate()
        self._address = public
        return [fixed, public]

    def _allocate(self) -> str:
        """Take an address and give it to the instance."""
        made = self._ec2.call("AllocateAddress", Domain="vpc")
        self._allocation_id = made["allocationId"]
        self._ec2.call("AssociateAddress", AllocationId=self._allocation_id, InstanceId=self.server_id)
        found = items(self._ec2.call("DescribeAddresses", AllocationId=[self._allocation_id]), "addressesSet")
        _require(found[0].get("instanceId") == self.server_id, "the address does not lead to the instance")
        return str(made["publicIp"])

    def command_run(self) -> None:
        reach = self._key.reach(self.server_id, self._address, self._user)
        words = f"ssh to {self._user}@{self._address} does not work"
        wait_until(lambda: command_answers(reach, self._name), SMOKE_SSH_S, WATCH_S, words)

    def server_remove(self) -> None:
        if self._allocation_id:
            self._release()
        if not self.server_id:
            raise NothingToDo
        self._ec2.call("TerminateInstances", InstanceId=[self.server_id])
        wait_until(self._gone, SMOKE_GONE_S, WATCH_S, f"instance {self.server_id} is not terminated")

    def _release(self) -> None:
        found = items(self._ec2.call("DescribeAddresses", AllocationId=[self._allocation_id]), "addressesSet")
        if association := found[0].get("associationId"):
            self._ec2.call("DisassociateAddress", AssociationId=association)
        self._ec2.call("ReleaseAddress", AllocationId=self._allocation_id)
        self._allocation_id = ""

    def _gone(self) -> bool:
        try:
            return bool(self._instance()["instanceState"]["name"] == "terminated")
        except Ec2Error as err:
            if err.code == "InvalidInstanceID.NotFound":
                return True
            raise

    def port_close(self) -> None:
        if not self._group_id:
            raise NothingToDo
        if self._opened and self._port_is_open():
            self._ec2.call("RevokeSecurityGroupIngress", GroupId=self._group_id, IpPermissions=[_SSH])
            _require(not self._port_is_open(), "the rule is still in the group")
        self._ec2.call("DeleteSecurityGroup", GroupId=self._group_id)
        self._group_id = ""

    def key_delete(self) -> None:
        self._key.forget()
        if not self._has_key_pair:
            raise NothingToDo
        self._ec2.call("DeleteKeyPair", KeyName=self._name)
        try:
            self._ec2.call("DescribeKeyPairs", KeyName=[self._name])
        except Ec2Error as err:
            _require(err.code == "InvalidKeyPair.NotFound", f"the deleted key pair is answered with {err.code}")
            return
        raise HoldfastError("the key pair is still there", code="not_deleted")

    def console(self) -> str:
        text = self._ec2.call("GetConsoleOutput", InstanceId=self.server_id).get("output") or ""
        return base64.b64decode(text).decode("utf-8", "replace")

    def _instance(self) -> dict[str, Any]:
        reservations = items(self._ec2.call("DescribeInstances", InstanceId=[self.server_id]), "reservationSet")
        found = [instance for reservation in reservations for instance in items(reservation, "instancesSet")]
        _require(len(found) == 1, f"{len(found)} instances answer to {self.server_id}")
        return dict(found[0])

    def _port_is_open(self) -> bool:
        groups = items(self._ec2.call("DescribeSecurityGroups", GroupId=[self._group_id]), "securityGroupInfo")
        return any(rule.get("fromPort") == "22" for group in groups for rule in items(group, "ipPermissions"))


def ec2_inventory(ec2: Ec2) -> dict[str, str]:
    """Everything that the project has of what a loop makes: `kind id` -> whose it is, by its name."""
    found: dict[str, str] = {}
    for pair in items(ec2.call("DescribeKeyPairs"), "keySet"):
        found[f"key pair {pair['keyName']}"] = pair["keyName"]
    for group in items(ec2.call("DescribeSecurityGroups"), "securityGroupInfo"):
        found[f"security group {group['groupId']}"] = group["groupName"]
    for reservation in items(ec2.call("DescribeInstances"), "reservationSet"):
        for instance in items(reservation, "instancesSet"):
            if instance["instanceState"]["name"] != "terminated":
                found[f"instance {instance['instanceId']}"] = instance.get("keyName", "")
    for address in items(ec2.call("DescribeAddresses"), "addressesSet"):
        found[f"address {address['publicIp']}"] = found.get(f"instance {address.get('instanceId')}", "")
    return found


def _require(condition: bool, words: str) -> None:
    if not condition:
        raise HoldfastError(words, code="wrong_answer")
