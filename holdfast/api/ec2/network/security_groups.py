"""Security groups: listed with their rules, made and deleted. By id or, within the project, by name."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import Facts, filter_of, page_of
from holdfast.api.ec2.lookup import GROUP, pick, vpc_id
from holdfast.api.ec2.network.permissions import permissions_view
from holdfast.api.ec2.network.subnets import vpc_check
from holdfast.api.ec2.tags import no_tags
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.base.limits import NAME_CHARS
from holdfast.control.operations.network.security_group import (
    security_group_create,
    security_group_default,
    security_group_delete,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import object_where
from holdfast.control.store.network.security_group import (
    SECURITY_GROUPS,
    rules_naming,
    rules_of_groups,
    security_group_default_fetch,
    security_group_visible,
)
from holdfast.domain.security_group import DEFAULT, SecurityGroup, SecurityGroupRule

_FIELDS = {
    "cidr": ("IpRanges", "CidrIp"),
    "ipv6-cidr": ("Ipv6Ranges", "CidrIpv6"),
    "group-id": ("UserIdGroupPairs", "GroupId"),
    "group-name": ("UserIdGroupPairs", "GroupName"),
    "user-id": ("UserIdGroupPairs", "UserId"),
}
_PLAIN = ("description", "group-id", "group-name", "owner-id", "vpc-id")
_PORTS = {"from-port": "FromPort", "to-port": "ToPort", "protocol": "IpProtocol"}


def groups_describe(call: Call, members: Members) -> Members:
    """DescribeSecurityGroups: the first look makes the project's default group."""
    names = [f"{side}ip-permission.{word}" for side in ("", "egress.") for word in (*_FIELDS, *_PORTS)]
    passes = filter_of(members.get("Filters", []), (*_PLAIN, *names))
    group_default_make(call)
    asked, asked_names = members.get("GroupIds", []), members.get("GroupNames", [])

    def look(tx: Tx) -> list[Members]:
        every = groups_all(tx, call.project_id)
        rows = _named(every, asked, asked_names) if asked or asked_names else every
        return _views(tx, rows, every, call.project_id)

    views = sorted(call.services.store.read(look), key=lambda view: str(view["GroupId"]))
    page, token = page_of([v for v in views if passes(_facts(v))], members, lambda view: str(view["GroupId"]))
    return {"SecurityGroups": page, "NextToken": token}


def group_create(call: Call, members: Members) -> Members:
    """CreateSecurityGroup: lets everything out and nothing in."""
    no_tags(members, "security-group")
    name, description = members["GroupName"], members["Description"]
    if "VpcId" in members:
        vpc_check(call, members["VpcId"])
    for word, text in (("GroupName", name), ("GroupDescription", description)):
        if not 1 <= len(text) <= NAME_CHARS or not text.isprintable() or text != text.strip():
            raise BadInput(f"{word} must be 1 to {NAME_CHARS} printable characters", code="InvalidParameterValue")
    if name.startswith("sg-"):
        raise BadInput("Group names may not be in the format sg-*", code="InvalidParameterValue")

    def change(tx: Tx) -> SecurityGroup:
        if name != DEFAULT and any(group.name == name for group in groups_all(tx, call.project_id)):
            raise Conflict(f"The security group '{name}' already exists", code="InvalidGroup.Duplicate")
        return security_group_create(tx, call.project_id, name, description)

    return {"GroupId": GROUP.id_of(call.services.store.write(change).id), "Tags": []}


def group_delete(call: Call, members: Members) -> Members:
    """DeleteSecurityGroup: never one that an interface has or that another group's rule names."""

    def change(tx: Tx) -> SecurityGroup:
        group = group_asked(call, tx, members)
        call.authorise("delete_security_group", {"project_id": group.project_id})
        if any(rule.group_id != group.id for rule in rules_naming(tx, group.id)):
            message = f"{GROUP.id_of(group.id)} is named by a rule of another security group"
            raise Conflict(message, code="InvalidGroup.InUse")
        security_group_delete(tx, group)
        return group

    return {"Return": True, "GroupId": GROUP.id_of(call.services.store.write(change).id)}


