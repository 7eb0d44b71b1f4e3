"""Server groups. Membership is a column of the instance."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, Index, Integer, String, Table, delete, func, insert, select

from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance
from holdfast.control.store.schema import instant, metadata
from holdfast.domain.instance import InstanceState, ServerGroup

server_group = Table(
    "server_group",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("max_per_host", Integer, nullable=False),
    instant("created_us"),
    Index(None, "project_id", "created_us"),
)

_COLUMNS = [server_group.c[name] for name in ServerGroup.__struct_fields__]


def server_group_insert(tx: Tx, row: ServerGroup) -> None:
    tx.run(insert(server_group), {name: getattr(row, name) for name in ServerGroup.__struct_fields__})


def server_group_fetch(tx: Tx, group_id: str) -> ServerGroup | None:
    return tx.struct(ServerGroup, select(*_COLUMNS).where(server_group.c.id == group_id))


def server_groups_list(tx: Tx, project_id: str | None) -> list[ServerGroup]:
    """A project's groups, or everybody's."""
    statement = select(*_COLUMNS).order_by(server_group.c.created_us, server_group.c.id)
    if project_id is not None:
        statement = statement.where(server_group.c.project_id == project_id)
    return tx.structs(ServerGroup, statement)


def server_group_count(tx: Tx, project_id: str) -> int:
    return int(tx.value(select(func.count()).where(server_group.c.project_id == project_id)))


def server_group_delete(tx: Tx, group_id: str) -> int:
    return tx.run(delete(server_group).where(server_group.c.id == group_id))


def server_group_members(tx: Tx, group_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """(instance id, host id) of the living members, by group."""
    columns = instance.c
    statement = select(columns.group_id, columns.id, columns.host_id).where(
        columns.group_id.in_(group_ids), columns.state != InstanceState.DELETED
    )
    members: dict[str, list[tuple[str, str]]] = {group_id: [] for group_id in group_ids}
    for group_id, instance_id, host_id in tx.all(statement.order_by(columns.created_us)):
        members[group_id].append((instance_id, host_id))
    return members
