"""Keystone's API, version 3: every URL, who answers it, and the rule that must allow it.

Path parameters are named for the rules: `subject_id` is the user that the path is about and `target_id` the
project or domain; `user_id` and `project_id` always mean the caller's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.api.http.faults import keystone_fault
from holdfast.api.http.routes import ANY_TOKEN, PUBLIC, Facade, Route
from holdfast.api.identity import (
    application_credentials,
    assignments,
    credentials,
    ec2tokens,
    groups,
    projects,
    registry,
    roles,
    tokens,
    users,
    versions,
)

_ADMIN = "role:admin"
_READ = "role:admin or (role:reader and system_scope:all)"
_OWNER = "role:admin or user_id:%(subject_id)s"
_OWNER_ONLY = "user_id:%(subject_id)s"

RULES = {
    "identity:validate_token": "role:admin or role:service or user_id:%(target.token.user_id)s",
    "identity:revoke_token": "role:admin or user_id:%(target.token.user_id)s",
    "identity:get_domain": f"{_READ} or domain_id:%(target_id)s or project_domain_id:%(target_id)s",
    "identity:get_project": f"{_READ} or project_id:%(target_id)s",
    "identity:get_user": f"{_READ} or user_id:%(subject_id)s",
    "identity:list_user_projects": f"{_READ} or user_id:%(subject_id)s",
    "identity:list_groups_for_user": f"{_READ} or user_id:%(subject_id)s",
    "identity:change_password": _OWNER,  # the old password is asked for all the same
    "identity:create_application_credential": _OWNER_ONLY,
    "identity:ec2_create_credential": _OWNER,
    "identity:ec2_delete_credential": _OWNER,
    "identity:ec2_get_credential": _OWNER,
    "identity:ec2_list_credentials": _OWNER,
    "identity:ec2tokens_validate": "role:admin or role:service",
    **{
        f"identity:{verb}_application_credential{plural}": f"{_READ} or user_id:%(subject_id)s"
        for verb, plural in (("get", ""), ("list", "s"))
    },
    "identity:delete_application_credential": _OWNER,
    "identity:list_access_rules": f"{_READ} or user_id:%(subject_id)s",
    **{
        f"identity:{rule}": _READ
        for rule in (
            *("list_domains", "list_projects", "list_users", "list_groups", "get_group", "list_users_in_group"),
            *("check_user_in_group", "list_grants", "check_grant", "list_role_assignments", "list_role_inferences"),
        )
    },
    **{
        f"identity:{rule}": _ADMIN
        for rule in (
            *("create_domain", "update_domain", "delete_domain", "create_project", "update_project"),
            *("delete_project", "create_user", "update_user", "delete_user", "create_group", "update_group"),
            *("delete_group", "add_user_to_group", "remove_user_from_group", "create_role", "update_role"),
            *("delete_role", "create_grant", "revoke_grant", "update_service", "create_implied_role"),
        )
    },
}

_TOKENS = (
    Route("GET", "/", versions.versions_list, PUBLIC),
    Route("GET", "/v3", versions.version_show, PUBLIC),
    Route("POST", "/v3/auth/tokens", tokens.token_create, PUBLIC),
    Route("GET", "/v3/auth/tokens", tokens.token_show, ANY_TOKEN),
    Route("DELETE", "/v3/auth/tokens", tokens.token_delete, ANY_TOKEN),
    Route("GET", "/v3/auth/catalog", tokens.catalog_show, ANY_TOKEN),
    Route("GET", "/v3/auth/projects", tokens.projects_show, ANY_TOKEN),
    Route("GET", "/v3/auth/domains", tokens.domains_show, ANY_TOKEN),
    Route("GET", "/v3/auth/system", tokens.system_show, ANY_TOKEN),
    Route("POST", "/v3/ec2tokens", ec2tokens.ec2_token_create, "identity:ec2tokens_validate"),
)

_PROJECTS = (
    Route("GET", "/v3/domains", projects.domains_list, "identity:list_domains"),
    Route("POST", "/v3/domains", projects.domain_create, "identity:create_domain"),
    Route("GET", "/v3/domains/{target_id}", projects.domain_show, "identity:get_domain"),
    Route("PATCH", "/v3/domains/{target_id}", projects.domain_update, "identity:update_domain"),
    Route("DELETE", "/v3/domains/{target_id}", projects.domain_delete, "identity:delete_domain"),
    Route("GET", "/v3/projects", projects.projects_list, "identity:list_projects"),
    Route("POST", "/v3/projects", projects.project_create, "identity:create_project"),
    Route("GET", "/v3/projects/{target_id}", projects.project_show, "identity:get_project"),
    Route("PATCH", "/v3/projects/{target_id}", projects.project_update, "identity:update_project"),
    Route("DELETE", "/v3/projects/{target_id}", projects.project_delete, "identity:delete_project"),
    Route("GET", "/v3/projects/{target_id}/tags", projects.tags_show, "identity:get_project"),
    Route("PUT", "/v3/projects/{target_id}/tags", projects.tags_replace, "identity:update_project"),
    Route("DELETE", "/v3/projects/{target_id}/tags", projects.tags_clear, "identity:update_project"),
    Route("GET", "/v3/projects/{target_id}/tags/{tag}", projects.tag_check, "identity:get_project"),
    Route("PUT", "/v3/projects/{target_id}/tags/{tag}", projects.tag_add, "identity:update_project"),
    Route("DELETE", "/v3/projects/{target_id}/tags/{tag}", projects.tag_remove, "identity:update_project"),
)

_USER = "/v3/users/{subject_id}"
_USERS = (
    Route("GET", "/v3/users", users.users_list, "identity:list_users"),
    Route("POST", "/v3/users", users.user_create, "identity:create_user"),
    Route("GET", _USER, users.user_show, "identity:get_user"),
    Route("PATCH", _USER, users.user_update, "identity:update_user"),
    Route("DELETE", _USER, users.user_delete, "identity:delete_user"),
    Route("POST", f"{_USER}/password", users.password_change, "identity:change_password"),
    Route("GET", f"{_USER}/projects", users.user_projects, "identity:list_user_projects"),
    Route("GET", f"{_USER}/groups", users.user_groups, "identity:list_groups_for_user"),
    Route("GET", "/v3/groups", groups.groups_list, "identity:list_groups"),
    Route("POST", "/v3/groups", groups.group_create, "identity:create_group"),
    Route("GET", "/v3/groups/{group_id}", groups.group_show, "identity:get_group"),
    Route("PATCH", "/v3/groups/{group_id}", groups.group_update, "identity:update_group"),
    Route("DELETE", "/v3/groups/{group_id}", groups.group_delete, "identity:delete_group"),
    Route("GET", "/v3/groups/{group_id}/users", groups.members_list, "identity:list_users_in_group"),
    Route("PUT", "/v3/groups/{group_id}/users/{subject_id}", groups.member_put, "identity:add_user_to_group"),
    Route("GET", "/v3/groups/{group_id}/users/{subject_id}", groups.member_check, "identity:check_user_in_group"),
    Route(
        "DELETE", "/v3/groups/{group_id}/users/{subject_id}", groups.member_delete, "identity:remove_user_from_group"
    ),
)

_MADE = f"{_USER}/application_credentials"
_KEYS = f"{_USER}/credentials/OS-EC2"
_CREDENTIALS = (
    Route(
        "GET",
        _MADE,
        application_credentials.application_credentials_list,
        "identity:list_application_credentials",
    ),
    Route(
        "POST",
        _MADE,
        application_credentials.application_credential_create,
        "identity:create_application_credential",
    ),
    Route(
        "GET",
        f"{_MADE}/{{credential_id}}",
        application_credentials.application_credential_show,
        "identity:get_application_credential",
    ),
    Route(
        "DELETE",
        f"{_MADE}/{{credential_id}}",
        application_credentials.application_credential_delete,
        "identity:delete_application_credential",
    ),
    Route("GET", f"{_USER}/access_rules", application_credentials.access_rules_list, "identity:list_access_rules"),
    Route("GET", _KEYS, credentials.ec2_list, "identity:ec2_list_credentials"),
    Route("POST", _KEYS, credentials.ec2_create, "identity:ec2_create_credential"),
    Route("GET", f"{_KEYS}/{{access}}", credentials.ec2_show, "identity:ec2_get_credential"),
    Route("DELETE", f"{_KEYS}/{{access}}", credentials.ec2_delete, "identity:ec2_delete_credential"),
    Route("GET", "/v3/credentials", credentials.credentials_list, ANY_TOKEN),
    Route("POST", "/v3/credentials", credentials.credential_create, ANY_TOKEN),
    Route("GET", "/v3/credentials/{credential_id}", credentials.credential_show, ANY_TOKEN),
    Route("PATCH", "/v3/credentials/{credential_id}", credentials.credential_update, ANY_TOKEN),
    Route("DELETE", "/v3/credentials/{credential_id}", credentials.credential_delete, ANY_TOKEN),
)

_ROLES = (
    Route("GET", "/v3/roles", roles.roles_list, ANY_TOKEN),
    Route("POST", "/v3/roles", roles.role_create, "identity:create_role"),
    Route("GET", "/v3/roles/{role_id}", roles.role_show, ANY_TOKEN),
    Route("PATCH", "/v3/roles/{role_id}", roles.role_update, "identity:update_role"),
    Route("DELETE", "/v3/roles/{role_id}", roles.role_delete, "identity:delete_role"),
    Route("GET", "/v3/role_inferences", roles.inferences_list, "identity:list_role_inferences"),
    Route("GET", "/v3/roles/{role_id}/implies", roles.implied_list, "identity:list_role_inferences"),
    Route("PUT", "/v3/roles/{role_id}/implies/{implied_id}", roles.implied_change, "identity:create_implied_role"),
    Route("DELETE", "/v3/roles/{role_id}/implies/{implied_id}", roles.implied_change, "identity:create_implied_role"),
    Route("GET", "/v3/role_assignments", assignments.assignments_list, "identity:list_role_assignments"),
)


def _grants() -> Iterator[Route]:
    """Every shape of grant: user or group, on a project, a domain or the system, direct or inherited."""
    places = ("projects/{on_project}", "domains/{on_domain}")
    shapes = [(f"/v3/{place}", "") for place in (*places, "system")]
    shapes += [(f"/v3/OS-INHERIT/{place}", "/inherited_to_projects") for place in places]
    for prefix, suffix in shapes:
        for actor in ("users/{for_user}", "groups/{for_group}"):
            one = f"{prefix}/{actor}/roles/{{role_id}}{suffix}"
            yield Route("GET", f"{prefix}/{actor}/roles{suffix}", roles.grants_list, "identity:list_grants")
            yield Route("GET", one, roles.grant_check, "identity:check_grant")
            yield Route("PUT", one, roles.grant_put, "identity:create_grant")
            yield Route("DELETE", one, roles.grant_delete, "identity:revoke_grant")


def _registry() -> Iterator[Route]:
    """The catalogue for administrators: read only."""
    for name, one, every, show in (
        ("regions", "region_id", registry.regions_list, registry.region_show),
        ("services", "service_id", registry.services_list, registry.service_show),
        ("endpoints", "endpoint_id", registry.endpoints_list, registry.endpoint_show),
    ):
        yield Route("GET", f"/v3/{name}", every, ANY_TOKEN)
        yield Route("GET", f"/v3/{name}/{{{one}}}", show, ANY_TOKEN)
        yield Route("POST", f"/v3/{name}", registry.change_refused, "identity:update_service")
        for method in ("PUT", "PATCH", "DELETE"):
            yield Route(method, f"/v3/{name}/{{{one}}}", registry.change_refused, "identity:update_service")


FACADE = Facade(
    name="identity",
    mount="identity",
    routes=(*_TOKENS, *_PROJECTS, *_USERS, *_CREDENTIALS, *_ROLES, *_grants(), *_registry()),
    fault=keystone_fault,
)
