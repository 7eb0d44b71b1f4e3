"""Images: create, list, show, change, delete, and the two administrators' switches. Translates; rules are elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.once import write_once
from holdfast.api.image.filters import image_query
from holdfast.api.image.views import image_view
from holdfast.api.image.words import FIELDS, authorise_change, image_with, refuse_reserved
from holdfast.base.errors import BadInput, Conflict, Forbidden
from holdfast.control.operations.image import image_create as create
from holdfast.control.operations.image import image_new, image_remove
from holdfast.control.operations.image_file import image_file_remove, image_path
from holdfast.control.store.database import Tx
from holdfast.control.store.image import image_list as select
from holdfast.control.store.image import image_move, image_update, image_visible
from holdfast.domain.image import Image

PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
OLD_PATCH_TYPE = "application/openstack-images-v2.0-json-patch"  # the operation is the key of its path


def image_create(call: Call) -> Reply:
    """POST /v2/images: 201 with a queued image; its bytes come by PUT."""
    words = call.json()

    def change(tx: Tx) -> Reply:
        blank = image_new(tx, call.project_id)
        asked = image_with(blank, words)
        authorise_change(call, blank, asked)
        new = create(tx, asked)
        return Reply(201, image_view(new), {"location": f"{call.services.settings.endpoint}/image/v2/images/{new.id}"})

    return write_once(call, change)


def image_list(call: Call) -> Reply:
    """GET /v2/images: one page; `next` leads to the following one."""
    query = image_query(call)
    images = call.services.store.read(lambda tx: select(tx, query, call.credentials))
    body: dict[str, Any] = {
        "images": [image_view(image) for image in images],
        "schema": "/v2/schemas/images",
        "first": _link(call, ""),
    }
    if images and len(images) == query.limit:
        body["next"] = _link(call, images[-1].id)
    return Reply(200, body)


def _link(call: Call, marker: str) -> str:
    pairs = [(key, value) for key, value in call.query if key != "marker"]
    query = urlencode([*pairs, ("marker", marker)] if marker else pairs)
    return f"/v2/images?{query}" if query else "/v2/images"


def image_show(call: Call) -> Reply:
    """GET /v2/images/{image_id}."""
    image_id = call.parameters["image_id"]
    return Reply(200, image_view(call.services.store.read(lambda tx: image_visible(tx, image_id, call.credentials))))


def image_change(call: Call) -> Reply:
    """PATCH /v2/images/{image_id}: a JSON patch whose every step holds, or nothing."""
    kind = call.headers.get("content-type", "").partition(";")[0].strip()
    if kind not in (PATCH_TYPE, OLD_PATCH_TYPE):
        raise BadInput(f"the content type must be {PATCH_TYPE}")
    steps = _steps(call.body, old=kind == OLD_PATCH_TYPE)

    def change(tx: Tx) -> Image:
        before = _own(call, tx, "modify_image")
        after = before
        for step in steps:
            after = _patched(after, *step)
        authorise_change(call, before, after)
        image_update(tx, after)
        return msgspec.structs.replace(after, updated_us=tx.now_us)

    return Reply(200, image_view(call.services.store.write(change)))


def image_delete(call: Call) -> Reply:
    """DELETE /v2/images/{image_id}: 204. The row goes first; a file that stays is removed by the sweep."""

    def change(tx: Tx) -> Image:
        image = _own(call, tx, "delete_image")
        image_remove(tx, image)
        return image

    image = call.services.store.write(change)
    if image.has_bytes:
        image_file_remove(image_path(call.services.images, image))
    return Reply(204)


def image_deactivate(call: Call) -> Reply:
    """POST /v2/images/{image_id}/actions/deactivate: 204; already so: 204."""
    return _switch(call, "deactivate", "deactivated")


def image_reactivate(call: Call) -> Reply:
    """POST /v2/images/{image_id}/actions/reactivate: 204; already so: 204."""
    return _switch(call, "reactivate", "active")


def _switch(call: Call, event: str, wanted: str) -> Reply:
    def change(tx: Tx) -> None:
        image = _own(call, tx, event)
        if image.status != wanted and not image_move(tx, image.id, event, image.upload):
            raise Forbidden(f"Not allowed to {event} image in status '{image.status}'")

    call.services.store.write(change)
    return Reply(204)


def _own(call: Call, tx: Tx, rule: str) -> Image:
    """The image, if the caller may do this to it: NotFound where it may not even see it."""
    image = image_visible(tx, call.parameters["image_id"], call.credentials)
    call.authorise(rule, {"project_id": image.project_id})
    return image


def _steps(body: bytes, old: bool) -> list[tuple[str, str, Any]]:
    """The patch as (op, word, value); `old`: in the form of the first draft."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise BadInput("the request body is not valid JSON") from err
    if not isinstance(document, list):
        raise BadInput("Request body must be a JSON array of operation objects.")
    steps: list[tuple[str, str, Any]] = []
    for entry in map(_of_the_draft, document) if old else document:
        if not isinstance(entry, dict) or entry.get("op") not in ("add", "replace", "remove"):
            raise BadInput("Operations must be JSON objects with an op of add, replace or remove.")
        path = entry.get("path")
        if not isinstance(path, str) or not path.startswith("/") or not path[1:]:
            raise BadInput(f"Pointer `{str(path)[:64]}` does not start with a slash and a name.")
        if entry["op"] != "remove" and "value" not in entry:
            raise BadInput(f"Operation '{entry['op']}' requires a member named 'value'.")
        first, *more = path[1:].split("/")
        if more and first != "locations":
            raise BadInput(f"Pointer `{path[:64]}` has more than one part.")
        steps.append((entry["op"], first.replace("~1", "/").replace("~0", "~"), entry.get("value")))
    return steps


def _of_the_draft(entry: Any) -> Any:
    """`{"replace": "/name", "value": ...}` as `{"op": "replace", "path": "/name", "value": ...}`."""
    ops = [word for word in ("add", "replace", "remove") if isinstance(entry, dict) and word in entry]
    if len(ops) != 1 or set(entry) - {ops[0], "value"}:
        return None
    return {"op": ops[0], "path": entry[ops[0]]} | ({"value": entry["value"]} if "value" in entry else {})


def _patched(image: Image, op: str, word: str, value: Any) -> Image:
    refuse_reserved(word)
    if word == "id":
        raise Forbidden("Attribute 'id' is read-only.")
    if op == "remove" and word in FIELDS:
        raise Forbidden(f"Property {word} may not be removed.")
    if op != "add" and word not in FIELDS and word not in image.properties:
        raise Conflict(f"Property {word} does not exist.")
    if op == "remove":
        return msgspec.structs.replace(image, properties={k: v for k, v in image.properties.items() if k != word})
    return image_with(image, {word: value})
