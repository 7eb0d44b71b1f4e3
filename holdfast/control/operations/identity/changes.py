"""Changes of identities and what each of them ends.

Whoever loses something loses every token that was issued while he had it, on every replica: the change and
its revocations are one transaction. What is given back later makes no old token live again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from holdfast.base.errors import Forbidden, NotFound
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.credentials import (
    application_credential_delete,
    application_credential_list,
    ec2_credential_delete,
    ec2_credential_list,
)
from holdfast.control.store.identity.identity import (
    group_list,
    group_members,
    member_remove,
    noun_delete,
    noun_replace,
    project_list,
    user_list,
)
from holdfast.control.store.identity.roles import (
    assignment_list,
    assignment_remove,
    assignments_remove,
    revoke,
    role_delete,
)
from holdfast.domain.identity import DEFAULT_DOMAIN, Actor, Assignment, Group, Project, Role, User


def user_change(tx: Tx, old: User, new: User) -> None:
    """Write a user; a new password or the end of `enabled` ends its tokens."""
    noun_replace(tx, new)
    if new.password_hash != old.password_hash or (old.enabled and not new.enabled):
        revoke(tx, [f"user:{old.id}"])


def user_remove(tx: Tx, user: User) -> None:
    """Delete a user with its roles, memberships and credentials."""
    credentials_remove(tx, user_id=user.id)
    assignments_remove(tx, actor_id=user.id)
    noun_delete(tx, user)
    revoke(tx, [f"user:{user.id}"])


def group_remove(tx: Tx, group: Group) -> None:
    """Delete a group; its members lose what it gave."""
    revoke(tx, [f"user:{user.id}" for user in group_members(tx, group.id)])
    assignments_remove(tx, actor_id=group.id)
    noun_delete(tx, group)


def member_take(tx: Tx, group: Group, user_id: str) -> None:
    """Take a user out of a group; NotFound when it is not in it."""
    if not member_remove(tx, group.id, user_id):
        raise NotFound(f"Could not find user {user_id} in group {group.id}.")
    revoke(tx, [f"user:{user_id}"])


def project_change(tx: Tx, old: Project, new: Project) -> None:
    """Write a project or domain; the end of `enabled` ends its tokens."""
    noun_replace(tx, new)
    if old.enabled and not new.enabled:
        revoke(tx, [f"domain:{old.id}" if old.is_domain else f"project:{old.id}"])


def project_remove(tx: Tx, project: Project) -> None:
    """Delete a project without projects below it, with its assignments and credentials."""
    if project_list(tx, parent_id=project.id):
        raise Forbidden(f"Cannot delete the project {project.id} since it is not a leaf in the hierarchy.")
    _forget_project(tx, project)


def domain_remove(tx: Tx, domain: Project) -> None:
    """Delete a disabled domain with everything in it."""
    if domain.id == DEFAULT_DOMAIN:
        raise Forbidden("The default domain cannot be deleted.")
    if domain.enabled:
        raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
    for user in user_list(tx, domain_id=domain.id):
        user_remove(tx, user)
    for group in group_list(tx, domain_id=domain.id):
        group_remove(tx, group)
    for project in project_list(tx, domain_id=domain.id):
        _forget_project(tx, project)
    assignments_remove(tx, target_id=domain.id)
    noun_delete(tx, domain)
    revoke(tx, [f"domain:{domain.id}"])


def _forget_project(tx: Tx, project: Project) -> None:
    credentials_remove(tx, project_id=project.id)
    assignments_remove(tx, target_id=project.id)
    for user in user_list(tx, default_project_id=project.id):
        noun_replace(tx, msgspec.structs.replace(user, default_project_id=""))
    noun_delete(tx, project)
    revoke(tx, [f"project:{project.id}"])


def role_remove(tx: Tx, role: Role) -> None:
    """Delete a role and every assignment of it."""
    for assignment in assignment_list(tx, role_id=role.id):
        _revoke_assignment(tx, assignment)
    role_delete(tx, role.id)


def assignment_take(tx: Tx, assignment: Assignment) -> None:
    """Take a role away; NotFound when it was not given."""
    if not assignment_remove(tx, assignment):
        raise NotFound(f"Could not find role assignment with role: {assignment.role_id}.")
    _revoke_assignment(tx, assignment)


def _revoke_assignment(tx: Tx, old: Assignment) -> None:
    """An inherited role held in every project below, so its loss ends every token of the user."""
    users = [old.actor_id] if old.actor is Actor.USER else [user.id for user in group_members(tx, old.actor_id)]
    revoke(tx, [f"user:{user}" if old.inherited else f"grant:{user}:{old.target_id}" for user in users])


def credentials_remove(tx: Tx, **owner: str) -> None:
    """Delete every credential of a user or a project."""
    application_credentials_remove(tx, [found.id for found in application_credential_list(tx, **owner)])
    for key in ec2_credential_list(tx, **owner):
        ec2_credential_remove(tx, key.id)


def application_credentials_remove(tx: Tx, credential_ids: Iterable[str]) -> None:
    """Delete application credentials and all that was made through them, and end their tokens."""
    for credential_id in credential_ids:
        gone = application_credential_delete(tx, credential_id)
        revoke(tx, [f"credential:{one}" for one in gone])


def ec2_credential_remove(tx: Tx, credential_id: str) -> None:
    """Delete an access key and end the tokens that it gave."""
    ec2_credential_delete(tx, credential_id)
    revoke(tx, [f"credential:{credential_id}"])