def group_default_make(call: Call) -> None:
    """Make the project's default group unless it is there: everybody expects to find it."""
    project_id, store = call.project_id, call.services.store
    if store.read(lambda tx: security_group_default_fetch(tx, project_id)) is None:
        store.write(lambda tx: security_group_default(tx, project_id))


def groups_all(tx: Tx, project_id: str) -> list[SecurityGroup]:
    """The project's groups, oldest first."""
    return object_where(tx, SECURITY_GROUPS, security_group_visible(project_id))


def groups_named(call: Call, tx: Tx, ids: Sequence[str], names: Sequence[str]) -> list[SecurityGroup]:
    """The project's groups with these ids and names."""
    if not ids and not names:
        return []
    if DEFAULT in names:
        security_group_default(tx, call.project_id)
    return _named(groups_all(tx, call.project_id), ids, names)


def group_asked(call: Call, tx: Tx, members: Members) -> SecurityGroup:
    """The group of a request that names one by GroupId or GroupName."""
    group_id, name = members.get("GroupId", ""), members.get("GroupName", "")
    if not group_id and not name:
        raise BadInput("The request must contain the parameter GroupId or GroupName", code="MissingParameter")
    return groups_named(call, tx, [group_id] if group_id else [], [] if group_id else [name])[0]


def _named(every: Sequence[SecurityGroup], ids: Sequence[str], names: Sequence[str]) -> list[SecurityGroup]:
    found = pick(GROUP, ids, every, lambda group: group.id)
    for name in names:
        matches = [group for group in every if group.name == name]
        if not matches:
            raise NotFound(f"The security group '{name[:64]}' does not exist", code="InvalidGroup.NotFound")
        if len(matches) > 1:
            raise Conflict(
                f"Several security groups are called '{name[:64]}': use a GroupId.", code="InvalidParameterValue"
            )
        found += [group for group in matches if group not in found]
    return found


def _views(tx: Tx, rows: Sequence[SecurityGroup], every: Sequence[SecurityGroup], project_id: str) -> list[Members]:
    rules, by_id = rules_of_groups(tx, [row.id for row in rows]), {group.id: group for group in every}

    def side(row: SecurityGroup, direction: str) -> list[Members]:
        return permissions_view([r for r in rules.get(row.id, []) if r.direction == direction], by_id)

    return [
        {
            "GroupId": GROUP.id_of(row.id),
            "GroupName": row.name,
            "Description": row.description,
            "OwnerId": row.project_id,
            "VpcId": vpc_id(project_id),
            "IpPermissions": side(row, "ingress"),
            "IpPermissionsEgress": side(row, "egress"),
            "Tags": [],
        }
        for row in rows
    ]


def _facts(view: Members) -> Facts:
    facts = {
        "description": [view["Description"]],
        "group-id": [view["GroupId"]],
        "group-name": [view["GroupName"]],
        "owner-id": [view["OwnerId"]],
        "vpc-id": [view["VpcId"]],
    }
    for prefix, member in (("", "IpPermissions"), ("egress.", "IpPermissionsEgress")):
        permissions = view[member]
        for word, name in _PORTS.items():
            facts[f"{prefix}ip-permission.{word}"] = [str(p[name]) for p in permissions if p[name] is not None]
        for word, (items, name) in _FIELDS.items():
            facts[f"{prefix}ip-permission.{word}"] = [
                item[name] for permission in permissions for item in permission[items] if name in item
            ]
    return facts


def rules_of(tx: Tx, group: SecurityGroup) -> list[SecurityGroupRule]:
    return rules_of_groups(tx, [group.id]).get(group.id, [])


ACTIONS = {
    "DescribeSecurityGroups": Action("get_security_group", groups_describe),
    "CreateSecurityGroup": Action("create_security_group", group_create),
    "DeleteSecurityGroup": Action("delete_security_group", group_delete),
}
