"""Projects (domains among them), users and groups: their tables and queries.

Names are unique inside their domain; a domain's own `domain_id` is empty, which makes domain names unique.
Nothing here decides who may do what, and deleting a row leaves nothing that points at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from holdfast.base.errors import Conflict, NotFound
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import Json, instant, metadata
from holdfast.domain.identity import Account, Group, Place, Project, User

IDENTITY = "identity"  # topic: some identity, assignment or credential changed; caches forget

project = Table(
    "project",
    metadata,
    Column("id", String, primary_key=True),
    Column("domain_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("is_domain", Boolean, nullable=False),
    Column("parent_id", String, nullable=False, index=True),
    Column("tags", Json, nullable=False),
    Column("extra", Json, nullable=False),
    instant("created_us"),
    UniqueConstraint("domain_id", "name"),
)

user = Table(
    "identity_user",
    metadata,
    Column("id", String, primary_key=True),
    Column("domain_id", String, ForeignKey("project.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("default_project_id", String, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("extra", Json, nullable=False),
    instant("created_us"),
    UniqueConstraint("domain_id", "name"),
)

group = Table(
    "identity_group",
    metadata,
    Column("id", String, primary_key=True),
    Column("domain_id", String, ForeignKey("project.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    UniqueConstraint("domain_id", "name"),
)

member = Table(
    "identity_group_member",
    metadata,
    Column("group_id", String, ForeignKey("identity_group.id"), primary_key=True),
    Column("user_id", String, ForeignKey("identity_user.id"), primary_key=True),
    Index("ix_identity_group_member_user_id", "user_id"),
)

_KINDS: dict[type[Any], tuple[Table, str]] = {
    Project: (project, "project"),
    User: (user, "user"),
    Group: (group, "group"),
}
_BY_ID = {kind: select(table).where(table.c.id == bindparam("id")) for kind, (table, _) in _KINDS.items()}
Noun = Project | User | Group
Conditions = Sequence[ColumnElement[bool]]


def project_fetch(tx: Tx, project_id: str) -> Project | None:
    """A project or a domain."""
    return tx.struct(Project, _BY_ID[Project], {"id": project_id})


def user_fetch(tx: Tx, user_id: str) -> User | None:
    return tx.struct(User, _BY_ID[User], {"id": user_id})


def group_fetch(tx: Tx, group_id: str) -> Group | None:
    return tx.struct(Group, _BY_ID[Group], {"id": group_id})


def project_by_name(tx: Tx, domain_id: str, name: str) -> Project | None:
    """A project of a domain; with an empty domain id, the domain of that name."""
    return tx.struct(Project, select(project).where(project.c.domain_id == domain_id, project.c.name == name))


def user_by_name(tx: Tx, domain_id: str, name: str) -> User | None:
    return tx.struct(User, select(user).where(user.c.domain_id == domain_id, user.c.name == name))


_DOMAIN = project.alias("domain")
_ACCOUNT = select(
    user.c.id,
    user.c.name,
    user.c.domain_id,
    _DOMAIN.c.name,
    and_(user.c.enabled, _DOMAIN.c.enabled),
    user.c.default_project_id,
    user.c.password_hash,
).join(_DOMAIN, _DOMAIN.c.id == user.c.domain_id)
_ACCOUNT_BY_ID = _ACCOUNT.where(user.c.id == bindparam("id"))
_ACCOUNT_BY_NAME = _ACCOUNT.where(user.c.name == bindparam("name"))
_PLACE = select(
    project.c.id,
    project.c.name,
    project.c.domain_id,
    func.coalesce(_DOMAIN.c.name, ""),
    and_(project.c.enabled, func.coalesce(_DOMAIN.c.enabled, true())),
    project.c.is_domain,
).outerjoin(_DOMAIN, _DOMAIN.c.id == project.c.domain_id)
_PLACE_BY_ID = _PLACE.where(project.c.id == bindparam("id"))
_PLACE_BY_NAME = _PLACE.where(project.c.name == bindparam("name"))
_IN_DOMAIN_ID, _IN_DOMAIN_NAME = _DOMAIN.c.id == bindparam("domain"), _DOMAIN.c.name == bindparam("domain")
_FIND = {
    (Account, "id"): _ACCOUNT_BY_NAME.where(_IN_DOMAIN_ID),
    (Account, "name"): _ACCOUNT_BY_NAME.where(_IN_DOMAIN_NAME, _DOMAIN.c.is_domain),
    (Place, "id"): _PLACE_BY_NAME.where(_IN_DOMAIN_ID),
    (Place, "name"): _PLACE_BY_NAME.where(_IN_DOMAIN_NAME, _DOMAIN.c.is_domain),
}


def account_fetch(tx: Tx, user_id: str) -> Account | None:
    return tx.struct(Account, _ACCOUNT_BY_ID, {"id": user_id})


def account_find(tx: Tx, name: str, domain: str, by: str) -> Account | None:
    """By name, in the domain of this id or name (`by` says which)."""
    return tx.struct(Account, _FIND[Account, by], {"name": name, "domain": domain})


def place_fetch(tx: Tx, place_id: str) -> Place | None:
    return tx.struct(Place, _PLACE_BY_ID, {"id": place_id})


def place_find(tx: Tx, name: str, domain: str, by: str) -> Place | None:
    """A project by name, in the domain of this id or name (`by` says which)."""
    return tx.struct(Place, _FIND[Place, by], {"name": name, "domain": domain})


def domain_find(tx: Tx, name: str) -> Place | None:
    return tx.struct(Place, _PLACE_BY_NAME.where(project.c.is_domain), {"name": name})


def project_list(tx: Tx, **filters: Any) -> list[Project]:
    """Projects and domains whose columns equal the filters."""
    return tx.structs(Project, select(project).where(*_equal(project, filters)).order_by(project.c.name, project.c.id))


def user_list(tx: Tx, **filters: Any) -> list[User]:
    return tx.structs(User, select(user).where(*_equal(user, filters)).order_by(user.c.name, user.c.id))


def group_list(tx: Tx, **filters: Any) -> list[Group]:
    return tx.structs(Group, select(group).where(*_equal(group, filters)).order_by(group.c.name, group.c.id))


def _equal(table: Table, filters: Mapping[str, Any]) -> Conditions:
    """A column equals a value, or is one of a collection."""
    return [
        table.c[name].in_(value) if isinstance(value, set | frozenset | list | tuple) else table.c[name] == value
        for name, value in filters.items()
    ]


def noun_insert(tx: Tx, noun: Noun) -> None:
    """Add a project, user or group; Conflict when its name is taken in its domain."""
    table, kind = _KINDS[type(noun)]
    _require_free(tx, table, kind, noun)
    tx.run(insert(table), msgspec.structs.asdict(noun))
    tx.notify(IDENTITY)


def noun_replace(tx: Tx, noun: Noun) -> None:
    """Write the noun over the one with its id; NotFound, or Conflict on the name."""
    table, kind = _KINDS[type(noun)]
    _require_free(tx, table, kind, noun)
    values = msgspec.structs.asdict(noun)
    if not tx.run(update(table).where(table.c.id == values.pop("id")).values(**values)):
        raise NotFound(f"Could not find {kind}: {noun.id}.")
    tx.notify(IDENTITY)


def noun_delete(tx: Tx, noun: Noun) -> None:
    """Remove the row and its memberships; what else points at it has gone before."""
    table, _ = _KINDS[type(noun)]
    if table is user:
        tx.run(delete(member).where(member.c.user_id == noun.id))
    if table is group:
        tx.run(delete(member).where(member.c.group_id == noun.id))
    tx.run(delete(table).where(table.c.id == noun.id))
    tx.notify(IDENTITY)


def _require_free(tx: Tx, table: Table, kind: str, noun: Noun) -> None:
    taken = tx.value(
        select(table.c.id).where(table.c.domain_id == noun.domain_id, table.c.name == noun.name, table.c.id != noun.id)
    )
    if taken is not None:
        where = f" at domain ID {noun.domain_id}" if noun.domain_id else ""
        raise Conflict(
            f"Conflict occurred attempting to store {kind} - Duplicate entry found with name {noun.name}{where}."
        )


def member_add(tx: Tx, group_id: str, user_id: str) -> None:
    """Idempotent."""
    if not member_exists(tx, group_id, user_id):
        tx.run(insert(member), {"group_id": group_id, "user_id": user_id})
        tx.notify(IDENTITY)


def member_remove(tx: Tx, group_id: str, user_id: str) -> bool:
    tx.notify(IDENTITY)
    return bool(tx.run(delete(member).where(member.c.group_id == group_id, member.c.user_id == user_id)))


def member_exists(tx: Tx, group_id: str, user_id: str) -> bool:
    found = select(member.c.user_id).where(member.c.group_id == group_id, member.c.user_id == user_id)
    return tx.value(found) is not None


def group_members(tx: Tx, group_id: str) -> list[User]:
    inside = select(member.c.user_id).where(member.c.group_id == group_id)
    return tx.structs(User, select(user).where(user.c.id.in_(inside)).order_by(user.c.name, user.c.id))


def groups_of_user(tx: Tx, user_id: str) -> list[Group]:
    inside = select(member.c.group_id).where(member.c.user_id == user_id)
    return tx.structs(Group, select(group).where(group.c.id.in_(inside)).order_by(group.c.name, group.c.id))
