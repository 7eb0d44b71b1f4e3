"""What every noun of the network service has in common: seen, listed, and found before it is changed.

Invariant: an object that the caller's project may not see does not exist (404, never 403), and `If-Match` is
checked in the transaction that writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.network.attributes import Attribute, document, documents, read, require
from holdfast.api.network.listing import links, listing_of, selected
from holdfast.base import ids
from holdfast.base.clock import iso_z
from holdfast.base.errors import BadInput, Conflict
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import Listable, Listing, object_fetch_where, object_list
from holdfast.domain.network import missing

Document = dict[str, Any]
STALE = "RevisionNumberConstraintFailed"  # 412; see routes.fault
_IF_MATCH = re.compile(r"revision_number=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Resource:
    """One noun as the API knows it."""

    noun: str  # network
    plural: str  # networks
    listable: Listable
    visible: Callable[[str], Any]  # project id -> what it may see
    attributes: dict[str, Attribute]
    render: Callable[[Tx, Call, Sequence[Any]], list[Document]]
    judged_by: Callable[[Tx, Any], str] = lambda _tx, found: str(found.project_id)  # whose say its attributes are
    arrange: Callable[[Call, Listing, list[Any]], list[Any]] = lambda _call, _listing, found: found


def standard(each: Any, tags: dict[str, list[str]]) -> Document:
    """The attributes that every object shows."""
    return {
        "id": each.id,
        "tenant_id": each.project_id,
        "project_id": each.project_id,
        "description": each.description,
        "tags": tags.get(each.id, []),
        "created_at": iso_z(each.created_us),
        "updated_at": iso_z(each.updated_us),
        "revision_number": each.revision,
    }


def visible_to(call: Call, resource: Resource) -> list[Any]:
    """The condition of what the caller may see; none for those who see everything."""
    return [] if call.may("context_sees_all") else [resource.visible(call.project_id)]


def found_visible(tx: Tx, call: Call, resource: Resource, object_id: str) -> Any:
    """The object; NotFound when it is not there for this caller."""
    found = None
    if ids.is_id(object_id):
        found = object_fetch_where(tx, resource.listable, object_id, *visible_to(call, resource))
    if found is None:
        raise missing(resource.listable.noun, object_id)
    return found


def found_for(tx: Tx, call: Call, resource: Resource, action: str) -> Any:
    """The object of a PUT or DELETE: visible, allowed by the policy, and at the revision that the caller names."""
    found = found_visible(tx, call, resource, call.parameters["id"])
    require(call, f"{action}_{resource.noun}", {"project_id": found.project_id})
    if_match(call, found.revision)
    return found


def if_match(call: Call, revision: int) -> bool:
    """Whether the caller names a revision; Conflict (412) when it is not the current one."""
    header = call.headers.get("if-match", "")
    if not header:
        return False
    wanted = _IF_MATCH.fullmatch(header.strip())
    if wanted is None:
        raise BadInput("Invalid value for If-Match header: it is revision_number=N", code="HTTPBadRequest")
    if int(wanted[1]) != revision:
        raise Conflict(f"Constrained to {wanted[1]}, but current revision is {revision}", code=STALE)
    return True


def listed(resource: Resource) -> Callable[[Call], Reply]:
    """GET /v2.0/PLURAL"""

    def handler(call: Call) -> Reply:
        listing = listing_of(call)

        def look(tx: Tx) -> Reply:
            found = object_list(tx, resource.listable, listing, *visible_to(call, resource))
            tail = links(call, resource.plural, listing, [each.id for each in found])
            shown = resource.render(tx, call, resource.arrange(call, listing, found))
            return Reply(200, {resource.plural: [selected(call, each) for each in shown], **tail})

        return call.services.store.read(look)

    return handler


def shown(resource: Resource) -> Callable[[Call], Reply]:
    """GET /v2.0/PLURAL/ID"""

    def handler(call: Call) -> Reply:
        def look(tx: Tx) -> Reply:
            found = found_visible(tx, call, resource, call.parameters["id"])
            return Reply(200, {resource.noun: selected(call, resource.render(tx, call, [found])[0])})

        return call.services.store.read(look)

    return handler


def created(resource: Resource, make: Callable[[Tx, Call, Document], Any]) -> Callable[[Call], Reply]:
    """POST /v2.0/PLURAL: one, or several in one transaction (all or none). `make` gets a body as it came."""

    def handler(call: Call) -> Reply:
        bodies, bulk = documents(call, resource.noun, resource.plural)

        def change(tx: Tx) -> Reply:
            found = resource.render(tx, call, [make(tx, call, body) for body in bodies])
            return Reply(201, {resource.plural: found} if bulk else {resource.noun: found[0]})

        return write_once(call, change)

    return handler


def updated(resource: Resource, alter: Callable[[Tx, Call, Any, Document], Any]) -> Callable[[Call], Reply]:
    """PUT /v2.0/PLURAL/ID. `alter` gets the object and the fields that change."""

    def handler(call: Call) -> Reply:
        body = document(call, resource.noun)

        def change(tx: Tx) -> Reply:
            found = found_for(tx, call, resource, "update")
            target = {"project_id": resource.judged_by(tx, found)}
            fields = read(call, resource.attributes, body, f"update_{resource.noun}", target)
            after = alter(tx, call, found, fields) if fields else found
            return Reply(200, {resource.noun: resource.render(tx, call, [after])[0]})

        return call.services.store.write(change)

    return handler


def deleted(resource: Resource, remove: Callable[[Tx, Call, Any], None]) -> Callable[[Call], Reply]:
    """DELETE /v2.0/PLURAL/ID"""

    def handler(call: Call) -> Reply:
        def change(tx: Tx) -> Reply:
            remove(tx, call, found_for(tx, call, resource, "delete"))
            return Reply(204)

        return call.services.store.write(change)

    return handler
