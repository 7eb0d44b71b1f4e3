"""Security groups and their rules: one default group per project and no rule twice, by constraint."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    or_,
    select,
)

from holdfast.control.store.database import Tx
from holdfast.control.store.network.port import port, port_security_group
from holdfast.control.store.network.query import Listable, object_fetch, object_where, resource_columns
from holdfast.control.store.network.subnet_address import subnet_address
from holdfast.control.store.schema import metadata
from holdfast.domain.security_group import SecurityGroup, SecurityGroupRule, protocol_filter

security_group = Table(
    "security_group",
    metadata,
    *resource_columns(),
    Column("name", String, nullable=False, index=True),
    Column("is_default", Boolean, nullable=False),
    Column("stateful", Boolean, nullable=False),
)
Index(
    "uq_security_group_default",
    security_group.c.project_id,
    unique=True,
    sqlite_where=security_group.c.is_default,
    postgresql_where=security_group.c.is_default,
)

_VALUES = ("direction", "ethertype", "protocol", "port_min", "port_max", "remote_cidr", "remote_group")
security_group_rule = Table(
    "security_group_rule",
    metadata,
    *resource_columns(),
    Column("group_id", String, ForeignKey("security_group.id", ondelete="CASCADE"), nullable=False),
    Column("direction", String, nullable=False),
    Column("ethertype", String, nullable=False),
    Column("protocol", String, nullable=False),
    Column("protocol_shown", String, nullable=False),
    Column("port_min", Integer, nullable=False),
    Column("port_max", Integer, nullable=False),
    Column("remote_cidr", String, nullable=False),
    Column("remote_group", String, nullable=False, index=True),
    UniqueConstraint("group_id", *_VALUES, name="uq_security_group_rule_same"),
)

SECURITY_GROUPS = Listable(
    SecurityGroup,
    security_group,
    "SecurityGroup",
    {
        "id": security_group.c.id,
        "name": security_group.c.name,
        "description": security_group.c.description,
        "project_id": security_group.c.project_id,
        "tenant_id": security_group.c.project_id,
        "stateful": security_group.c.stateful,
        "is_default": security_group.c.is_default,
        "revision_number": security_group.c.revision,
        "created_at": security_group.c.created_us,
        "updated_at": security_group.c.updated_us,
    },
)

RULES = Listable(
    SecurityGroupRule,
    security_group_rule,
    "SecurityGroupRule",
    {
        "id": security_group_rule.c.id,
        "description": security_group_rule.c.description,
        "project_id": security_group_rule.c.project_id,
        "tenant_id": security_group_rule.c.project_id,
        "security_group_id": security_group_rule.c.group_id,
        "direction": security_group_rule.c.direction,
        "ethertype": security_group_rule.c.ethertype,
        "port_range_min": security_group_rule.c.port_min,
        "port_range_max": security_group_rule.c.port_max,
        "remote_ip_prefix": security_group_rule.c.remote_cidr,
        "remote_group_id": security_group_rule.c.remote_group,
        "revision_number": security_group_rule.c.revision,
        "created_at": security_group_rule.c.created_us,
        "updated_at": security_group_rule.c.updated_us,
    },
    {"protocol": lambda values: security_group_rule.c.protocol.in_([protocol_filter(value) for value in values])},
)


_LETTING_IN = (
    select(port.c.host_id)
    .join(port_security_group, port_security_group.c.port_id == port.c.id)
    .join(security_group_rule, security_group_rule.c.group_id == port_security_group.c.group_id)
    .where(security_group_rule.c.remote_group.in_(bindparam("group_ids", expanding=True)), port.c.host_id != "")
    .distinct()
)


def security_group_fetch(tx: Tx, group_id: str) -> SecurityGroup | None:
    """The group, or None."""
    found: SecurityGroup | None = object_fetch(tx, SECURITY_GROUPS, group_id)
    return found


def security_group_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: its own."""
    return security_group.c.project_id == project_id


def rule_visible(project_id: str) -> ColumnElement[bool]:
    """What a project may see: the rules of its own groups."""
    own = select(security_group.c.id).where(security_group.c.project_id == project_id)
    return security_group_rule.c.group_id.in_(own)


def security_group_default_fetch(tx: Tx, project_id: str) -> SecurityGroup | None:
    """The project's default group, or None before its first use."""
    rows = object_where(tx, SECURITY_GROUPS, security_group.c.project_id == project_id, security_group.c.is_default)
    return rows[0] if rows else None


def security_groups_of_project(tx: Tx, project_id: str, names_or_ids: Sequence[str]) -> list[SecurityGroup]:
    """The project's groups that have one of the names or ids."""
    named = or_(security_group.c.name.in_(names_or_ids), security_group.c.id.in_(names_or_ids))
    return object_where(tx, SECURITY_GROUPS, security_group.c.project_id == project_id, named)


def security_groups_fetch(tx: Tx, group_ids: Sequence[str]) -> list[SecurityGroup]:
    """The groups with these ids."""
    return object_where(tx, SECURITY_GROUPS, security_group.c.id.in_(group_ids)) if group_ids else []


def rules_of_groups(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[SecurityGroupRule]]:
    """The rules of each group, in one query."""
    found: dict[str, list[SecurityGroupRule]] = {}
    for rule in object_where(tx, RULES, security_group_rule.c.group_id.in_(group_ids)) if group_ids else []:
        found.setdefault(rule.group_id, []).append(rule)
    return found


def rules_naming(tx: Tx, group_id: str) -> list[SecurityGroupRule]:
    """The rules, of any group, that let the members of a group in."""
    return object_where(tx, RULES, security_group_rule.c.remote_group == group_id)


def hosts_letting_in(tx: Tx, group_ids: Sequence[str]) -> list[str]:
    """The hosts with a port whose rules let the members of one of these groups in."""
    return [row[0] for row in tx.all(_LETTING_IN, {"group_ids": list(group_ids)})] if group_ids else []


def rule_same(tx: Tx, rule: SecurityGroupRule) -> SecurityGroupRule | None:
    """The rule that lets the same through, or None."""
    columns = security_group_rule.c
    same = [columns[name] == getattr(rule, name) for name in ("group_id", *_VALUES)]
    rows = object_where(tx, RULES, *same)
    return rows[0] if rows else None


def group_in_use(tx: Tx, group_id: str) -> bool:
    """Say whether a port has the group."""
    columns = port_security_group.c
    return tx.value(select(columns.port_id).where(columns.group_id == group_id).limit(1)) is not None


def members_of_groups(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """The addresses of every port in each group, on any host, in one query."""
    mine, held = port_security_group.c, subnet_address.c
    statement = select(mine.group_id, held.address).join(subnet_address, held.port_id == mine.port_id)
    found: dict[str, list[str]] = {}
    for group_id, address in tx.all(statement.where(mine.group_id.in_(group_ids)).order_by(held.address)):
        found.setdefault(group_id, []).append(address)
    return found


def pairs_of_groups(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """The allowed address pairs of the ports in each group that are one address.

    A wider pair does not make its range a member: one port with 0.0.0.0/0 would open the group to everybody.
    """
    mine = port_security_group.c
    statement = select(mine.group_id, port.c.allowed_pairs).join(port, port.c.id == mine.port_id)
    where = (mine.group_id.in_(group_ids), port.c.allowed_pairs != [])
    found: dict[str, list[str]] = {}
    for group_id, pairs in tx.all(statement.where(*where)):
        found.setdefault(group_id, []).extend(there for _, there in pairs if "/" not in there)
    return found
