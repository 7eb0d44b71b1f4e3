"""Security groups: made, found by name, and what every project's default group lets through.

The default group is made by the first request that needs it, in that request's transaction, with Neutron's
rules: everything out, and in from the members of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.base import ids
from holdfast.base.errors import BadInput, Conflict
from holdfast.control.store.database import Tx
from holdfast.control.store.network.port import hosts_of_groups
from holdfast.control.store.network.query import (
    object_count,
    object_delete,
    object_insert,
    object_update,
)
from holdfast.control.store.network.security_group import (
    RULES,
    SECURITY_GROUPS,
    group_in_use,
    rule_same,
    rules_naming,
    rules_of_groups,
    security_group_default_fetch,
    security_group_fetch,
    security_groups_of_project,
)
from holdfast.control.store.quota import quota_require
from holdfast.control.store.revision import revision_network
from holdfast.domain.network import missing
from holdfast.domain.security_group import DEFAULT, V4, V6, RuleWanted, SecurityGroup, SecurityGroupRule, rule_make


def security_group_create(
    tx: Tx, project_id: str, name: str, description: str = "", stateful: bool = True
) -> SecurityGroup:
    """Make a group that lets everything out and nothing in; Conflict for a second `default`."""
    security_group_default(tx, project_id)
    if name == DEFAULT:
        raise Conflict("Default security group already exists.", code="SecurityGroupDefaultAlreadyExists")
    quota_require(tx, project_id, "security_group", object_count(tx, SECURITY_GROUPS, project_id))
    group = _group(tx, project_id, name, description, stateful, is_default=False)
    for ethertype in (V4, V6):
        _rule_insert(tx, project_id, RuleWanted(group.id, "egress", ethertype))
    return group


def security_group_default(tx: Tx, project_id: str) -> SecurityGroup:
    """The project's default group, made now if this is its first use."""
    if (found := security_group_default_fetch(tx, project_id)) is not None:
        return found
    group = _group(tx, project_id, DEFAULT, "Default security group", True, is_default=True)
    for ethertype in (V4, V6):
        _rule_insert(tx, project_id, RuleWanted(group.id, "egress", ethertype))
        _rule_insert(tx, project_id, RuleWanted(group.id, "ingress", ethertype, remote_group=group.id))
    return group


def security_groups_resolve(tx: Tx, project_id: str, names_or_ids: Sequence[str]) -> list[SecurityGroup]:
    """The project's groups with these names or ids, in their order; Conflict when a name is there twice."""
    if DEFAULT in names_or_ids:
        security_group_default(tx, project_id)
    groups = security_groups_of_project(tx, project_id, names_or_ids)
    found: list[SecurityGroup] = []
    for wanted in names_or_ids:
        matches = [g for g in groups if g.id == wanted] or [g for g in groups if g.name == wanted]
        if not matches:
            raise missing("SecurityGroup", wanted)
        if len(matches) > 1:
            words = f"Multiple security groups exist with name '{wanted[:64]}'. Use a security group id."
            raise Conflict(words, code="NoUniqueMatch")
        if matches[0] not in found:
            found.append(matches[0])
    return found


def security_group_update(tx: Tx, group: SecurityGroup, changes: Mapping[str, Any]) -> SecurityGroup:
    """Write a new name or description."""
    if group.is_default and changes.get("name", DEFAULT) != DEFAULT:
        raise BadInput("Default security group cannot be renamed.", code="SecurityGroupCannotUpdateDefault")
    if not group.is_default and changes.get("name") == DEFAULT:
        raise Conflict("Default security group already exists.", code="SecurityGroupDefaultAlreadyExists")
    if "stateful" in changes and changes["stateful"] != group.stateful and group_in_use(tx, group.id):
        raise Conflict(f"Security Group {group.id} in use.", code="SecurityGroupInUse")
    object_update(tx, SECURITY_GROUPS, group.id, changes)
    return security_group_fetch(tx, group.id) or group


def security_group_delete(tx: Tx, group: SecurityGroup, as_admin: bool = False) -> None:
    """Forget a group and its rules; Conflict while a port has it or for the default one."""
    if group.is_default and not as_admin:
        message = f"Insufficient rights for removing default security group {group.id}."
        raise Conflict(message, code="SecurityGroupCannotRemoveDefault")
    if group_in_use(tx, group.id):
        raise Conflict(f"Security Group {group.id} in use.", code="SecurityGroupInUse")
    naming = rules_naming(tx, group.id)
    for rule in naming:
        object_delete(tx, RULES, rule.id)
        if rule.group_id != group.id:
            object_update(tx, SECURITY_GROUPS, rule.group_id)
    for rule in rules_of_groups(tx, [group.id]).get(group.id, []):
        object_delete(tx, RULES, rule.id)
    object_delete(tx, SECURITY_GROUPS, group.id)
    revision_network(tx, hosts_of_groups(tx, sorted({rule.group_id for rule in naming})))


def security_group_rule_create(tx: Tx, project_id: str, wanted: RuleWanted) -> SecurityGroupRule:
    """Let something through; Conflict when it is already. The caller checked that both groups are the project's."""
    quota_require(tx, project_id, "security_group_rule", object_count(tx, RULES, project_id))
    rule = _rule_insert(tx, project_id, wanted)
    object_update(tx, SECURITY_GROUPS, wanted.group_id)
    revision_network(tx, hosts_of_groups(tx, [wanted.group_id]))
    return rule


def security_group_rule_delete(tx: Tx, rule: SecurityGroupRule) -> None:
    """Stop letting it through."""
    object_delete(tx, RULES, rule.id)
    object_update(tx, SECURITY_GROUPS, rule.group_id)
    revision_network(tx, hosts_of_groups(tx, [rule.group_id]))


def _rule_insert(tx: Tx, project_id: str, wanted: RuleWanted) -> SecurityGroupRule:
    rule = rule_make(wanted, ids.new_id(), project_id, tx.now_us)
    if (same := rule_same(tx, rule)) is not None:
        message = f"Security group rule already exists. Rule id is {same.id}."
        raise Conflict(message, code="SecurityGroupRuleExists")
    object_insert(tx, RULES, rule)
    return rule


def _group(tx: Tx, project_id: str, name: str, description: str, stateful: bool, is_default: bool) -> SecurityGroup:
    group = SecurityGroup(
        id=ids.new_id(),
        project_id=project_id,
        name=name,
        description=description,
        is_default=is_default,
        stateful=stateful,
        created_us=tx.now_us,
        updated_us=tx.now_us,
        revision=1,
    )
    object_insert(tx, SECURITY_GROUPS, group)
    return group
