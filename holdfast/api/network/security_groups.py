"""Security groups and rules over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.http.call import Call, Reply
from holdfast.api.network.attributes import RESOURCE, Attribute, Text, project_for, read, shown_only
from holdfast.api.network.resource import Document, Resource, found_visible, listed, standard
from holdfast.base.errors import BadInput
from holdfast.control.operations.network import security_group as acts
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import tags_of
from holdfast.control.store.network.security_group import (
    RULES,
    SECURITY_GROUPS,
    rule_visible,
    rules_of_groups,
    security_group_default_fetch,
    security_group_visible,
)
from holdfast.domain.security_group import ANY, RuleWanted, SecurityGroup, SecurityGroupRule

GROUP_ATTRIBUTES = {
    **RESOURCE,
    "stateful": Attribute(bool, "stateful"),
    **shown_only("security_group_rules", "shared"),
}

RULE_ATTRIBUTES = {
    **RESOURCE,
    "security_group_id": Attribute(Text, "group_id", put=False),
    "direction": Attribute(Text, "direction", put=False),
    "ethertype": Attribute(Text | None, "ethertype", put=False),
    "protocol": Attribute(int | Text | None, "protocol", put=False),
    "port_range_min": Attribute(int | None, "port_min", put=False),
    "port_range_max": Attribute(int | None, "port_max", put=False),
    "remote_ip_prefix": Attribute(Text | None, "remote_cidr", put=False),
    "remote_group_id": Attribute(Text | None, "remote_group", put=False),
    "description": Attribute(Text, "description", put=False),
    **shown_only("normalized_cidr"),
}
del RULE_ATTRIBUTES["name"]


def groups_render(tx: Tx, call: Call, found: Sequence[SecurityGroup]) -> list[Document]:
    """As Neutron shows security groups, rules included."""
    group_ids = [each.id for each in found]
    rules, tags = rules_of_groups(tx, group_ids), tags_of(tx, group_ids)
    return [
        standard(each, tags)
        | {
            "name": each.name,
            "stateful": each.stateful,
            "shared": False,
            "security_group_rules": rules_render(tx, call, rules.get(each.id, [])),
        }
        for each in found
    ]


def rules_render(tx: Tx, call: Call, found: Sequence[SecurityGroupRule]) -> list[Document]:
    """As Neutron shows rules: null where anything goes."""
    return [
        standard(each, {})
        | {
            "security_group_id": each.group_id,
            "direction": each.direction,
            "ethertype": each.ethertype,
            "protocol": each.protocol_shown or None,
            "port_range_min": None if each.port_min == ANY else each.port_min,
            "port_range_max": None if each.port_max == ANY else each.port_max,
            "remote_ip_prefix": each.remote_cidr or None,
            "normalized_cidr": each.remote_cidr or None,
            "remote_group_id": each.remote_group or None,
        }
        for each in found
    ]


GROUP = Resource(
    "security_group", "security_groups", SECURITY_GROUPS, security_group_visible, GROUP_ATTRIBUTES, groups_render
)
RULE = Resource("security_group_rule", "security_group_rules", RULES, rule_visible, RULE_ATTRIBUTES, rules_render)


def groups_listed(call: Call) -> Reply:
    """GET /v2.0/security-groups: the first look makes the project's default group."""
    project_id = call.credentials.project_id
    if project_id and call.services.store.read(lambda tx: security_group_default_fetch(tx, project_id)) is None:
        call.services.store.write(lambda tx: acts.security_group_default(tx, project_id))
    return listed(GROUP)(call)


def group_create(tx: Tx, call: Call, body: Document) -> SecurityGroup:
    """POST /v2.0/security-groups"""
    fields = read(call, GROUP_ATTRIBUTES, body, "create_security_group")
    _stateful_check(fields)
    project_id = project_for(call, fields, "create_security_group")
    return acts.security_group_create(tx, project_id, fields.get("name", ""), fields.get("description", ""))


def group_update(tx: Tx, call: Call, found: SecurityGroup, fields: Document) -> SecurityGroup:
    """PUT /v2.0/security-groups/ID"""
    _stateful_check(fields)
    return acts.security_group_update(tx, found, fields)


def group_delete(tx: Tx, call: Call, found: SecurityGroup) -> None:
    """DELETE /v2.0/security-groups/ID"""
    acts.security_group_delete(tx, found, as_admin=call.credentials.is_admin)


def _stateful_check(fields: Document) -> None:
    if not fields.get("stateful", True):
        raise BadInput("Stateless security groups are not supported by this cloud.", code="BadRequest")


def rule_create(tx: Tx, call: Call, body: Document) -> SecurityGroupRule:
    """POST /v2.0/security-group-rules"""
    fields = read(call, RULE_ATTRIBUTES, body, "create_security_group_rule")
    if not fields.get("group_id") or not fields.get("direction"):
        words = "Failed to parse request. Required attribute 'security_group_id' or 'direction' not specified"
        raise BadInput(words, code="HTTPBadRequest")
    project_for(call, fields, "create_security_group_rule")
    group = found_visible(tx, call, GROUP, fields["group_id"])
    if fields.get("remote_group"):
        found_visible(tx, call, GROUP, fields["remote_group"])
    given = {name: value for name, value in fields.items() if value is not None}
    if "protocol" in given:
        given["protocol"] = str(given["protocol"])
    return acts.security_group_rule_create(tx, group.project_id, RuleWanted(**given))


def rule_delete(tx: Tx, call: Call, found: SecurityGroupRule) -> None:
    """DELETE /v2.0/security-group-rules/ID"""
    acts.security_group_rule_delete(tx, found)
