"""Single attributes of an instance: shown, and changed where that means something here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.instances.asked import flavor_named, user_data_check
from holdfast.api.ec2.instances.describe import views_of
from holdfast.api.ec2.instances.found import server_allow, server_named
from holdfast.api.ec2.instances.views import state_of
from holdfast.api.ec2.lookup import INSTANCE
from holdfast.api.ec2.network.security_groups import groups_named
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, Conflict, NoCapacity, NotSupported
from holdfast.control.operations.network.port import port_update
from holdfast.control.operations.server.resize import server_resize_stopped
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_change
from holdfast.control.store.network.port import ports_of_instance_ids
from holdfast.domain.desired import Power
from holdfast.domain.server import Server

_RULE = "os_compute_api:servers:update"
_SHOWN: Mapping[str, Callable[[Server, Members], Members]] = {
    "instanceType": lambda s, v: {"InstanceType": {"Value": v["InstanceType"]}},
    "userData": lambda s, v: {"UserData": {"Value": s.instance.user_data} if s.instance.user_data else {}},
    "groupSet": lambda s, v: {"Groups": v["SecurityGroups"]},
    "kernel": lambda s, v: {"KernelId": {"Value": v["KernelId"]}},
    "ramdisk": lambda s, v: {"RamdiskId": {"Value": v["RamdiskId"]}},
    "rootDeviceName": lambda s, v: {"RootDeviceName": {"Value": v["RootDeviceName"]}},
    "blockDeviceMapping": lambda s, v: {"BlockDeviceMappings": []},
    "productCodes": lambda s, v: {"ProductCodes": []},
    "disableApiTermination": lambda s, v: {"DisableApiTermination": {"Value": s.instance.is_locked}},
    "disableApiStop": lambda s, v: {"DisableApiStop": {"Value": s.instance.is_locked}},
    "instanceInitiatedShutdownBehavior": lambda s, v: {"InstanceInitiatedShutdownBehavior": {"Value": "stop"}},
    "sourceDestCheck": lambda s, v: {"SourceDestCheck": {"Value": v["SourceDestCheck"] is not False}},
    "ebsOptimized": lambda s, v: {"EbsOptimized": {"Value": False}},
    "enaSupport": lambda s, v: {"EnaSupport": {"Value": False}},
    "sriovNetSupport": lambda s, v: {"SriovNetSupport": {}},
    "enclaveOptions": lambda s, v: {"EnclaveOptions": {"Enabled": False}},
}
_WORDS = {"userData": "UserData", "groupSet": "Groups", "instanceType": "InstanceType"}
# What may be asked for because it is so already.
_SAME = {
    "InstanceInitiatedShutdownBehavior": {"Value": "stop"},
    "EbsOptimized": {"Value": False},
    "EnaSupport": {"Value": False},
    "EnclaveOptions": {"Enabled": False},
}


def attribute_describe(call: Call, members: Members) -> Members:
    """DescribeInstanceAttribute."""
    word = members["Attribute"]
    if word not in _SHOWN:
        raise BadInput(f"Value ({word[:64]}) for parameter attribute is invalid.", code="InvalidParameterValue")

    def look(tx: Tx) -> Members:
        server = server_named(call, tx, members["InstanceId"], "os_compute_api:servers:show")
        return {"InstanceId": members["InstanceId"], **_SHOWN[word](server, views_of(call, tx, [server])[0])}

    return call.services.store.read(look)


def attribute_modify(call: Call, members: Members) -> Members:
    """ModifyInstanceAttribute: type and user data of a stopped instance, and the security groups."""
    changes = _changes(members)

    def change(tx: Tx) -> None:
        server = server_named(call, tx, members["InstanceId"])
        server_allow(call, server, _RULE, changes=True)
        if state_of(server) in ("shutting-down", "terminated"):
            raise _state("changed", server)
        for name, value in changes.items():
            _modify(call, tx, server, name, value)

    call.services.store.write(change)
    return {}


def _changes(members: Members) -> Members:
    """What is to be changed, from the form of today or the one of EC2's first years: Attribute and Value."""
    changes = {name: value for name, value in members.items() if name not in ("InstanceId", "Attribute", "Value")}
    word = members.get("Attribute", "")
    if word and "Value" in members:
        if word not in _SHOWN:
            raise BadInput(f"Value ({word[:64]}) for parameter attribute is invalid.", code="InvalidParameterValue")
        if word not in _WORDS or word == "groupSet":
            raise _not_here(word)
        value: Any = members["Value"]
        changes[_WORDS[word]] = {"Value": _decoded(value) if word == "userData" else value}
    if len(changes) != 1:
        raise BadInput("Exactly one attribute can be changed by one request.", code="InvalidParameterCombination")
    return changes


def _decoded(text: str) -> bytes:
    return base64.b64decode(user_data_check(text))


def _modify(call: Call, tx: Tx, server: Server, name: str, value: Any) -> None:
    row = server.instance
    if name == "UserData":
        if state_of(server) != "stopped":
            raise _state("given other user data: stop it first", server)
        text = user_data_check(base64.b64encode(value.get("Value", b"")).decode())
        instance_change(tx, row, user_data=text)
    elif name == "Groups":
        groups = groups_named(call, tx, value, ())
        call.authorise("update_port", {"project_id": row.project_id})
        for port in ports_of_instance_ids(tx, [row.id]):
            port_update(tx, port, {}, security_groups=[group.id for group in groups])
    elif name == "InstanceType":
        _resize(call, tx, server, value.get("Value", ""))
    elif not (
        _SAME.get(name) == value
        or (name in ("DisableApiTermination", "DisableApiStop") and value.get("Value") == row.is_locked)
    ):
        raise _not_here(name)


def _resize(call: Call, tx: Tx, server: Server, name: str) -> None:
    if name == server.instance.flavor.name:
        return
    flavor = flavor_named(call, tx, name)
    if state_of(server) != "stopped" or server.instance.power is not Power.STOPPED:
        raise _state("given another type: stop it first", server)
    server_allow(call, server, "os_compute_api:servers:resize")
    try:
        server_resize_stopped(tx, call.services.settings, server.instance, flavor)
    except NoCapacity as err:
        raise NoCapacity("Its host has no room for that type.", code="InsufficientInstanceCapacity") from err


def _state(words: str, server: Server) -> Conflict:
    instance_id = INSTANCE.id_of(server.instance.id)
    message = f"The instance '{instance_id}' is not in a state in which it can be {words}."
    return Conflict(message, code="IncorrectInstanceState")


def _not_here(name: str) -> NotSupported:
    return NotSupported(f"{name[:64]} of an instance cannot be changed in this cloud.")


ACTIONS = {
    "DescribeInstanceAttribute": Action("os_compute_api:servers:show", attribute_describe),
    "ModifyInstanceAttribute": Action(_RULE, attribute_modify),
}
