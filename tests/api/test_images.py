"""Images over HTTP: their life, who sees them, what a patch may do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.image_cloud import PATCH, ImageCloud, image_cloud
from tests.conftest import HeldClock

IMAGES = "/image/v2/images"


@pytest.fixture
def world(tmp_path: Path, clock: HeldClock) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path, clock) as cloud:
        yield cloud


def test_an_uploaded_image_comes_back_unchanged_with_its_hashes(world: ImageCloud) -> None:
    data = os.urandom(9_000_001)
    image = world.active(world.blue, data)
    shown = world.show(world.blue, image["id"])
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(data), len(data))
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
    answer = world.blue.get(f"{IMAGES}/{image['id']}/file")
    assert answer.body == data
    assert answer.headers["content-md5"] == shown["checksum"]
    assert answer.headers["content-length"] == str(len(data))


def test_a_range_of_an_image_can_be_fetched(world: ImageCloud) -> None:
    data = os.urandom(5000)
    image = world.active(world.blue, data)
    url = f"{IMAGES}/{image['id']}/file"
    for text, expected in (("bytes=10-19", data[10:20]), ("bytes=4990-", data[4990:]), ("bytes=-7", data[-7:])):
        answer = world.blue.get(url, headers={"range": text})
        assert (answer.status, answer.body) == (206, expected)
    assert world.blue.get(url, headers={"range": "bytes=10-19"}).headers["content-range"] == "bytes 10-19/5000"
    for text in ("bytes=5000-", "bytes=9-8", "bytes=-", "lines=1-2", "bytes=a-b"):
        assert world.blue.get(url, headers={"range": text}).status == 400


def test_the_bytes_of_an_active_image_never_change(world: ImageCloud) -> None:
    image = world.active(world.blue, b"first" * 200)
    assert world.upload(world.blue, image["id"], b"second" * 200).status == 409
    assert world.blue.get(f"{IMAGES}/{image['id']}/file").body == b"first" * 200
    assert len(world.files()) == 1


def test_a_deleted_image_leaves_neither_row_nor_file(world: ImageCloud) -> None:
    image = world.active(world.blue)
    assert world.blue.delete(f"{IMAGES}/{image['id']}").status == 204
    assert world.files() == []
    answer = world.blue.get(f"{IMAGES}/{image['id']}")
    assert answer.status == 404 and image["id"] in answer.json["error"]["message"]
    assert world.blue.delete(f"{IMAGES}/{image['id']}").status == 404


def test_a_protected_image_stays(world: ImageCloud) -> None:
    image = world.active(world.blue, protected=True)
    assert world.blue.delete(f"{IMAGES}/{image['id']}").status == 403
    assert world.show(world.blue, image["id"])["status"] == "active"


def test_an_upload_needs_formats_and_octets(world: ImageCloud) -> None:
    image = world.create(world.blue, disk_format=None)
    assert world.upload(world.blue, image["id"], b"x" * 600).status == 400
    assert world.blue.put(f"{IMAGES}/{image['id']}/file", b"x" * 600).status == 400
    assert world.show(world.blue, image["id"])["status"] == "queued"


def test_properties_stand_at_the_top_and_are_found_by_value(world: ImageCloud) -> None:
    image = world.create(world.blue, kernel_id="k", hw_disk_bus="virtio")
    world.create(world.blue, name="other")
    assert world.show(world.blue, image["id"])["kernel_id"] == "k"
    found = world.blue.get(f"{IMAGES}?hw_disk_bus=virtio").json["images"]
    assert [i["id"] for i in found] == [image["id"]]


def test_an_own_id_is_kept_and_refused_twice(world: ImageCloud) -> None:
    own = "11111111-2222-4333-8444-555555555555"
    assert world.create(world.blue, id=own)["id"] == own
    assert world.red.post(IMAGES, {"id": own}).status == 409
    assert world.blue.post(IMAGES, {"id": "../../etc/passwd"}).status == 400


@pytest.mark.parametrize(
    "words",
    [
        {"name": "x" * 256},
        {"name": "a\x1b[2Jb"},
        {"disk_format": "exe"},
        {"container_format": 7},
        {"visibility": "secret"},
        {"min_disk": -1},
        {"min_ram": True},
        {"tags": "t"},
        {"tags": [1]},
        {"protected": "yes"},
        {"own": 5},
        {"own\n": "x"},
    ],
)
def test_words_that_make_no_sense_are_refused(world: ImageCloud, words: dict[str, object]) -> None:
    assert world.blue.post(IMAGES, words).status == 400
    assert world.blue.get(IMAGES).json["images"] == []


@pytest.mark.parametrize("word", ["status", "size", "checksum", "os_hash_value", "self", "os_glance_x", "created_at"])
def test_words_of_the_service_are_forbidden(world: ImageCloud, word: str) -> None:
    image = world.active(world.blue)
    assert world.blue.post(IMAGES, {word: "active"}).status == 403
    for op in ("add", "replace", "remove"):
        step = {"op": op, "path": f"/{word}", "value": "active"}
        assert world.blue.patch(f"{IMAGES}/{image['id']}", [step], headers=PATCH).status == 403


def test_the_first_drafts_form_of_a_patch_is_understood(world: ImageCloud) -> None:
    image = world.blue.post(IMAGES, {"name": "a"}).json
    url, old = f"{IMAGES}/{image['id']}", {"content-type": "application/openstack-images-v2.0-json-patch"}
    answer = world.blue.patch(url, [{"replace": "/name", "value": "b"}, {"add": "/os", "value": "x"}], headers=old)
    assert answer.status == 200 and (answer.json["name"], answer.json["os"]) == ("b", "x")
    assert world.blue.patch(url, [{"remove": "/os"}], headers=old).status == 200
    for bad in ({"op": "replace", "path": "/name", "value": "c"}, {"add": "/x", "remove": "/y"}, {"add": 7}, "add", {}):
        assert world.blue.patch(url, [bad], headers=old).status == 400, bad
    assert world.blue.get(url).json["name"] == "b"


def test_a_patch_changes_all_or_nothing(world: ImageCloud) -> None:
    image = world.create(world.blue, old="1")
    url = f"{IMAGES}/{image['id']}"
    steps = [
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/os~1distro~0", "value": "kelp"},
        {"op": "remove", "path": "/old"},
        {"op": "replace", "path": "/tags", "value": ["a", "b", "a"]},
    ]
    answer = world.blue.patch(url, steps, headers=PATCH)
    assert answer.status == 200, answer.body
    shown = world.show(world.blue, image["id"])
    assert (shown["name"], shown["os/distro~"], shown["tags"], "old" in shown) == ("new", "kelp", ["a", "b"], False)
    bad = [{"op": "replace", "path": "/name", "value": "half"}, {"op": "remove", "path": "/absent"}]
    assert world.blue.patch(url, bad, headers=PATCH).status == 409
    assert world.blue.patch(url, [{"op": "remove", "path": "/name"}], headers=PATCH).status == 403
    assert world.blue.patch(url, {"name": "x"}, headers=PATCH).status == 400
    assert world.blue.patch(url, steps).status == 400  # not the patch type
    assert world.show(world.blue, image["id"])["name"] == "new"


def test_formats_are_fixed_once_there_are_bytes(world: ImageCloud) -> None:
    image = world.active(world.blue)
    step = {"op": "replace", "path": "/disk_format", "value": "qcow2"}
    assert world.blue.patch(f"{IMAGES}/{image['id']}", [step], headers=PATCH).status == 403


def test_each_visibility_is_seen_by_whom_it_is_for(world: ImageCloud) -> None:
    made = {v: world.create(world.blue, visibility=v)["id"] for v in ("private", "shared", "community")}
    made["public"] = world.create(world.admin, visibility="public")["id"]

    def listed(query: str) -> set[str]:
        return {image["id"] for image in world.red.get(f"{IMAGES}{query}").json["images"]}

    assert listed("") == {made["public"]}
    assert listed("?visibility=community") == {made["community"]}
    assert listed("?visibility=all") == {made["public"], made["community"]}
    assert listed("?visibility=private") == set()
    seen = {name: world.red.get(f"{IMAGES}/{image_id}").status for name, image_id in made.items()}
    assert seen == {"private": 404, "shared": 404, "community": 200, "public": 200}
    assert world.blue.post(IMAGES, {"visibility": "public"}).status == 403
    assert {i["id"] for i in world.blue.get(IMAGES).json["images"]} == set(made.values())


def test_an_offer_is_accepted_by_the_other_side_only(world: ImageCloud) -> None:
    image = world.active(world.blue)
    url = f"{IMAGES}/{image['id']}"
    assert world.blue.post(f"{url}/members", {"member": "red"}).json["status"] == "pending"
    assert world.blue.post(f"{url}/members", {"member": "red"}).status == 409
    assert world.red.get(url).status == 200
    assert world.red.get(IMAGES).json["images"] == []
    assert len(world.red.get(f"{IMAGES}?member_status=pending").json["images"]) == 1
    assert world.blue.put(f"{url}/members/red", {"status": "accepted"}).status == 403
    assert world.red.put(f"{url}/members/red", {"status": "accepted"}).json["status"] == "accepted"
    assert [i["id"] for i in world.red.get(IMAGES).json["images"]] == [image["id"]]
    assert world.red.get(f"{url}/file").status == 200
    assert world.red.post(f"{url}/members", {"member": "green"}).status == 403
    assert world.as_project("green").get(f"{url}/members").status == 404
    assert world.red.delete(f"{url}/members/red").status == 403
    assert world.blue.delete(f"{url}/members/red").status == 204
    assert world.red.get(url).status == 404


def test_a_member_sees_only_itself(world: ImageCloud) -> None:
    url = f"{IMAGES}/{world.create(world.blue)['id']}/members"
    for project in ("red", "green"):
        world.blue.post(url, {"member": project})
    assert [m["member_id"] for m in world.red.get(url).json["members"]] == ["red"]
    assert world.red.get(f"{url}/green").status == 404
    assert len(world.blue.get(url).json["members"]) == 2


def test_only_a_shared_image_has_members(world: ImageCloud) -> None:
    image = world.create(world.blue, visibility="private")
    assert world.blue.post(f"{IMAGES}/{image['id']}/members", {"member": "red"}).status == 403


def test_tags_come_and_go(world: ImageCloud) -> None:
    image = world.create(world.blue)
    url = f"{IMAGES}/{image['id']}/tags"
    assert world.blue.put(f"{url}/smoke").status == 204
    assert world.blue.put(f"{url}/smoke").status == 204
    assert world.show(world.blue, image["id"])["tags"] == ["smoke"]
    assert len(world.blue.get(f"{IMAGES}?tag=smoke").json["images"]) == 1
    assert world.blue.get(f"{IMAGES}?tag=smoke&tag=other").json["images"] == []
    assert world.blue.delete(f"{url}/smoke").status == 204
    assert world.blue.delete(f"{url}/smoke").status == 404


def test_a_deactivated_image_keeps_its_bytes_to_itself(world: ImageCloud) -> None:
    image = world.active(world.blue)
    url = f"{IMAGES}/{image['id']}"
    assert world.blue.post(f"{url}/actions/deactivate").status == 204
    assert world.blue.get(f"{url}/file").status == 403
    assert world.admin.get(f"{url}/file").status == 200
    assert world.blue.post(f"{url}/actions/reactivate").status == 204
    assert world.blue.get(f"{url}/file").status == 200
    queued = world.create(world.blue)
    assert world.blue.post(f"{IMAGES}/{queued['id']}/actions/deactivate").status == 403


def test_the_quota_of_images_is_counted_from_rows(world: ImageCloud) -> None:
    from holdfast.control.store.quota import quota_set

    world.services.store.write(lambda tx: quota_set(tx, "blue", {"image": 1}))
    image = world.create(world.blue)
    answer = world.blue.post(IMAGES, {"name": "second"})
    assert answer.status == 403 and b"1 of 1" in answer.body
    world.blue.delete(f"{IMAGES}/{image['id']}")
    world.create(world.blue)


def test_a_repeated_create_makes_one_image(world: ImageCloud) -> None:
    headers = {"idempotency-key": "once"}
    first = world.blue.post(IMAGES, {"name": "a"}, headers=headers)
    again = world.blue.post(IMAGES, {"name": "a"}, headers=headers)
    assert first.json["id"] == again.json["id"]
    assert len(world.blue.get(IMAGES).json["images"]) == 1


def test_versions_are_found_without_a_token(world: ImageCloud) -> None:
    for path, status in (("/image", 300), ("/image/", 300), ("/image/versions", 200)):
        answer = world.client.get(path)
        assert answer.status == status
        assert answer.json["versions"][0]["links"][0]["href"].endswith("/image/v2/")
    assert world.blue.get("/image/v2/schemas/image").json["name"] == "image"
    assert world.blue.get("/image/v2/schemas/images").json["properties"]["images"]["items"]["name"] == "image"
    assert world.blue.get("/image/v2/info/import").json["import-methods"]["value"] == []


def test_an_answer_without_a_body_has_no_content_type(world: ImageCloud) -> None:
    image = world.create(world.blue)
    assert "content-type" not in world.upload(world.blue, image["id"], b"x" * 600).headers


def test_no_image_without_bytes_is_downloaded(world: ImageCloud) -> None:
    image = world.create(world.blue)
    assert world.blue.get(f"{IMAGES}/{image['id']}/file").status == 204
