"""Images and their members: tables and queries.

`properties` and `tags` are read whole from the image's row; `image_word` repeats them only so that they can be
searched, and `_words_write` is the one place that writes either, in the same transaction.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Integer,
    String,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from holdfast.base.errors import Bug, NotFound
from holdfast.base.limits import NAME_CHARS
from holdfast.control.store.database import Tx
from holdfast.control.store.schema import Json, instant, metadata
from holdfast.domain.credentials import Credentials
from holdfast.domain.image import TABLE, Image, Member, Status, visible

_STATES = ", ".join(f"'{status}'" for status in Status)

image = Table(
    "image",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, nullable=False, index=True),
    Column("name", String, nullable=False, index=True),
    Column("status", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("visibility", String, nullable=False, index=True),
    Column("disk_format", String, nullable=False),
    Column("container_format", String, nullable=False),
    Column("content", String, nullable=False),
    Column("upload", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("virtual_bytes", BigInteger, nullable=False),
    Column("md5", String, nullable=False),
    Column("sha512", String, nullable=False),
    Column("min_disk_gib", Integer, nullable=False),
    Column("min_ram_mib", Integer, nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("properties", Json, nullable=False),
    Column("tags", Json, nullable=False),
    instant("created_us"),
    instant("updated_us"),
    CheckConstraint(f"status in ({_STATES})", name="status"),
    # the database itself refuses an active image without bytes
    CheckConstraint("status <> 'active' or (sha512 <> '' and upload <> '' and content <> '')", name="bytes"),
)

image_word = Table(
    "image_word",
    metadata,
    Column("image_id", String, ForeignKey("image.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String, primary_key=True),  # of a property; empty for a tag
    Column("value", String, primary_key=True),
)

image_member = Table(
    "image_member",
    metadata,
    Column("image_id", String, ForeignKey("image.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", String, primary_key=True, index=True),
    Column("status", String, nullable=False),
    instant("created_us"),
    instant("updated_us"),
)
TAG = ""


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """What a list asks for. A condition is (column, eq ne lt le gt ge in, value); `sort` is (column, descending)."""

    visibility: str = ""  # empty: what a user expects to see; all: everything that is visible
    member_status: str = "accepted"
    conditions: tuple[tuple[str, str, Any], ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    marker: str = ""
    limit: int = 25
    words: tuple[tuple[str, str], ...] = ()  # tags and properties that must be there


_BY_ID = select(image).where(image.c.id == bindparam("id"))


def image_fetch(tx: Tx, image_id: str) -> Image | None:
    """One image by id, whoever owns it."""
    rows = tx.all(_BY_ID, {"id": image_id})
    return _made(rows[0]) if rows else None


def image_visible(tx: Tx, image_id: str, credentials: Credentials) -> Image:
    """The image, if the caller may see it; raises NotFound otherwise, as if it did not exist."""
    found = image_fetch(tx, image_id)
    if found is None or not visible(found, credentials, _is_member(tx, found, credentials)):
        raise NotFound(f"No image found with ID {image_id}", code="image_not_found")
    return found


def _is_member(tx: Tx, found: Image, credentials: Credentials) -> bool:
    if found.visibility != "shared" or not credentials.project_id or credentials.project_id == found.project_id:
        return False
    return member_fetch(tx, found.id, credentials.project_id) is not None


def image_count(tx: Tx, project_id: str) -> int:
    """How many images a project owns: what its quota counts."""
    return int(tx.value(select(func.count()).select_from(image).where(image.c.project_id == project_id)))


def image_insert(tx: Tx, new: Image) -> None:
    """Store a new image."""
    tx.run(insert(image), _row(new))
    _words_write(tx, new)


def image_update(tx: Tx, changed: Image) -> None:
    """Store the owner's words about an image. Its state and bytes are `image_move`'s to change, never this one's."""
    kept = {"id", "status", "reason", "content", "upload", "size_bytes", "virtual_bytes", "md5", "sha512", "created_us"}
    values = {name: value for name, value in _row(changed).items() if name not in kept}
    tx.run(update(image).where(image.c.id == changed.id), {**values, "updated_us": tx.now_us})
    tx.run(delete(image_word).where(image_word.c.image_id == changed.id))
    _words_write(tx, changed)


def image_move(tx: Tx, image_id: str, event: str, upload: str, **values: Any) -> bool:
    """Move an image to its next state, for the attempt that it names; False when another one was faster."""
    sources = [status for (status, name), _ in TABLE.items() if name == event]
    if len(sources) != 1:
        raise Bug(f"no such event of an image: {event}")
    mine = and_(image.c.id == image_id, image.c.status == sources[0].value)
    if event != "upload":
        mine = and_(mine, image.c.upload == upload)
    target = TABLE[sources[0], event].value
    row = {**values, "status": target, "updated_us": tx.now_us}
    return tx.run(update(image).where(mine), {**row, "upload": "" if event in ("give_up", "refuse") else upload}) == 1


def image_delete(tx: Tx, image_id: str) -> bool:
    """Forget an image, its words and its members; its file is the sweep's to remove."""
    for table in (image_word, image_member):
        tx.run(delete(table).where(table.c.image_id == image_id))
    return tx.run(delete(image).where(image.c.id == image_id)) == 1


