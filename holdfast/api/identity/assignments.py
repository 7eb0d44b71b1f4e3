"""/v3/role_assignments: what was given, or with `effective` what it amounts to, person by person.

Effective: groups become their members, inherited roles the projects below, and each role comes with those
that it implies; the same computation as in `roles_held`, for everybody at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.identity import views
from holdfast.api.identity.bodies import truth
from holdfast.api.identity.versions import base_url
from holdfast.control.store.database import Tx
from holdfast.control.store.identity.identity import group_list, group_members, groups_of_user, project_list, user_list
from holdfast.control.store.identity.roles import assignment_list, role_list
from holdfast.domain.credentials import imply
from holdfast.domain.identity import Actor, Assignment, Project, Target

_IN_ONE_QUERY = 500  # ids; beyond that the whole table is the cheaper question
Named = dict[str, Any]


class _Found(msgspec.Struct, frozen=True):
    """An assignment to show, and the one that it comes from."""

    shown: Assignment
    origin: Assignment


def assignments_list(call: Call) -> Reply:
    """GET /v3/role_assignments"""
    return _reply(call, _filters(call))


def _reply(call: Call, wanted: dict[str, str]) -> Reply:
    effective, names = _switch(call, "effective"), _switch(call, "include_names")

    def read(tx: Tx) -> list[Named]:
        found = [f for f in _found(tx, wanted, effective) if _fits(f.shown, wanted)]
        named = _names(tx, [f.shown for f in found]) if names else {}
        return [_entry(call, f, named) for f in found]

    return views.listed(call, "role_assignments", call.services.store.read(read))


def _switch(call: Call, name: str) -> bool:
    return any(key == name and truth(value) for key, value in call.query)


def _filters(call: Call) -> dict[str, str]:
    """The filters as columns of an assignment."""
    wanted: dict[str, str] = {}
    for key, column, kind in (
        ("user.id", "actor_id", ("actor", Actor.USER)),
        ("group.id", "actor_id", ("actor", Actor.GROUP)),
        ("scope.project.id", "target_id", ("target", Target.PROJECT)),
        ("scope.domain.id", "target_id", ("target", Target.DOMAIN)),
    ):
        if value := call.argument(key):
            wanted |= {column: value, kind[0]: kind[1].value}
    if call.argument("role.id"):
        wanted["role_id"] = call.argument("role.id")
    if call.argument("scope.system"):
        wanted |= {"target": Target.SYSTEM.value}
    if call.argument("scope.OS-INHERIT:inherited_to"):
        wanted["inherited"] = "yes"
    return wanted


def _found(tx: Tx, wanted: dict[str, str], effective: bool) -> list[_Found]:
    if not effective:
        same = {name: value for name, value in wanted.items() if name != "inherited"}
        return [_Found(a, a) for a in assignment_list(tx, **same)]
    user_id = wanted.get("actor_id", "")
    who = {"actor_id": [user_id, *(g.id for g in groups_of_user(tx, user_id))]} if user_id else {}
    given = assignment_list(tx, **who)
    roles = {role.id: role.name for role in role_list(tx)}
    ids = {name: role_id for role_id, name in roles.items()}
    below = _below(project_list(tx)) if any(a.inherited for a in given) else {}
    members = {a.actor_id: () for a in given if a.actor is Actor.GROUP}
    people = {group_id: [u.id for u in group_members(tx, group_id)] for group_id in members}
    found: dict[Assignment, _Found] = {}
    for origin in given:
        for shown in _expand(origin, people, below):
            for name in imply(frozenset([roles.get(origin.role_id, "")])):
                one = msgspec.structs.replace(shown, role_id=ids.get(name, origin.role_id))
                found.setdefault(one, _Found(one, origin))
    return list(found.values())


def _expand(origin: Assignment, people: dict[str, list[str]], below: dict[str, list[str]]) -> Iterator[Assignment]:
    """One assignment as direct ones of users."""
    users = [origin.actor_id] if origin.actor is Actor.USER else people[origin.actor_id]
    targets = [(Target.PROJECT, p) for p in below.get(origin.target_id, [])]
    for target, target_id in targets if origin.inherited else [(origin.target, origin.target_id)]:
        for user_id in users:
            yield Assignment(Actor.USER, user_id, target, target_id, origin.role_id)


def _below(projects: list[Project]) -> dict[str, list[str]]:
    """For each project and domain, the projects that inherit from it."""
    children: dict[str, list[str]] = {}
    for project in projects:
        children.setdefault(project.parent_id, []).append(project.id)

    def descend(project_id: str) -> list[str]:
        found, left = [], list(children.get(project_id, []))
        while left:
            found.append(left.pop())
            left += children.get(found[-1], [])
        return found

    return {p.id: descend(p.id) + ([] if p.is_domain else [p.id]) for p in projects}


def _fits(assignment: Assignment, wanted: dict[str, str]) -> bool:
    same = {name: value for name, value in wanted.items() if name != "inherited"}
    if "inherited" in wanted and not assignment.inherited:
        return False
    return all(getattr(assignment, name) == value for name, value in same.items())


def _names(tx: Tx, shown: list[Assignment]) -> Named:
    """Names by id of everything that is shown."""

    def load(lister: Callable[..., list[Any]], wanted: set[str]) -> dict[str, Any]:
        rows = lister(tx, id=wanted) if len(wanted) <= _IN_ONE_QUERY else lister(tx)
        return {row.id: row for row in rows}

    users = load(user_list, {a.actor_id for a in shown if a.actor is Actor.USER})
    groups = load(group_list, {a.actor_id for a in shown if a.actor is Actor.GROUP})
    places = load(project_list, {a.target_id for a in shown})
    homes = {thing.domain_id for thing in [*users.values(), *groups.values(), *places.values()]}
    return {**users, **groups, **load(project_list, homes), **places, **{role.id: role for role in role_list(tx)}}


def _entry(call: Call, found: _Found, named: Named) -> Named:
    shown, origin = found.shown, found.origin
    scope: Named = {
        shown.target.value: {"all": True} if shown.target is Target.SYSTEM else _one(shown.target_id, named)
    }
    if shown.inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
    links = {"assignment": _url(call, origin)}
    if origin.actor is Actor.GROUP and shown.actor is Actor.USER:
        links["membership"] = f"{base_url(call.services)}/groups/{origin.actor_id}/users/{shown.actor_id}"
    return {
        "role": _one(shown.role_id, named),
        shown.actor.value: _one(shown.actor_id, named),
        "scope": scope,
        "links": links,
    }


def _one(thing_id: str, named: Named) -> Named:
    thing = named.get(thing_id)
    if thing is None:
        return {"id": thing_id}
    shown = {"id": thing_id, "name": thing.name}
    if (home := named.get(thing.domain_id)) is not None:
        shown["domain"] = {"id": home.id, "name": home.name}
    return shown


def _url(call: Call, origin: Assignment) -> str:
    where = "system" if origin.target is Target.SYSTEM else f"{origin.target.value}s/{origin.target_id}"
    path = f"{where}/{origin.actor.value}s/{origin.actor_id}/roles/{origin.role_id}"
    if origin.inherited:
        path = f"OS-INHERIT/{path}/inherited_to_projects"
    return f"{base_url(call.services)}/{path}"
