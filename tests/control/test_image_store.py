"""The rows of images, on both databases."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from holdfast.base.errors import BadInput, Conflict, NotFound
from holdfast.control.operations.image import (
    image_create,
    image_create_from_host,
    image_for_boot,
    image_new,
    member_add,
)
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.image import (
    TAG,
    ImageQuery,
    image_delete,
    image_fetch,
    image_insert,
    image_list,
    image_move,
    image_update,
    member_list,
)
from holdfast.domain.credentials import Credentials
from holdfast.domain.image import TABLE, Image, Status

BYTES = {"content": "raw", "size_bytes": 9, "virtual_bytes": 512, "md5": "m", "sha512": "s"}


def who(project: str, *roles: str) -> Credentials:
    return Credentials("u", "u", "d", project_id=project, roles=frozenset(roles))


def make(store: Database, project: str = "blue", **words: object) -> Image:
    words = {"disk_format": "raw", "container_format": "bare", **words}
    return store.write(lambda tx: image_create(tx, image_new(tx, project, **words)))


def make_active(store: Database, project: str = "blue", **words: object) -> Image:
    image = make(store, project, **words)
    assert store.write(lambda tx: image_move(tx, image.id, "upload", "u1"))
    assert store.write(lambda tx: image_move(tx, image.id, "finish", "u1", **BYTES))
    found = store.read(lambda tx: image_fetch(tx, image.id))
    assert found is not None
    return found


def test_an_image_comes_back_as_it_was_stored(store: Database) -> None:
    image = make(store, properties={"a": "1"}, tags=("t", "u"), protected=True, name="ünï")
    assert store.read(lambda tx: image_fetch(tx, image.id)) == image


def test_every_event_moves_only_from_its_own_state(store: Database) -> None:
    for (source, event), target in TABLE.items():
        for status in Status:
            image = make(store)
            row = msgspec.structs.replace(image, id=image.id[:-4] + "0000", status=status, upload="u1", **BYTES)
            store.write(lambda tx, r=row: image_insert(tx, r))
            moved = store.write(lambda tx, r=row, e=event: image_move(tx, r.id, e, "u1"))
            now = store.read(lambda tx, r=row: image_fetch(tx, r.id))
            assert moved == (status is source)
            assert now is not None and now.status is (target if moved else status)
            store.write(lambda tx, r=row: image_delete(tx, r.id))


def test_every_state_can_be_reached_and_left_or_is_final() -> None:
    reached = {Status.QUEUED, *TABLE.values()}
    left = {source for source, _ in TABLE}
    assert reached == set(Status)
    assert set(Status) - left == {Status.KILLED}


def test_an_attempt_that_lost_changes_nothing(store: Database) -> None:
    image = make(store)
    assert store.write(lambda tx: image_move(tx, image.id, "upload", "first"))
    assert not store.write(lambda tx: image_move(tx, image.id, "upload", "second"))
    for event in ("finish", "give_up", "refuse"):
        assert not store.write(lambda tx, e=event: image_move(tx, image.id, e, "second", **BYTES))
    assert store.write(lambda tx: image_move(tx, image.id, "finish", "first", **BYTES))


def test_the_database_refuses_an_active_image_without_bytes(store: Database) -> None:
    image = make(store)
    store.write(lambda tx: image_move(tx, image.id, "upload", "u1"))
    with pytest.raises(Exception, match=r"(?i)check"):
        store.write(lambda tx: image_move(tx, image.id, "finish", "u1"))
    found = store.read(lambda tx: image_fetch(tx, image.id))
    assert found is not None and found.status is Status.SAVING


def test_an_owner_changes_words_and_never_state_or_bytes(store: Database) -> None:
    image = make_active(store)
    forged = msgspec.structs.replace(image, name="new", status=Status.QUEUED, sha512="forged", upload="forged")
    store.write(lambda tx: image_update(tx, forged))
    found = store.read(lambda tx: image_fetch(tx, image.id))
    assert found is not None
    assert (found.name, found.status, found.sha512, found.upload) == ("new", Status.ACTIVE, "s", "u1")


@pytest.mark.parametrize("sort", [(), (("name", False),), (("size_bytes", True), ("name", True)), (("hidden", False),)])
def test_pages_show_every_image_once_in_order(store: Database, sort: tuple[tuple[str, bool], ...]) -> None:
    made = [make(store, name=f"n{n % 3}", size_bytes=n % 2).id for n in range(11)]
    seen: list[Image] = []
    for _ in range(9):
        query = ImageQuery(sort=sort, limit=3, marker=seen[-1].id if seen else "")
        page = store.read(lambda tx, q=query: image_list(tx, q, who("blue", "reader")))
        seen += page
        if len(page) < 3:
            break
    assert sorted(image.id for image in seen) == sorted(made)
    for name, descending in reversed(sort):
        assert all(
            getattr(a, name) >= getattr(b, name) if descending else getattr(a, name) <= getattr(b, name)
            for a, b in itertools.pairwise(seen)
            if name == sort[0][0]
        )


def test_a_marker_of_somebody_else_is_not_found(store: Database) -> None:
    image = make(store, "red", visibility="private")
    with pytest.raises(NotFound):
        store.read(lambda tx: image_list(tx, ImageQuery(marker=image.id), who("blue", "reader")))


def test_words_are_searched_exactly_and_forgotten_when_changed(store: Database) -> None:
    image = make(store, properties={"os": "kelp"}, tags=("a",))

    def found(*words: tuple[str, str]) -> list[str]:
        images = store.read(lambda tx: image_list(tx, ImageQuery(words=words), who("blue", "reader")))
        return [i.id for i in images]

    assert found(("os", "kelp"), (TAG, "a")) == [image.id]
    assert found(("os", "kel")) == found(("OS", "kelp")) == found((TAG, "kelp")) == []
    store.write(lambda tx: image_update(tx, msgspec.structs.replace(image, properties={}, tags=("b",))))
    assert found(("os", "kelp")) == found((TAG, "a")) == []
    assert found((TAG, "b")) == [image.id]


def test_a_deleted_image_leaves_no_row_of_any_kind(store: Database) -> None:
    image = make(store, properties={"a": "1"}, tags=("t",), visibility="shared")
    store.write(lambda tx: member_add(tx, image, "red"))
    assert store.write(lambda tx: image_delete(tx, image.id))
    assert store.read(lambda tx: member_list(tx, image.id)) == []
    assert store.read(lambda tx: image_list(tx, ImageQuery(words=(("a", "1"),)), who("x", "admin"))) == []
    again = store.write(lambda tx: image_create(tx, image_new(tx, "blue", image.id)))
    assert again.id == image.id


def test_the_same_id_is_not_taken_twice(store: Database) -> None:
    image = make(store)
    with pytest.raises(Conflict):
        store.write(lambda tx: image_create(tx, image_new(tx, "red", image.id)))


def test_a_boot_gets_what_the_project_may_use(store: Database) -> None:
    kernel = make_active(store, disk_format="aki", container_format="aki", visibility="public")
    image = make_active(store, properties={"kernel_id": kernel.id}, min_disk_gib=3, visibility="private")
    boot = store.read(lambda tx: image_for_boot(tx, image.id, "blue"))
    assert (boot.image.id, boot.image.disk_format, boot.image.sha512) == (image.id, "raw", "s")
    assert boot.kernel is not None and (boot.kernel.id, boot.kernel.disk_format) == (kernel.id, "aki")
    assert (boot.ramdisk, boot.min_disk_gib, boot.virtual_bytes) == (None, 3, 512)
    with pytest.raises(NotFound):
        store.read(lambda tx: image_for_boot(tx, image.id, "red"))
    assert store.read(lambda tx: image_for_boot(tx, image.id, "red", admin=True)).image.id == image.id
    with pytest.raises(BadInput):
        store.read(lambda tx: image_for_boot(tx, kernel.id, "blue"))


def test_a_kernel_of_somebody_else_is_not_lent(store: Database) -> None:
    kernel = make_active(store, "red", disk_format="aki", visibility="private")
    image = make_active(store, properties={"kernel_id": kernel.id})
    with pytest.raises(NotFound):
        store.read(lambda tx: image_for_boot(tx, image.id, "blue"))


def test_a_queued_image_does_not_boot(store: Database) -> None:
    image = store.write(lambda tx: image_create_from_host(tx, "blue", "snap", {"image_type": "snapshot"}))
    assert (image.visibility, image.disk_format, image.status) == ("private", "qcow2", Status.QUEUED)
    with pytest.raises(BadInput, match="not active"):
        store.read(lambda tx: image_for_boot(tx, image.id, "blue"))


def test_a_list_is_one_query(store: Database) -> None:
    for _ in range(5):
        make(store, tags=("t",), properties={"a": "b"})
    statements: list[str] = []

    def look(tx: Tx) -> int:
        from sqlalchemy import event

        event.listen(tx._connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        return len(image_list(tx, ImageQuery(words=(("a", "b"),)), who("blue", "reader")))

    assert store.read(look) == 5
    assert len([text for text in statements if text != "BEGIN"]) == 1
