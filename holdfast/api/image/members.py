"""Tags, and the projects that an image is shared with.

The owner offers, the other side accepts or rejects; neither can do the other's part. A member sees itself only.
"""

from __future__ import annotations

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.image.views import member_view
from holdfast.api.image.words import tag_checked
from holdfast.base.errors import BadInput, Forbidden, NotFound
from holdfast.base.limits import IMAGE_WORDS, NAME_CHARS
from holdfast.control.operations.image import member_add
from holdfast.control.store.database import Tx
from holdfast.control.store.image import (
    image_update,
    image_visible,
    member_delete,
    member_fetch,
    member_list,
    member_update,
)
from holdfast.domain.image import MEMBER_STATUSES, Image, Member


def tag_add(call: Call) -> Reply:
    """PUT /v2/images/{image_id}/tags/{tag}: 204, also when it is there already."""
    tag = tag_checked(call.parameters["tag"])

    def change(tx: Tx) -> None:
        image = _seen(call, tx)
        call.authorise("modify_image", {"project_id": image.project_id})
        if len(image.tags) >= IMAGE_WORDS:
            raise BadInput(f"an image has at most {IMAGE_WORDS} tags")
        image_update(tx, msgspec.structs.replace(image, tags=tuple(dict.fromkeys((*image.tags, tag)))))

    call.services.store.write(change)
    return Reply(204)


def tag_remove(call: Call) -> Reply:
    """DELETE /v2/images/{image_id}/tags/{tag}: 204; 404 when it is not there."""
    tag = call.parameters["tag"]

    def change(tx: Tx) -> None:
        image = _seen(call, tx)
        call.authorise("modify_image", {"project_id": image.project_id})
        if tag not in image.tags:
            raise NotFound(f"the image has no tag {tag[:64]!r}")
        image_update(tx, msgspec.structs.replace(image, tags=tuple(t for t in image.tags if t != tag)))

    call.services.store.write(change)
    return Reply(204)


def member_create(call: Call) -> Reply:
    """POST /v2/images/{image_id}/members: offer the image to a project."""
    project_id = call.json().get("member")
    if not isinstance(project_id, str) or not 0 < len(project_id) <= NAME_CHARS or not project_id.isprintable():
        raise BadInput("Expected a member in the form: {'member': 'project id'}")

    def change(tx: Tx) -> Reply:
        image = _seen(call, tx)
        call.authorise("add_member", {"project_id": image.project_id})
        return Reply(200, member_view(member_add(tx, image, project_id)))

    return write_once(call, change)


def members_show(call: Call) -> Reply:
    """GET /v2/images/{image_id}/members: all of them for the owner, oneself for a member."""

    def look(tx: Tx) -> list[Member]:
        image = _seen(call, tx)
        if image.visibility != "shared":
            raise Forbidden("Only shared images have members.")
        return [member for member in member_list(tx, image.id) if _may_see(call, image, member)]

    members = call.services.store.read(look)
    return Reply(200, {"members": [member_view(m) for m in members], "schema": "/v2/schemas/members"})


def member_show(call: Call) -> Reply:
    """GET /v2/images/{image_id}/members/{member_id}."""
    return Reply(200, member_view(call.services.store.read(lambda tx: _member(call, tx, _seen(call, tx)))))


def member_change(call: Call) -> Reply:
    """PUT /v2/images/{image_id}/members/{member_id}: accept or reject, which only the member itself can."""
    status = call.json().get("status")
    if status not in MEMBER_STATUSES:
        raise BadInput(f"Invalid status {str(status)[:64]!r}: one of {', '.join(MEMBER_STATUSES)} is needed")

    def change(tx: Tx) -> Member:
        member = _member(call, tx, _seen(call, tx))
        call.authorise("modify_member", {"project_id": member.project_id})
        member_update(tx, member.image_id, member.project_id, status)
        return msgspec.structs.replace(member, status=status, updated_us=tx.now_us)

    return Reply(200, member_view(call.services.store.write(change)))


def member_remove(call: Call) -> Reply:
    """DELETE /v2/images/{image_id}/members/{member_id}: 204; the owner takes its offer back."""

    def change(tx: Tx) -> None:
        image = _seen(call, tx)
        call.authorise("delete_member", {"project_id": image.project_id})
        member = _member(call, tx, image)
        member_delete(tx, member.image_id, member.project_id)

    call.services.store.write(change)
    return Reply(204)


def _seen(call: Call, tx: Tx) -> Image:
    return image_visible(tx, call.parameters["image_id"], call.credentials)


def _member(call: Call, tx: Tx, image: Image) -> Member:
    member = member_fetch(tx, image.id, call.parameters["member_id"])
    if member is None or not _may_see(call, image, member):
        raise NotFound(f"{call.parameters['member_id'][:64]} not found in the member list of the image {image.id}.")
    return member


def _may_see(call: Call, image: Image, member: Member) -> bool:
    return call.credentials.is_admin or call.credentials.project_id in (image.project_id, member.project_id)
