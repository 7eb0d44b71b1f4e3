"""The first identities of a cloud. Run at every `up`, by every replica: what is there is left as it is.

Passwords are hashed before the transaction and used only for a user that is new, so a second run neither
changes a password nor revokes anything (LP 1647800).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from holdfast.base import ids
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import noun_insert, project_by_name, project_fetch, user_by_name
from holdfast.control.store.identity.roles import assignment_add, role_list, role_store
from holdfast.domain.identity import DEFAULT_DOMAIN, ROLES, SYSTEM, Actor, Assignment, Project, Role, Target, User


class Bootstrapped(msgspec.Struct, frozen=True):
    """The ids of what every cloud has."""

    admin_project_id: str
    demo_project_id: str
    admin_user_id: str
    demo_user_id: str
    role_ids: dict[str, str]


def identity_bootstrap(tx: Tx, password_hashes: Mapping[str, str]) -> Bootstrapped:
    """Make the domain Default, projects and users admin and demo, and the roles; idempotent.

    `password_hashes` has what `password_hash` returned for `admin` and `demo`.
    """
    if project_fetch(tx, DEFAULT_DOMAIN) is None:
        noun_insert(tx, project_new(DEFAULT_DOMAIN, "", "Default", "The default domain", tx.now_us))
    roles = {name: _role(tx, name) for name in ROLES}
    projects = {name: _project(tx, name) for name in ("admin", "demo")}
    users = {name: _user(tx, name, password_hashes[name], projects[name]) for name in ("admin", "demo")}
    admin, demo = users["admin"], users["demo"]
    for assignment in (
        Assignment(Actor.USER, admin, Target.PROJECT, projects["admin"], roles["admin"]),
        Assignment(Actor.USER, admin, Target.PROJECT, projects["demo"], roles["admin"]),
        Assignment(Actor.USER, admin, Target.SYSTEM, SYSTEM, roles["admin"]),
        Assignment(Actor.USER, demo, Target.PROJECT, projects["demo"], roles["member"]),
    ):
        assignment_add(tx, assignment)
    return Bootstrapped(projects["admin"], projects["demo"], admin, demo, roles)


def project_new(project_id: str, domain_id: str, name: str, description: str, now_us: int) -> Project:
    """Return an enabled project at the top of a domain, or a domain when `domain_id` is empty."""
    return Project(project_id, domain_id, name, description, True, not domain_id, domain_id, [], {}, now_us)


def _role(tx: Tx, name: str) -> str:
    for role in role_list(tx):
        if role.name == name:
            return role.id
    new = Role(ids.new_id(), "", name, "")
    role_store(tx, new)
    return new.id


def _project(tx: Tx, name: str) -> str:
    if (project := project_by_name(tx, DEFAULT_DOMAIN, name)) is None:
        project = project_new(ids.new_id(), DEFAULT_DOMAIN, name, "", tx.now_us)
        noun_insert(tx, project)
    return project.id


def _user(tx: Tx, name: str, password_hash: str, project_id: str) -> str:
    if (user := user_by_name(tx, DEFAULT_DOMAIN, name)) is None:
        user = User(ids.new_id(), DEFAULT_DOMAIN, name, "", True, project_id, password_hash, {}, tx.now_us)
        noun_insert(tx, user)
    return user.id
