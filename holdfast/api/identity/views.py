"""How Keystone shows things. A stored secret or hash is in none of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity.versions import base_url
from holdfast.base.clock import iso_micros
from holdfast.domain.identity import ApplicationCredential, Group, Project, Role, User


def links(call: Call) -> dict[str, Any]:
    """The links of a list: everything is on this page."""
    return {"self": f"{base_url(call.services)}{call.path.removeprefix('/v3')}", "previous": None, "next": None}


def listed(call: Call, name: str, entries: Sequence[Any]) -> Reply:
    """A whole list."""
    return Reply(200, {name: entries, "links": links(call)})


def self_link(call: Call, path: str) -> dict[str, str]:
    return {"self": f"{base_url(call.services)}/{path}"}


def domain(call: Call, noun: Project) -> dict[str, Any]:
    return {
        **noun.extra,
        "id": noun.id,
        "name": noun.name,
        "description": noun.description,
        "enabled": noun.enabled,
        "tags": noun.tags,
        "options": {},
        "links": self_link(call, f"domains/{noun.id}"),
    }


def project(call: Call, noun: Project) -> dict[str, Any]:
    return {
        **noun.extra,
        "id": noun.id,
        "name": noun.name,
        "domain_id": noun.domain_id or None,
        "parent_id": noun.parent_id or None,
        "description": noun.description,
        "enabled": noun.enabled,
        "is_domain": noun.is_domain,
        "tags": noun.tags,
        "options": {},
        "links": self_link(call, f"projects/{noun.id}"),
    }


def user(call: Call, noun: User) -> dict[str, Any]:
    shown = {
        **noun.extra,
        "id": noun.id,
        "name": noun.name,
        "domain_id": noun.domain_id,
        "enabled": noun.enabled,
        "password_expires_at": None,
        "options": {},
        "links": self_link(call, f"users/{noun.id}"),
    }
    if noun.description:
        shown["description"] = noun.description
    if noun.default_project_id:
        shown["default_project_id"] = noun.default_project_id
    return shown


def group(call: Call, noun: Group) -> dict[str, Any]:
    return {
        "id": noun.id,
        "name": noun.name,
        "domain_id": noun.domain_id,
        "description": noun.description,
        "links": self_link(call, f"groups/{noun.id}"),
    }


def role(call: Call, noun: Role) -> dict[str, Any]:
    return {
        "id": noun.id,
        "name": noun.name,
        "domain_id": noun.domain_id or None,
        "description": noun.description or None,
        "options": {},
        "links": self_link(call, f"roles/{noun.id}"),
    }


def application_credential(call: Call, noun: ApplicationCredential, role_names: dict[str, str]) -> dict[str, Any]:
    return {
        "id": noun.id,
        "name": noun.name,
        "description": noun.description or None,
        "user_id": noun.user_id,
        "project_id": noun.project_id,
        "system": None,
        "roles": [{"id": i, "name": role_names.get(i, ""), "domain_id": None} for i in noun.role_ids],
        "expires_at": None if noun.expires_us is None else iso_micros(noun.expires_us).rstrip("Z"),
        "unrestricted": noun.unrestricted,
        "links": self_link(call, f"users/{noun.user_id}/application_credentials/{noun.id}"),
    }
