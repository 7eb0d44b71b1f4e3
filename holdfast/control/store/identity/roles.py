"""Roles, who has them where, and what was revoked.

A revocation is a number for a subject (`user:ID`, `audit:AUDIT`, `grant:USER:TARGET`, ...). Numbers only
grow. A token carries the newest number of its subjects that its issuer saw in the same snapshot as the
password it checked; it is dead as soon as one of them has a newer one. No clocks are compared, so neither
skew between replicas nor a login that overlaps the change lets an old token live.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    union_all,
)

from holdfast.base.clock import SECOND_US
from holdfast.base.errors import Conflict
from holdfast.base.limits import TOKEN_LIFETIME_S
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import IDENTITY, member, project
from holdfast.control.store.schema import instant, metadata
from holdfast.domain.identity import SYSTEM, Actor, Assignment, Role, Target

role = Table(
    "identity_role",
    metadata,
    Column("id", String, primary_key=True),
    Column("domain_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    UniqueConstraint("domain_id", "name"),
)

assignment = Table(
    "role_assignment",
    metadata,
    Column("actor", String, primary_key=True),
    Column("actor_id", String, primary_key=True),
    Column("target", String, primary_key=True),
    Column("target_id", String, primary_key=True),
    Column("role_id", String, ForeignKey("identity_role.id"), primary_key=True),
    Column("inherited", Boolean, primary_key=True),
    Index("ix_role_assignment_target_id", "target_id"),
    Index("ix_role_assignment_role_id", "role_id"),
)

revocation = Table(
    "revocation",
    metadata,
    Column("subject", String, primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),
    instant("created_us"),
)


# roles


def role_fetch(tx: Tx, role_id: str) -> Role | None:
    return tx.struct(Role, select(role).where(role.c.id == role_id))


def role_list(tx: Tx, domain_id: str = "") -> list[Role]:
    return tx.structs(Role, select(role).where(role.c.domain_id == domain_id).order_by(role.c.name, role.c.id))


def role_store(tx: Tx, new: Role) -> None:
    """Insert or replace; Conflict when the name is taken."""
    same_name = select(role.c.id).where(role.c.domain_id == new.domain_id, role.c.name == new.name, role.c.id != new.id)
    if tx.value(same_name) is not None:
        raise Conflict(f"Conflict occurred attempting to store role - Duplicate entry found with name {new.name}.")
    values = msgspec.structs.asdict(new)
    if not tx.run(role.update().where(role.c.id == new.id).values(**values)):
        tx.run(insert(role), values)
    tx.notify(IDENTITY)


def role_delete(tx: Tx, role_id: str) -> None:
    """Remove a role and every assignment of it."""
    tx.run(delete(assignment).where(assignment.c.role_id == role_id))
    tx.run(delete(role).where(role.c.id == role_id))
    tx.notify(IDENTITY)


# assignments


def assignment_exists(tx: Tx, wanted: Assignment) -> bool:
    found = select(assignment.c.role_id).where(
        *(assignment.c[k] == v for k, v in msgspec.structs.asdict(wanted).items())
    )
    return tx.value(found) is not None


def assignment_add(tx: Tx, new: Assignment) -> None:
    """Idempotent."""
    if not assignment_exists(tx, new):
        tx.run(insert(assignment), msgspec.structs.asdict(new))
        tx.notify(IDENTITY)


def assignment_remove(tx: Tx, old: Assignment) -> bool:
    """Say whether it was there."""
    same = (assignment.c[k] == v for k, v in msgspec.structs.asdict(old).items())
    tx.notify(IDENTITY)
    return bool(tx.run(delete(assignment).where(*same)))


def assignments_remove(tx: Tx, *, actor_id: str = "", target_id: str = "") -> None:
    """Remove every assignment of an actor, or on a target, that is going."""
    if actor_id:
        tx.run(delete(assignment).where(assignment.c.actor_id == actor_id))
    if target_id:
        tx.run(delete(assignment).where(assignment.c.target_id == target_id))
    tx.notify(IDENTITY)


def assignment_list(tx: Tx, **filters: str | bool | Sequence[str]) -> list[Assignment]:
    """Every assignment whose columns equal the filters, or are one of them."""
    where = [assignment.c[k] == v if isinstance(v, str | bool) else assignment.c[k].in_(v) for k, v in filters.items()]
    rows = tx.all(select(assignment).where(*where).order_by(*assignment.primary_key.columns))
    return [Assignment(Actor(a), actor_id, Target(t), target_id, r, i) for a, actor_id, t, target_id, r, i in rows]


_MINE = or_(
    and_(assignment.c.actor == "user", assignment.c.actor_id == bindparam("user_id")),
    and_(
        assignment.c.actor == "group",
        assignment.c.actor_id.in_(select(member.c.group_id).where(member.c.user_id == bindparam("user_id"))),
    ),
)
_ABOVE = (
    select(project.c.id, project.c.parent_id).where(project.c.id == bindparam("target_id")).cte("above", recursive=True)
)
_ABOVE = _ABOVE.union(select(project.c.id, project.c.parent_id).where(project.c.id == _ABOVE.c.parent_id))
_HERE = and_(
    assignment.c.target == bindparam("target"),
    assignment.c.target_id == bindparam("target_id"),
    assignment.c.inherited.is_(False),
)
_FROM_ABOVE = and_(
    bindparam("target") == Target.PROJECT.value,
    assignment.c.inherited.is_(True),
    assignment.c.target_id.in_(select(_ABOVE.c.id)),
)
_HELD = exists().where(assignment.c.role_id == role.c.id, _MINE, or_(_HERE, _FROM_ABOVE))
_ROLES = select(role.c.id, role.c.name, _HELD.label("held")).where(role.c.domain_id == "")


def roles_held(tx: Tx, user_id: str, target: Target, target_id: str = SYSTEM) -> list[tuple[str, str, bool]]:
    """Every role as (id, name, whether the user has it there: directly, through a group, or inherited)."""
    values = {"user_id": user_id, "target": target.value, "target_id": target_id}
    return [(role_id, name, bool(held)) for role_id, name, held in tx.all(_ROLES, values)]


_INHERITING = select(assignment.c.target_id).where(_MINE, assignment.c.inherited.is_(True))
_BELOW = select(project.c.id).where(project.c.id.in_(_INHERITING)).cte("below", recursive=True)
_BELOW = _BELOW.union(select(project.c.id).where(project.c.parent_id == _BELOW.c.id))
_TARGETS = union_all(
    select(assignment.c.target, assignment.c.target_id).where(_MINE, assignment.c.inherited.is_(False)),
    select(bindparam("below", Target.PROJECT.value), _BELOW.c.id),
)


def targets_of_user(tx: Tx, user_id: str) -> set[tuple[Target, str]]:
    """Where a user has any role: what a token of this user may be scoped to."""
    return {(Target(kind), target_id) for kind, target_id in tx.all(_TARGETS, {"user_id": user_id})}


# revocations

_MARK = select(func.max(revocation.c.number)).where(revocation.c.subject.in_(bindparam("subjects", expanding=True)))


def revocation_mark(tx: Tx, subjects: Sequence[str]) -> int:
    """The newest number of any of the subjects; 0 when nothing was ever revoked."""
    return tx.value(_MARK, {"subjects": list(subjects)}) or 0


def revoke(tx: Tx, subjects: Iterable[str]) -> None:
    """End every token that has one of these subjects and was issued before this commits."""
    number = tx.value(select(func.coalesce(func.max(revocation.c.number), 0))) + 1
    for subject in set(subjects):
        tx.run(delete(revocation).where(revocation.c.subject == subject))
        tx.run(insert(revocation), {"subject": subject, "number": number, "created_us": tx.now_us})
    tx.notify(IDENTITY)


def revocation_prune(tx: Tx) -> int:
    """Forget what no living token can be older than; the newest stays, so that numbers never start again."""
    newest = tx.value(select(func.max(revocation.c.number))) or 0
    old = revocation.c.created_us < tx.now_us - 2 * TOKEN_LIFETIME_S * SECOND_US
    return tx.run(delete(revocation).where(old, revocation.c.number < newest))
