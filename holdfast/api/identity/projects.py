"""/v3/projects and /v3/domains. A domain is the same row, shown by both."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.identity import views
from holdfast.api.identity.bodies import extra, filtered, flag, member, own_domain, require_same, text
from holdfast.base import ids
from holdfast.base.errors import BadInput, Forbidden, NotFound
from holdfast.control.operations.identity.changes import domain_remove, project_change, project_remove
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import noun_insert, noun_replace, project_fetch, project_list
from holdfast.domain.identity import Project, require_name

_NAME_CHARS = 64  # Keystone's, for projects and domains
_TAGS = 80  # Keystone's, per project
_KNOWN = {"id", "name", "domain_id", "parent_id", "description", "enabled", "is_domain", "tags", "options", "links"}
_FILTERS = ("name", "domain_id", "enabled", "parent_id", "is_domain")
_TAG_FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")


def projects_list(call: Call) -> Reply:
    """GET /v3/projects"""
    is_domain = call.argument("is_domain").lower() in ("true", "1")
    named = {"name": call.argument("name")} if call.argument("name") else {}
    found = call.services.store.read(lambda tx: project_list(tx, is_domain=is_domain, **named))
    entries = filtered(call, [views.project(call, project) for project in found], _FILTERS)
    return views.listed(call, "projects", _with_tags(call, entries))


def project_create(call: Call) -> Reply:
    """POST /v3/projects"""
    body = member(call, "project")
    name = _name(body, "project")
    is_domain = flag(body, "is_domain", False)

    def create(tx: Tx) -> Reply:
        domain_id, parent_id = ("", "") if is_domain else _home(tx, call, body)
        project = _new(tx, body, name, domain_id, parent_id)
        noun_insert(tx, project)
        return Reply(201, {"project": views.project(call, project)})

    return write_once(call, create)


def project_show(call: Call) -> Reply:
    """GET /v3/projects/{target_id}"""
    return Reply(200, {"project": views.project(call, call.services.store.read(lambda tx: _project(tx, call)))})


def project_update(call: Call) -> Reply:
    """PATCH /v3/projects/{target_id}"""
    body = member(call, "project")

    def change(tx: Tx) -> Project:
        old = _project(tx, call)
        require_same(body, "domain_id", old.domain_id)
        require_same(body, "is_domain", old.is_domain)
        if body.get("parent_id") not in (None, old.parent_id):
            raise Forbidden("Update of `parent_id` is not allowed.")
        return _changed(tx, old, body)

    return Reply(200, {"project": views.project(call, call.services.store.write(change))})


def project_delete(call: Call) -> Reply:
    """DELETE /v3/projects/{target_id}"""

    def remove(tx: Tx) -> None:
        project = _project(tx, call)
        (domain_remove if project.is_domain else project_remove)(tx, project)

    call.services.store.write(remove)
    return Reply(204)


def tags_show(call: Call) -> Reply:
    """GET /v3/projects/{target_id}/tags"""
    project = call.services.store.read(lambda tx: _project(tx, call))
    return Reply(200, {"tags": project.tags, "links": views.links(call)})


def tags_replace(call: Call) -> Reply:
    """PUT /v3/projects/{target_id}/tags"""
    tags = _tags(call.json().get("tags"))
    _write_tags(call, lambda _: tags)
    return Reply(200, {"tags": tags, "links": views.links(call)})


def tags_clear(call: Call) -> Reply:
    """DELETE /v3/projects/{target_id}/tags"""
    _write_tags(call, lambda _: [])
    return Reply(204)


def tag_check(call: Call) -> Reply:
    """GET /v3/projects/{target_id}/tags/{tag}: 204 or 404."""
    _require_tag(call.services.store.read(lambda tx: _project(tx, call)).tags, call.parameters["tag"])
    return Reply(204)


def tag_add(call: Call) -> Reply:
    """PUT /v3/projects/{target_id}/tags/{tag}"""
    tag = call.parameters["tag"]
    _write_tags(call, lambda tags: _tags([*(t for t in tags if t != tag), tag]))
    return Reply(201, None, {"Location": views.self_link(call, call.path.removeprefix("/v3/"))["self"]})


def tag_remove(call: Call) -> Reply:
    """DELETE /v3/projects/{target_id}/tags/{tag}"""
    tag = call.parameters["tag"]

    def without(tags: list[str]) -> list[str]:
        _require_tag(tags, tag)
        return [one for one in tags if one != tag]

    _write_tags(call, without)
    return Reply(204)


def domains_list(call: Call) -> Reply:
    """GET /v3/domains"""
    found = call.services.store.read(lambda tx: project_list(tx, is_domain=True))
    return views.listed(call, "domains", filtered(call, [views.domain(call, one) for one in found], _FILTERS))


def domain_create(call: Call) -> Reply:
    """POST /v3/domains"""
    body = member(call, "domain")
    name = _name(body, "domain")

    def create(tx: Tx) -> Reply:
        domain = _new(tx, body, name, "", "")
        noun_insert(tx, domain)
        return Reply(201, {"domain": views.domain(call, domain)})

    return write_once(call, create)


def domain_show(call: Call) -> Reply:
    """GET /v3/domains/{target_id}"""
    return Reply(200, {"domain": views.domain(call, call.services.store.read(lambda tx: _domain(tx, call)))})


def domain_update(call: Call) -> Reply:
    """PATCH /v3/domains/{target_id}"""
    body = member(call, "domain")
    changed = call.services.store.write(lambda tx: _changed(tx, _domain(tx, call), body))
    return Reply(200, {"domain": views.domain(call, changed)})


def domain_delete(call: Call) -> Reply:
    """DELETE /v3/domains/{target_id}: only a disabled one, with everything in it."""
    call.services.store.write(lambda tx: domain_remove(tx, _domain(tx, call)))
    return Reply(204)


def require_domain(tx: Tx, domain_id: str) -> Project:
    """Return the domain, or raise NotFound."""
    domain = project_fetch(tx, domain_id)
    if domain is None or not domain.is_domain:
        raise NotFound(f"Could not find domain: {domain_id}.")
    return domain


def require_project(tx: Tx, project_id: str) -> Project:
    """Return the project or domain, or raise NotFound."""
    project = project_fetch(tx, project_id)
    if project is None:
        raise NotFound(f"Could not find project: {project_id}.")
    return project


def _project(tx: Tx, call: Call) -> Project:
    return require_project(tx, call.parameters["target_id"])


def _domain(tx: Tx, call: Call) -> Project:
    return require_domain(tx, call.parameters["target_id"])


def _home(tx: Tx, call: Call, body: dict[str, Any]) -> tuple[str, str]:
    """Where a new project goes: (domain, parent). A parent of another domain is refused."""
    parent_id = text(body, "parent_id")
    if not parent_id:
        domain_id = require_domain(tx, own_domain(call, body)).id
        return domain_id, domain_id
    parent = require_project(tx, parent_id)
    domain_id = parent.id if parent.is_domain else parent.domain_id
    if text(body, "domain_id") not in ("", domain_id):
        raise BadInput("A project is in the domain of its parent.")
    return domain_id, parent.id


def _new(tx: Tx, body: dict[str, Any], name: str, domain_id: str, parent_id: str) -> Project:
    return Project(
        id=ids.new_id(),
        domain_id=domain_id,
        name=name,
        description=text(body, "description", most=65_535),
        enabled=flag(body, "enabled", True),
        is_domain=not domain_id,
        parent_id=parent_id,
        tags=_tags(body.get("tags") or []),
        extra=extra(body, _KNOWN),
        created_us=tx.now_us,
    )


def _changed(tx: Tx, old: Project, body: dict[str, Any]) -> Project:
    new = msgspec.structs.replace(
        old,
        name=_name(body, "domain" if old.is_domain else "project") if "name" in body else old.name,
        description=text(body, "description", old.description, most=65_535),
        enabled=flag(body, "enabled", old.enabled),
        tags=_tags(body["tags"]) if "tags" in body else old.tags,
        extra=extra(body, _KNOWN, old.extra),
    )
    project_change(tx, old, new)
    return new


def _name(body: dict[str, Any], kind: str) -> str:
    name = require_name(body.get("name"), kind)
    if len(name) > _NAME_CHARS:
        raise BadInput(f"the name of a {kind} has at most {_NAME_CHARS} characters")
    return name


def _tags(tags: Any) -> list[str]:
    if not isinstance(tags, list) or len(tags) > _TAGS or len(set(map(str, tags))) != len(tags):
        raise BadInput(f"tags are a list of at most {_TAGS} different texts")
    for tag in tags:
        if require_name(tag, "tag") != tag or "/" in tag or "," in tag:
            raise BadInput("a tag holds no slash, no comma and no blanks around it")
    return list(tags)


def _require_tag(tags: list[str], tag: str) -> None:
    if tag not in tags:
        raise NotFound(f"Could not find project tag: {tag}.")


def _write_tags(call: Call, change: Any) -> None:
    def write(tx: Tx) -> None:
        project = _project(tx, call)
        noun_replace(tx, msgspec.structs.replace(project, tags=change(project.tags)))

    call.services.store.write(write)


def _with_tags(call: Call, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keystone's four tag filters, each a list with commas."""
    for name in _TAG_FILTERS:
        if wanted := set(filter(None, call.argument(name).split(","))):
            pick = any if name.endswith("any") else all
            kept = [e for e in entries if pick(tag in e["tags"] for tag in wanted)]
            entries = [e for e in entries if e not in kept] if name.startswith("not") else kept
    return entries