def image_uploads(tx: Tx) -> dict[str, tuple[str, Status]]:
    """Every attempt that a row names, with its image and state: what the sweep compares the directory with."""
    columns = (image.c.upload, image.c.id, image.c.status)
    return {row[0]: (row[1], Status(row[2])) for row in tx.all(select(*columns).where(image.c.upload != ""))}


def images_with_bytes(tx: Tx) -> list[Image]:
    """Every image whose file must be there."""
    rows = tx.all(select(image).where(image.c.status.in_([Status.ACTIVE, Status.DEACTIVATED])))
    return [_made(row) for row in rows]


def image_list(tx: Tx, query: ImageQuery, credentials: Credentials) -> list[Image]:
    """One page of what the caller may see, in one query."""
    statement = select(image).where(_scope(query, credentials), *map(_condition, query.conditions))
    for name, value in query.words:
        found = select(image_word.c.image_id).where(image_word.c.name == name, image_word.c.value == value[:NAME_CHARS])
        statement = statement.where(image.c.id.in_(found))
    sort = (*query.sort, *((name, True) for name in ("created_us", "id") if name not in dict(query.sort)))
    if query.marker:
        at = image_visible(tx, query.marker, credentials)
        statement = statement.where(_after(at, sort))
    orders = [image.c[name].desc() if descending else image.c[name].asc() for name, descending in sort]
    return [_made(row) for row in tx.all(statement.order_by(*orders).limit(query.limit))]


def _condition(condition: tuple[str, str, Any]) -> ColumnElement[bool]:
    name, word, value = condition
    column = image.c[name]
    return column.in_(value) if word == "in" else getattr(operator, word)(column, value)


def _scope(query: ImageQuery, credentials: Credentials) -> ColumnElement[bool]:
    """Which images the caller may see in a list; community images only where they are asked for."""
    own = and_(image.c.project_id == credentials.project_id, image.c.project_id != "")
    asked = image.c.visibility == query.visibility if query.visibility not in ("", "all") else None
    if credentials.is_admin:
        if asked is not None:
            return asked
        return image.c.id != "" if query.visibility == "all" else or_(image.c.visibility != "community", own)
    member = select(image_member.c.image_id).where(image_member.c.project_id == credentials.project_id)
    if query.member_status != "all":
        member = member.where(image_member.c.status == query.member_status)
    open_words = ("public", "community") if query.visibility in ("all", "community") else ("public",)
    shared = and_(image.c.visibility == "shared", image.c.id.in_(member))
    seen = or_(image.c.visibility.in_(open_words), own, shared)
    return seen if asked is None else and_(seen, asked)


def _after(at: Image, sort: tuple[tuple[str, bool], ...]) -> ColumnElement[bool]:
    """What follows the marker's row in this order."""
    steps: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for name, descending in sort:
        column = image.c[name]
        value = literal(getattr(at, name), column.type)
        steps.append(and_(*equal, column < value if descending else column > value))
        equal.append(column == value)
    return or_(*steps)


def member_fetch(tx: Tx, image_id: str, project_id: str) -> Member | None:
    """One member of an image."""
    columns = image_member.c
    return tx.struct(Member, select(image_member).where(columns.image_id == image_id, columns.project_id == project_id))


def member_list(tx: Tx, image_id: str) -> list[Member]:
    """Every member of an image, oldest first."""
    columns = image_member.c
    statement = select(image_member).where(columns.image_id == image_id)
    return tx.structs(Member, statement.order_by(columns.created_us, columns.project_id))


def member_insert(tx: Tx, member: Member) -> None:
    """Share an image with a project."""
    tx.run(insert(image_member), {name: getattr(member, name) for name in Member.__struct_fields__})


def member_update(tx: Tx, image_id: str, project_id: str, status: str) -> None:
    """Store what a project made of the offer."""
    mine = (image_member.c.image_id == image_id, image_member.c.project_id == project_id)
    tx.run(update(image_member).where(*mine), {"status": status, "updated_us": tx.now_us})


def member_delete(tx: Tx, image_id: str, project_id: str) -> bool:
    """Stop sharing an image with a project."""
    mine = (image_member.c.image_id == image_id, image_member.c.project_id == project_id)
    return tx.run(delete(image_member).where(*mine)) == 1


def _made(row: Any) -> Image:
    values = dict(zip(Image.__struct_fields__, row, strict=True))
    return Image(**{**values, "status": Status(values["status"]), "tags": tuple(values["tags"])})


def _row(value: Image) -> dict[str, Any]:
    return {**{name: getattr(value, name) for name in Image.__struct_fields__}, "status": value.status.value}


def _words_write(tx: Tx, value: Image) -> None:
    words = [(TAG, tag) for tag in value.tags] + list(value.properties.items())
    tx.run(
        insert(image_word), [{"image_id": value.id, "name": name, "value": text[:NAME_CHARS]} for name, text in words]
    )


image_directory_mark = Table("image_directory", metadata, Column("mark", String, primary_key=True))


def image_directory(tx: Tx) -> str:
    """The mark of the directory that has the files of all images; empty before there is one."""
    return str(tx.value(select(image_directory_mark.c.mark)) or "")


def image_directory_keep(tx: Tx, mark: str) -> str:
    """Keep the mark, unless another replica was first; returns the one that counts."""
    if known := image_directory(tx):
        return known
    tx.run(insert(image_directory_mark), {"mark": mark})
    return mark
