"""Flavors, and which projects may see a private one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Column, Integer, String, Table, Text, bindparam, delete, insert, or_, select, update

from holdfast.control.store.database import Tx
from holdfast.control.store.schema import Json, instant, metadata
from holdfast.domain.instance import Flavor

flavor = Table(
    "flavor",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("ephemeral_gib", Integer, nullable=False),
    Column("swap_mib", Integer, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("extra_specs", Json(), nullable=False),
    Column("description", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    instant("created_us"),
)

flavor_access = Table(
    "flavor_access",
    metadata,
    Column("flavor_id", String, primary_key=True),
    Column("project_id", String, primary_key=True),
)

_COLUMNS = [flavor.c[name] for name in Flavor.__struct_fields__]
_BY_ID = select(*_COLUMNS).where(flavor.c.id == bindparam("id"))
_SEEN = flavor_access.c


def flavor_insert(tx: Tx, row: Flavor) -> None:
    tx.run(insert(flavor), {name: getattr(row, name) for name in Flavor.__struct_fields__})


def flavor_fetch(tx: Tx, flavor_id: str) -> Flavor | None:
    return tx.struct(Flavor, _BY_ID, {"id": flavor_id})


def flavor_by_name(tx: Tx, name: str) -> Flavor | None:
    return tx.struct(Flavor, select(*_COLUMNS).where(flavor.c.name == name))


def flavors_list(tx: Tx, project_id: str | None = None) -> list[Flavor]:
    """Every flavor, smallest first; with a project: those it may use."""
    statement = select(*_COLUMNS).order_by(flavor.c.memory_mib, flavor.c.id)
    if project_id is not None:
        mine = select(_SEEN.flavor_id).where(_SEEN.project_id == project_id)
        statement = statement.where(or_(flavor.c.is_public, flavor.c.id.in_(mine)))
    return tx.structs(Flavor, statement)


def flavor_update(tx: Tx, flavor_id: str, **changes: Any) -> None:
    tx.run(update(flavor).where(flavor.c.id == flavor_id).values(**changes))


def flavor_delete(tx: Tx, flavor_id: str) -> int:
    tx.run(delete(flavor_access).where(_SEEN.flavor_id == flavor_id))
    return tx.run(delete(flavor).where(flavor.c.id == flavor_id))


def flavor_projects(tx: Tx, flavor_id: str) -> list[str]:
    """The projects that may use a private flavor."""
    statement = select(_SEEN.project_id).where(_SEEN.flavor_id == flavor_id).order_by(_SEEN.project_id)
    return [row[0] for row in tx.all(statement)]


def flavor_allow(tx: Tx, flavor_id: str, project_id: str) -> None:
    tx.run(insert(flavor_access), {"flavor_id": flavor_id, "project_id": project_id})


def flavor_deny(tx: Tx, flavor_id: str, project_id: str) -> int:
    row = (_SEEN.flavor_id == flavor_id, _SEEN.project_id == project_id)
    return tx.run(delete(flavor_access).where(*row))
