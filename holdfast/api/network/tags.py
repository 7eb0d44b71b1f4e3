"""Tags, on every noun that has them: one set of handlers, made for each."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.api.http.call import Call, Reply
from holdfast.api.http.routes import Route
from holdfast.api.network.attributes import require
from holdfast.api.network.resource import Resource, found_visible, if_match
from holdfast.base.errors import BadInput, NotFound
from holdfast.base.limits import TAG_CHARS, TAGS
from holdfast.control.store.database import Tx
from holdfast.control.store.network.query import object_update, tags_of, tags_set
from holdfast.domain.address import invalid

Changed = Callable[[list[str]], list[str]]


def routes(resource: Resource, path: str) -> tuple[Route, ...]:
    """The URLs of a noun's tags."""
    get, change = f"get_{resource.noun}", f"update_{resource.noun}"
    base = f"{path}/{{id}}/tags"
    return (
        Route("GET", base, lambda call: _all(call, resource), get),
        Route("PUT", base, lambda call: _replace(call, resource), change),
        Route("DELETE", base, lambda call: _write(call, resource, lambda _: [], 204), change),
        Route("GET", f"{base}/{{tag}}", lambda call: _one(call, resource), get),
        Route("PUT", f"{base}/{{tag}}", lambda call: _add(call, resource), change),
        Route("DELETE", f"{base}/{{tag}}", lambda call: _remove(call, resource), change),
    )


def _all(call: Call, resource: Resource) -> Reply:
    return call.services.store.read(lambda tx: Reply(200, {"tags": _tags(tx, call, resource)}))


def _tags(tx: Tx, call: Call, resource: Resource) -> list[str]:
    found = found_visible(tx, call, resource, call.parameters["id"])
    return tags_of(tx, [found.id]).get(found.id, [])


def _one(call: Call, resource: Resource) -> Reply:
    tag = call.parameters["tag"]
    if tag not in call.services.store.read(lambda tx: _tags(tx, call, resource)):
        raise _missing(tag)
    return Reply(204)


def _missing(tag: str) -> NotFound:
    return NotFound(f"Tag {tag[:64]} could not be found.", code="TagNotFound")


def _replace(call: Call, resource: Resource) -> Reply:
    tags = call.json().get("tags")
    if not isinstance(tags, list):
        raise invalid("tags", "it is a list of strings.")
    return _write(call, resource, lambda _: tags, 200)


def _add(call: Call, resource: Resource) -> Reply:
    return _write(call, resource, lambda had: [*had, call.parameters["tag"]], 201)


def _remove(call: Call, resource: Resource) -> Reply:
    tag = call.parameters["tag"]

    def without(had: list[str]) -> list[str]:
        if tag not in had:
            raise _missing(tag)
        return [each for each in had if each != tag]

    return _write(call, resource, without, 204)


def _write(call: Call, resource: Resource, change: Changed, status: int) -> Reply:
    def write(tx: Tx) -> Reply:
        found = found_visible(tx, call, resource, call.parameters["id"])
        require(call, f"update_{resource.noun}", {"project_id": found.project_id})
        if_match(call, found.revision)
        tags = _checked(change(tags_of(tx, [found.id]).get(found.id, [])))
        tags_set(tx, found.id, tags)
        object_update(tx, resource.listable, found.id)
        return Reply(status, {"tags": tags} if status == 200 else None)

    return call.services.store.write(write)


def _checked(tags: list[str]) -> list[str]:
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= TAG_CHARS or not tag.isprintable():
            raise invalid("tags", f"a tag is 1 to {TAG_CHARS} printable characters.")
    found = sorted(set(tags))
    if len(found) > TAGS:
        raise BadInput(f"an object has at most {TAGS} tags", code="HTTPBadRequest")
    return found
