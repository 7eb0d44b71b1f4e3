"""Rules of security groups: authorised, revoked, listed. All permissions of a request, or none."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import filter_of, page_of
from holdfast.api.ec2.lookup import GROUP, RULE, pick
from holdfast.api.ec2.network.permissions import (
    rule_view,
    rules_wanted,
    same,
    same_wanted,
    shown,
    twins_of,
)
from holdfast.api.ec2.network.security_groups import group_asked, group_default_make, groups_all, groups_named, rules_of
from holdfast.api.ec2.tags import no_tags
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.control.operations.network.security_group import security_group_rule_create, security_group_rule_delete
from holdfast.control.store.database import Tx
from holdfast.control.store.network.security_group import rules_of_groups
from holdfast.domain.security_group import RuleWanted, SecurityGroup, SecurityGroupRule

_FLAT = ("IpProtocol", "FromPort", "ToPort", "CidrIp", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId")


def ingress_authorise(call: Call, members: Members) -> Members:
    """AuthorizeSecurityGroupIngress."""
    return _authorise(call, members, "ingress")


def egress_authorise(call: Call, members: Members) -> Members:
    """AuthorizeSecurityGroupEgress."""
    return _authorise(call, members, "egress")


def ingress_revoke(call: Call, members: Members) -> Members:
    """RevokeSecurityGroupIngress."""
    return _revoke(call, members, "ingress")


def egress_revoke(call: Call, members: Members) -> Members:
    """RevokeSecurityGroupEgress."""
    return _revoke(call, members, "egress")


def rules_describe(call: Call, members: Members) -> Members:
    """DescribeSecurityGroupRules."""
    passes = filter_of(members.get("Filters", []), ("group-id", "security-group-rule-id"))
    asked = members.get("SecurityGroupRuleIds", [])
    group_default_make(call)

    def look(tx: Tx) -> list[SecurityGroupRule]:
        held = rules_of_groups(tx, [group.id for group in groups_all(tx, call.project_id)])
        rows = [rule for rules in held.values() for rule in shown(rules)]
        return pick(RULE, asked, rows, lambda rule: rule.id) if asked else rows

    views = sorted(map(rule_view, call.services.store.read(look)), key=lambda view: str(view["SecurityGroupRuleId"]))
    kept = [
        view
        for view in views
        if passes({"group-id": [view["GroupId"]], "security-group-rule-id": [view["SecurityGroupRuleId"]]})
    ]
    page, token = page_of(kept, members, lambda view: str(view["SecurityGroupRuleId"]))
    return {"SecurityGroupRules": page, "NextToken": token}


def _authorise(call: Call, members: Members, direction: str) -> Members:
    no_tags(members, "security-group-rule")

    def change(tx: Tx) -> list[SecurityGroupRule]:
        group, wanted = _asked(call, tx, members, direction)
        call.authorise("create_security_group_rule", {"project_id": group.project_id})
        known = {same(rule) for rule in rules_of(tx, group)}
        made = []
        for rules in wanted:
            keys = [same_wanted(rule) for rule in rules]
            if known & set(keys):
                raise Conflict("the specified rule already exists", code="InvalidPermission.Duplicate")
            known |= set(keys)
            made += [security_group_rule_create(tx, group.project_id, rule) for rule in rules]
        return made

    made = call.services.store.write(change)
    return {"Return": True, "SecurityGroupRules": [rule_view(rule) for rule in shown(made)]}


def _revoke(call: Call, members: Members, direction: str) -> Members:
    rule_ids = members.get("SecurityGroupRuleIds", [])

    def change(tx: Tx) -> list[SecurityGroupRule]:
        group = group_asked(call, tx, members)
        call.authorise("delete_security_group_rule", {"project_id": group.project_id})
        rules = [rule for rule in rules_of(tx, group) if rule.direction == direction]
        if rule_ids:
            named = pick(RULE, rule_ids, rules, lambda rule: rule.id)
            gone = [twin for rule in named for twin in twins_of(rule, rules)]
        else:
            gone = _matching(rules, _asked(call, tx, members, direction)[1])
        found = list({rule.id: rule for rule in gone}.values())
        for rule in found:
            security_group_rule_delete(tx, rule)
        return found

    gone = call.services.store.write(change)
    return {"Return": True, "RevokedSecurityGroupRules": [_revoked_view(rule) for rule in shown(gone)]}


def _matching(rules: list[SecurityGroupRule], wanted: list[list[RuleWanted]]) -> list[SecurityGroupRule]:
    """The rules that let through what is to end; NotFound when one of them is not there."""
    gone = []
    for together in wanted:
        keys = {same_wanted(rule) for rule in together}
        matches = [rule for rule in rules if same(rule) in keys]
        if not matches:
            message = "The specified rule does not exist in this security group."
            raise NotFound(message, code="InvalidPermission.NotFound")
        gone += matches
    return gone


def _asked(call: Call, tx: Tx, members: Members, direction: str) -> tuple[SecurityGroup, list[list[RuleWanted]]]:
    """The group, and the rules of the permissions, in the form of today or of EC2's first years."""
    group = group_asked(call, tx, members)
    permissions = members.get("IpPermissions", [])
    flat = {name: members[name] for name in _FLAT if name in members}
    if bool(permissions) == bool(flat):
        raise BadInput("The request must contain IpPermissions, or one rule.", code="MissingParameter")

    def group_of(pair: Mapping[str, str]) -> SecurityGroup:
        if pair.get("UserId", call.project_id) != call.project_id:
            name = pair.get("GroupId") or pair.get("GroupName", "")
            raise NotFound(f"The security group '{name[:64]}' does not exist", code=GROUP.missing)
        if not pair.get("GroupId") and not pair.get("GroupName"):
            raise BadInput("The request must contain GroupId or GroupName", code="MissingParameter")
        ids = [pair["GroupId"]] if pair.get("GroupId") else []
        return groups_named(call, tx, ids, [] if ids else [pair["GroupName"]])[0]

    return group, rules_wanted(group, direction, permissions or [_permission(flat)], group_of)


def _permission(flat: Members) -> Members:
    """The old form as a permission: a group that is let in without a protocol is let in with every one."""
    permission: Members = {name: flat[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in flat}
    if "CidrIp" in flat:
        permission["IpRanges"] = [{"CidrIp": flat["CidrIp"]}]
    if "SourceSecurityGroupName" in flat:
        permission.setdefault("IpProtocol", "-1")
        pair = {"GroupName": flat["SourceSecurityGroupName"]}
        owner = flat.get("SourceSecurityGroupOwnerId")
        permission["UserIdGroupPairs"] = [{**pair, "UserId": owner} if owner else pair]
    return permission


def _revoked_view(rule: SecurityGroupRule) -> Members:
    view = rule_view(rule)
    group = view.pop("ReferencedGroupInfo", None)
    for name in ("GroupOwnerId", "Tags"):
        del view[name]
    return {**view, "ReferencedGroupId": group["GroupId"]} if group else view


ACTIONS = {
    "AuthorizeSecurityGroupIngress": Action("create_security_group_rule", ingress_authorise),
    "AuthorizeSecurityGroupEgress": Action("create_security_group_rule", egress_authorise),
    "RevokeSecurityGroupIngress": Action("delete_security_group_rule", ingress_revoke),
    "RevokeSecurityGroupEgress": Action("delete_security_group_rule", egress_revoke),
    "DescribeSecurityGroupRules": Action("get_security_group_rule", rules_describe),
}
