"""Who there is: domains, projects, users, groups, roles and who has which role where.

A domain is a project that acts as one (`is_domain`), as Keystone has it, so that one query reads both. Roles
are assigned by an `Assignment` and nothing else; what a role implies is `IMPLIED` in domain/credentials.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from holdfast.base.errors import BadInput
from holdfast.base.limits import NAME_CHARS

DEFAULT_DOMAIN = "default"  # id of the domain that clients assume
ROLES = ("admin", "manager", "member", "reader", "service")
SYSTEM = "all"  # the one target id of system assignments


class Actor(StrEnum):
    """Who has a role."""

    USER = "user"
    GROUP = "group"  # each of its members has it


class Target(StrEnum):
    """Where a role holds."""

    PROJECT = "project"
    DOMAIN = "domain"
    SYSTEM = "system"


class Project(msgspec.Struct, frozen=True):
    """A project, or a domain: then `domain_id` and `parent_id` are empty."""

    id: str
    domain_id: str
    name: str
    description: str
    enabled: bool
    is_domain: bool
    parent_id: str  # the domain itself for a project at the top
    tags: list[str]
    extra: dict[str, Any]  # attributes that clients invented
    created_us: int


class User(msgspec.Struct, frozen=True):
    """A person or a program. `password_hash` is empty when there is no password: then none fits."""

    id: str
    domain_id: str
    name: str
    description: str
    enabled: bool
    default_project_id: str
    password_hash: str
    extra: dict[str, Any]
    created_us: int


class Account(msgspec.Struct, frozen=True):
    """What a login and a token need to know of a user, with its domain."""

    id: str
    name: str
    domain_id: str
    domain_name: str
    enabled: bool  # the user and the domain
    default_project_id: str
    password_hash: str


class Place(msgspec.Struct, frozen=True):
    """What a token needs to know of the project or domain it is for."""

    id: str
    name: str
    domain_id: str
    domain_name: str
    enabled: bool  # itself and its domain
    is_domain: bool


class Group(msgspec.Struct, frozen=True):
    """Users that are given roles together."""

    id: str
    domain_id: str
    name: str
    description: str


class Role(msgspec.Struct, frozen=True):
    """A role; `domain_id` is empty for a role that can be assigned."""

    id: str
    domain_id: str
    name: str
    description: str


class Assignment(msgspec.Struct, frozen=True):
    """`actor` has `role_id` on `target`; inherited: not there itself but in every project below it."""

    actor: Actor
    actor_id: str
    target: Target
    target_id: str
    role_id: str
    inherited: bool = False


class ApplicationCredential(msgspec.Struct, frozen=True):
    """A user's credential for one project, with some of the user's roles. The secret is known as a hash only."""

    id: str
    user_id: str
    project_id: str
    name: str
    description: str
    secret_hash: str
    role_ids: list[str]
    unrestricted: bool
    expires_us: int | None
    parent_id: str  # the application credential that made this one, and takes it along when it goes
    created_us: int


class Ec2Credential(msgspec.Struct, frozen=True):
    """An access key of a user in a project. The secret signs requests, so it is kept sealed, not hashed."""

    id: str
    user_id: str
    project_id: str
    access: str
    secret_sealed: str
    application_credential_id: str  # the one that made it: its roles are the most that this one gives
    created_us: int


def require_name(text: Any, kind: str) -> str:
    """Return the name without blanks around it; raises BadInput for one that no list can show."""
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f"a {kind} needs a name")
    if len(text) > NAME_CHARS:
        raise BadInput(f"the name of a {kind} has at most {NAME_CHARS} characters")
    if not text.isprintable():
        raise BadInput(f"the name of a {kind} may not hold control characters")
    return text.strip()
