"""Volumes through Cinder's and Nova's APIs, with hosts that keep real files and simulated machines."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from holdfast.base.errors import Conflict, Unavailable
from holdfast.base.limits import OPERATION_DEADLINE_S, VOLUME_DETACH_S, VOLUME_MAKE_S
from holdfast.control.operations.registry import ACTS
from holdfast.control.operations.volume.attach import volume_attach_begin
from holdfast.control.store.database import Tx
from holdfast.control.store.instance import instance_fetch
from holdfast.control.store.volume.rows import volume_fetch
from holdfast.host.hypervisor.simulated import queue_failure
from tests.api.volume_world import GIB, Cinder, files, plugged, server
from tests.conftest import Cloud
from tests.world import IMAGE, World


@pytest.fixture
def cinder(world: World) -> Cinder:
    return Cinder(world)


@pytest.fixture
def two(cloud: Cloud, tmp_path: Path) -> Cinder:
    """Two hosts."""
    return Cinder(World(cloud, tmp_path / "hosts", hosts=2))


def refused(answer: object, status: int, word: str) -> str:
    assert answer.status == status, (answer.status, answer.body)  # type: ignore[attr-defined]
    return str(answer.json[word]["message"])  # type: ignore[attr-defined]


def test_a_blank_volume_is_a_sparse_file_on_the_only_host(cinder: Cinder) -> None:
    volume_id = cinder.create(3, name="data", metadata={"a": "b"})
    assert cinder.status(volume_id) == "creating"
    cinder.world.settle()
    shown = cinder.show(volume_id)
    assert (shown["status"], shown["size"], shown["metadata"]) == ("available", 3, {"a": "b"})
    assert (shown["attachments"], shown["bootable"], shown["volume_type"]) == ([], "false", "local")
    assert files(cinder.world) == {volume_id: ("h1", 3 * GIB)}
    path = cinder.world.hosts[0].home / "volumes" / f"{volume_id}.raw"
    assert path.stat().st_blocks == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_volume_is_attached_seen_and_taken_back(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    answer = cinder.attach(server_id, volume_id, tag="db", delete_on_termination=False)
    assert answer.status == 200, answer.body
    shown = answer.json["volumeAttachment"]
    assert (shown["volumeId"], shown["serverId"], shown["device"], shown["tag"]) == (
        volume_id,
        server_id,
        "/dev/vdb",
        "db",
    )
    assert "id" not in shown and shown["attachment_id"] and shown["bdm_uuid"]
    assert cinder.status(volume_id) == "attaching"
    cinder.world.settle()
    assert cinder.status(volume_id) == "in-use"
    assert plugged(cinder.world, server_id) == {volume_id}
    (attached,) = cinder.show(volume_id)["attachments"]
    assert (attached["server_id"], attached["device"]) == (server_id, "/dev/vdb")
    seen = cinder.world.server(server_id)["os-extended-volumes:volumes_attached"]
    assert seen == [{"id": volume_id, "delete_on_termination": False}]
    assert cinder.detach(server_id, volume_id).status == 202
    assert cinder.status(volume_id) == "detaching"
    cinder.world.settle()
    assert (cinder.status(volume_id), plugged(cinder.world, server_id)) == ("available", set())
    assert cinder.show(volume_id)["attachments"] == []


def test_nova_shows_each_version_what_it_knows(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.attached(server_id, volume_id)
    path = f"/compute/v2.1/servers/{server_id}/os-volume_attachments"

    def fields(version: str) -> set[str]:
        answer = cinder.client.request("GET", path, None, {"openstack-api-version": f"compute {version}"})
        return set(answer.json["volumeAttachments"][0])

    assert fields("2.1") == {"id", "volumeId", "serverId", "device"}
    assert fields("2.70") == fields("2.1") | {"tag"}
    assert fields("2.79") == fields("2.70") | {"delete_on_termination"}
    assert fields("2.89") == fields("2.79") - {"id"} | {"attachment_id", "bdm_uuid"}


def test_twenty_parallel_attaches_are_one_attachment(cinder: Cinder) -> None:
    servers, volume_id = [server(cinder.world, f"s{n}") for n in range(4)], cinder.made()
    gate, answers = threading.Barrier(20), []

    def attach(number: int) -> None:
        gate.wait()
        answers.append(cinder.attach(servers[number % 4], volume_id))

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers)[0] == 200
    assert {answer.status for answer in answers[:]} <= {200, 400, 409}
    assert [answer.status for answer in answers].count(200) == 1
    cinder.world.settle()
    assert sum(volume_id in plugged(cinder.world, server_id) for server_id in servers) == 1


def test_a_volume_in_use_is_neither_deleted_nor_detached_by_its_own_service(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.attached(server_id, volume_id)
    assert "attached" in refused(cinder.delete(volume_id), 400, "badRequest")
    for word in ("os-detach", "os-force_detach", "os-begin_detaching", "os-terminate_connection"):
        admin = Cinder(cinder.world, cinder.world.admin)
        assert admin.act(volume_id, word, {}).status == 409, word
    reset = Cinder(cinder.world, cinder.world.admin).act(volume_id, "os-reset_status", {"status": "available"})
    assert reset.status == 409
    attachment = cinder.show(volume_id)["attachments"][0]["attachment_id"]
    assert cinder.call("DELETE", f"/attachments/{attachment}").status == 409
    assert cinder.call("GET", f"/attachments/{attachment}").json["attachment"]["status"] == "attached"
    cinder.world.settle()
    assert (cinder.status(volume_id), plugged(cinder.world, server_id)) == ("in-use", {volume_id})


def test_a_volume_grows_in_a_drawer_and_in_a_server(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    assert cinder.act(volume_id, "os-extend", {"new_size": 2}).status == 202
    assert cinder.status(volume_id) == "extending"
    cinder.world.settle()
    assert (cinder.status(volume_id), files(cinder.world)[volume_id][1]) == ("available", 2 * GIB)
    cinder.attached(server_id, volume_id)
    assert cinder.act(volume_id, "os-extend", {"new_size": 5}).status == 202
    cinder.world.settle()
    assert (cinder.status(volume_id), cinder.show(volume_id)["size"]) == ("in-use", 5)
    assert cinder.world.hosts[0].hypervisor.volumes(server_id) == {volume_id: 5 * GIB}
    for size in (5, 1, 0, -1, "x", 10**6):
        assert cinder.act(volume_id, "os-extend", {"new_size": size}).status == 400, size
    old = cinder.client.request("POST", f"/volume/v3/volumes/{volume_id}/action", {"os-extend": {"new_size": 9}}, {})
    assert old.status == 400


def test_a_snapshot_is_a_copy_that_stays_as_it_is(cinder: Cinder) -> None:
    volume_id = cinder.made()
    path = cinder.world.hosts[0].home / "volumes" / f"{volume_id}.raw"
    with path.open("r+b") as disk:
        disk.write(b"before")
    snapshot_id = cinder.snapshot(volume_id, name="s")
    assert cinder.snapshot_status(snapshot_id) == "creating"
    cinder.world.settle()
    with path.open("r+b") as disk:
        disk.write(b"after!")
    again = cinder.made(2, snapshot_id=snapshot_id)
    clone = cinder.made(1, source_volid=volume_id)
    home = cinder.world.hosts[0].home / "volumes"
    assert (home / f"{snapshot_id}.raw").read_bytes()[:6] == b"before"
    assert (home / f"{again}.raw").read_bytes()[:6] == b"before"
    assert (home / f"{clone}.raw").read_bytes()[:6] == b"after!"
    assert files(cinder.world)[again][1] == 2 * GIB
    assert cinder.show(again)["snapshot_id"] == snapshot_id
    assert "dependent snapshots" in refused(cinder.delete(volume_id), 400, "badRequest")
    assert cinder.call("DELETE", f"/snapshots/{snapshot_id}").status == 202
    cinder.world.settle()
    assert cinder.snapshot_status(snapshot_id) == "GONE"
    assert cinder.delete(volume_id).status == 202
    cinder.world.settle()
    assert set(files(cinder.world)) == {again, clone}


def test_a_cascade_takes_the_snapshots_along(cinder: Cinder) -> None:
    volume_id = cinder.made()
    snapshots = [cinder.snapshot(volume_id) for _ in range(3)]
    cinder.world.settle()
    assert cinder.call("DELETE", f"/volumes/{volume_id}?cascade=true").status == 202
    cinder.world.settle()
    assert [cinder.snapshot_status(snapshot_id) for snapshot_id in snapshots] == ["GONE"] * 3
    assert (cinder.status(volume_id), files(cinder.world)) == ("GONE", {})


def test_nobody_writes_to_a_volume_or_removes_it_while_it_is_copied(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.snapshot(volume_id)
    assert cinder.attach(server_id, volume_id).status == 409
    assert cinder.delete(volume_id).status == 400
    cinder.world.settle()
    clone = cinder.create(1, source_volid=volume_id)
    assert cinder.attach(server_id, volume_id).status == 409
    cinder.world.settle()
    assert cinder.status(clone) == "available"
    cinder.attached(server_id, volume_id)
    answer = cinder.call("POST", "/snapshots", {"snapshot": {"volume_id": volume_id, "force": True}})
    assert "in-use" in refused(answer, 400, "badRequest")
    assert cinder.call("POST", "/volumes", {"volume": {"size": 1, "source_volid": volume_id}}).status == 400


def test_data_of_a_deleted_volume_reaches_no_other(cinder: Cinder) -> None:
    volume_id = cinder.made()
    home = cinder.world.hosts[0].home / "volumes"
    with (home / f"{volume_id}.raw").open("r+b") as disk:
        disk.write(b"secret" * 1000)
    cinder.delete(volume_id)
    cinder.world.settle()
    assert not (home / f"{volume_id}.raw").exists()
    other = cinder.made()
    with (home / f"{other}.raw").open("rb") as disk:
        assert disk.read(1 << 20).count(0) == 1 << 20


def test_a_volume_from_an_image_is_bootable_and_large_enough(cinder: Cinder) -> None:
    volume_id = cinder.made(2, imageRef=IMAGE)
    shown = cinder.show(volume_id)
    assert (shown["bootable"], shown["volume_image_metadata"]["image_id"]) == ("true", IMAGE)
    assert files(cinder.world)[volume_id][1] == 2 * GIB
    unknown = "99999999-9999-4999-8999-999999999999"
    assert cinder.call("POST", "/volumes", {"volume": {"size": 1, "imageRef": unknown}}).status == 400


def test_a_deleted_server_gives_its_volumes_back_or_takes_them_along(cinder: Cinder) -> None:
    server_id, kept, gone = server(cinder.world), cinder.made(), cinder.made()
    cinder.attached(server_id, kept)
    cinder.attached(server_id, gone, delete_on_termination=True)
    cinder.world.nova("DELETE", f"/servers/{server_id}")
    assert cinder.status(kept) == "in-use"
    cinder.world.settle()
    assert (cinder.status(kept), cinder.status(gone)) == ("available", "GONE")
    assert set(files(cinder.world)) == {kept}
    assert cinder.show(kept)["attachments"] == []


@pytest.mark.parametrize("act", ["attach", "detach", "extend"])
def test_a_server_that_is_deleted_in_the_middle_of_an_act_leaves_the_volume_free(cinder: Cinder, act: str) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    if act == "attach":
        cinder.attach(server_id, volume_id)
    else:
        cinder.attached(server_id, volume_id)
        answer = cinder.detach(server_id, volume_id) if act == "detach" else None
        answer = answer or cinder.act(volume_id, "os-extend", {"new_size": 2})
        assert answer.status == 202
    cinder.world.engine.run_once()
    cinder.world.nova("DELETE", f"/servers/{server_id}")
    cinder.world.settle()
    assert (cinder.status(volume_id), cinder.world.status(server_id)) == ("available", "GONE")
    cinder.attached(server(cinder.world, "next"), volume_id)


def test_a_stopped_server_has_its_volume_at_its_next_start(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.world.act(server_id, "os-stop")
    cinder.world.settle()
    cinder.attached(server_id, volume_id)
    assert plugged(cinder.world, server_id) == set()
    cinder.world.act(server_id, "os-start")
    cinder.world.settle()
    assert plugged(cinder.world, server_id) == {volume_id}
    cinder.world.act(server_id, "reboot", {"type": "HARD"})
    cinder.world.settle()
    assert plugged(cinder.world, server_id) == {volume_id}


def test_a_guest_that_does_not_let_go_keeps_the_volume_and_the_owner_is_told(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.attached(server_id, volume_id)
    for _ in range(200):
        queue_failure(cinder.world.hosts[0].home, "unplug", Conflict("busy"))
    assert cinder.detach(server_id, volume_id).status == 202
    cinder.world.settle()
    assert cinder.status(volume_id) == "detaching"
    cinder.world.pass_time(VOLUME_DETACH_S + 1)
    shown = cinder.show(volume_id)
    assert shown["status"] == "in-use"
    assert "let go" in shown["holdfast_reason"]
    assert plugged(cinder.world, server_id) == {volume_id}


def test_nobody_concludes_from_a_silent_monitor_that_a_volume_is_free(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.attached(server_id, volume_id)
    home = cinder.world.hosts[0].home
    for _ in range(100):
        queue_failure(home, "volumes", Unavailable("frozen"))
    assert cinder.detach(server_id, volume_id).status == 202
    cinder.world.settle()
    assert (cinder.status(volume_id), cinder.world.status(server_id)) == ("detaching", "ACTIVE")
    shutil.rmtree(home / "failures")
    cinder.world.settle()
    assert (cinder.status(volume_id), plugged(cinder.world, server_id)) == ("available", set())


def test_an_attach_that_cannot_be_gives_the_volume_back(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    for _ in range(200):
        queue_failure(cinder.world.hosts[0].home, "plug", Conflict("no port"))
    assert cinder.attach(server_id, volume_id).status == 200
    cinder.world.settle()
    cinder.world.pass_time(OPERATION_DEADLINE_S + 1)
    shown = cinder.show(volume_id)
    assert (shown["status"], shown["attachments"]) == ("available", [])
    assert "no port" in shown["holdfast_reason"]
    assert cinder.world.server(server_id)["os-extended-volumes:volumes_attached"] == []


def test_a_growth_that_the_guest_never_sees_ends_with_the_old_size(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    cinder.attached(server_id, volume_id)
    for _ in range(200):
        queue_failure(cinder.world.hosts[0].home, "grow", Unavailable("frozen"))
    cinder.act(volume_id, "os-extend", {"new_size": 2})
    cinder.world.settle()
    cinder.world.pass_time(OPERATION_DEADLINE_S + 1)
    assert (cinder.status(volume_id), cinder.show(volume_id)["size"]) == ("in-use", 1)


def test_a_lost_file_is_never_made_again(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    (cinder.world.hosts[0].home / "volumes" / f"{volume_id}.raw").unlink()
    cinder.world.hosts[0].restart()
    cinder.world.settle()
    assert files(cinder.world) == {}
    cinder.attach(server_id, volume_id)
    cinder.world.settle()
    shown = cinder.show(volume_id)
    assert (shown["status"], files(cinder.world)) == ("available", {})
    assert "missing" in shown["holdfast_reason"]


def test_a_host_that_is_away_ends_a_create_with_a_reason(two: Cinder) -> None:
    source = two.made()
    server_id = server(two.world)
    two.attached(server_id, source)
    two.detach(server_id, source)
    two.world.settle()
    for host in two.world.hosts:
        host.away = True
    clone = two.create(1, source_volid=source)
    two.world.settle()
    two.world.pass_time(VOLUME_MAKE_S + 1)
    shown = two.show(clone)
    assert shown["status"] == "error" and shown["holdfast_reason"]
    assert two.delete(clone).status == 202


def test_a_blank_volume_goes_where_it_is_first_used_and_stays(two: Cinder) -> None:
    volume_id, servers = two.made(), [server(two.world, f"s{n}") for n in range(2)]
    assert files(two.world) == {}
    homes = two.world.running()
    assert len({homes[server_id][0] for server_id in servers}) == 2
    two.attached(servers[0], volume_id)
    assert files(two.world)[volume_id][0] == homes[servers[0]][0]
    two.detach(servers[0], volume_id)
    two.world.settle()
    assert "another host" in refused(two.attach(servers[1], volume_id), 409, "conflictingRequest")
    assert two.status(volume_id) == "available"


def test_quotas_are_counted_from_rows(cinder: Cinder) -> None:
    admin, project = Cinder(cinder.world, cinder.world.admin), cinder.world.cloud.known.demo_project_id
    answer = admin.call(
        "PUT", f"/os-quota-sets/{project}", {"quota_set": {"volumes": 2, "gigabytes": 5, "snapshots": 1}}
    )
    assert answer.status == 200, answer.body
    volume_id = cinder.made(2)
    refused(cinder.call("POST", "/volumes", {"volume": {"size": 4}}), 413, "overLimit")
    cinder.snapshot(volume_id)
    cinder.world.settle()
    assert cinder.call("POST", "/snapshots", {"snapshot": {"volume_id": volume_id}}).status == 413
    assert cinder.act(volume_id, "os-extend", {"new_size": 4}).status == 413
    cinder.made(1)
    assert cinder.call("POST", "/volumes", {"volume": {"size": 1}}).status == 413
    used = cinder.call("GET", f"/os-quota-sets/{project}?usage=true").json["quota_set"]
    assert (used["volumes"]["in_use"], used["gigabytes"]["in_use"], used["snapshots"]["in_use"]) == (2, 5, 1)
    absolute = cinder.call("GET", "/limits").json["limits"]["absolute"]
    assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"], absolute["maxTotalVolumes"]) == (2, 5, 2)


def test_a_host_without_room_takes_no_volume(cinder: Cinder) -> None:
    volume_id = cinder.create(400)
    cinder.world.settle()
    assert cinder.status(volume_id) == "available"
    other = cinder.create(400)
    cinder.world.settle()
    assert cinder.status(other) == "error"
    assert "GiB of disk" in cinder.show(other)["holdfast_reason"]


def test_lists_are_filtered_sorted_and_paged(cinder: Cinder) -> None:
    ids = []
    for number in range(5):
        cinder.world.clock.advance_s(1)
        ids.append(cinder.create(1, name=f"v{number}", metadata={"k": str(number % 2)}))
    cinder.world.settle()

    def listed(query: str) -> list[str]:
        answer = cinder.call("GET", f"/volumes/detail?{query}")
        assert answer.status == 200, answer.body
        return [volume["id"] for volume in answer.json["volumes"]]

    assert listed("") == ids[::-1]
    assert listed("sort=name:asc&limit=2") == ids[:2]
    assert listed(f"sort=name:asc&limit=2&marker={ids[1]}") == ids[2:4]
    assert listed("name=v3") == [ids[3]]
    assert listed("metadata=%7B'k':'1'%7D&sort=name:asc") == [ids[1], ids[3]]
    assert listed("status=available&bootable=false&sort_key=created_at&sort_dir=asc") == ids
    assert listed("status=nonsense") == []
    assert cinder.call("GET", "/volumes?limit=2&with_count=true").json["count"] == 5
    assert cinder.call("GET", "/volumes?limit=2").json["volumes_links"][0]["rel"] == "next"
    assert cinder.call("GET", "/volumes?sort=password").status == 400
    assert cinder.call("GET", "/volumes?marker=nobody").status == 400


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"size": 0},
        {"size": -1},
        {"size": "one"},
        {"size": 1 << 40},
        {"size": 1, "name": "a\x1b[2Jb"},
        {"size": 1, "name": "x" * 256},
        {"size": 1, "metadata": {"a": 1}},
        {"size": 1, "metadata": ["a"]},
        {"size": 1, "imageRef": "../x"},
        {"size": 1, "availability_zone": "moon"},
        {"size": 1, "imageRef": IMAGE, "source_volid": IMAGE},
    ],
)
def test_a_request_that_makes_no_sense_makes_nothing(cinder: Cinder, words: dict[str, object]) -> None:
    assert cinder.call("POST", "/volumes", {"volume": words}).status == 400
    assert cinder.call("GET", "/volumes").json["volumes"] == []


def test_a_repeated_create_with_one_key_is_one_volume(cinder: Cinder) -> None:
    headers = {"idempotency-key": "k1"}
    answers = [
        cinder.client.request("POST", "/volume/v3/volumes", {"volume": {"size": 1}}, headers).json for _ in range(3)
    ]
    assert len({answer["volume"]["id"] for answer in answers}) == 1
    assert len(cinder.call("GET", "/volumes").json["volumes"]) == 1


def test_reserving_keeps_others_away_until_it_is_given_back(cinder: Cinder) -> None:
    volume_id = cinder.made()
    assert cinder.act(volume_id, "os-reserve", {}).status == 202
    assert cinder.act(volume_id, "os-reserve", {}).status == 400
    assert cinder.delete(volume_id).status == 400
    assert cinder.act(volume_id, "os-unreserve", {}).status == 202
    assert cinder.delete(volume_id).status == 202


def test_the_ports_of_a_server_run_out_and_a_wish_for_a_name_is_granted_when_it_is_free(cinder: Cinder) -> None:
    server_id, volume_id = server(cinder.world), cinder.made()
    answer = cinder.attach(server_id, volume_id, device="/dev/vdd")
    assert answer.json["volumeAttachment"]["device"] == "/dev/vdd"
    cinder.world.settle()
    assert cinder.attach(server_id, cinder.made(), device="/dev/vdd").status == 409
    store, many = cinder.world.store, [cinder.made() for _ in range(16)]

    def attach(tx: Tx, volume_id: str) -> None:
        row, instance = volume_fetch(tx, volume_id), instance_fetch(tx, server_id)
        assert row and instance
        volume_attach_begin(tx, row, instance, "", "", False, "u", "r")

    for other in many[:15]:
        store.write(lambda tx, other=other: attach(tx, other))  # type: ignore[misc]
    assert cinder.attach(server_id, many[15]).status == 403


def test_every_act_on_volumes_is_registered() -> None:
    assert {kind for kind in ACTS if kind.startswith("volume")} == {
        "volume_create",
        "volume_delete",
        "volume_extend",
        "volume_attach",
        "volume_detach",
        "volume_snapshot_create",
        "volume_snapshot_delete",
    }


def test_versions_are_told_without_a_token_and_the_catalogue_shows_both_names(cinder: Cinder) -> None:
    client = cinder.world.cloud.client
    assert client.get("/volume").status == 300
    assert client.get("/volume/v3").json["versions"][0]["version"] == "3.59"
    catalogue = cinder.client.get("/identity/v3/auth/catalog").json["catalog"]
    assert {"volumev3", "block-storage"} <= {entry["type"] for entry in catalogue}
    asked = cinder.client.request("GET", "/volume/v3/types", None, {"openstack-api-version": "volume 3.60"})
    assert asked.status == 406
    assert cinder.client.get("/volume/v3/types/default").json["volume_type"]["name"] == "local"
    project = cinder.world.cloud.known.demo_project_id
    assert cinder.client.get(f"/volume/v3/{project}/volumes/detail").json == {"volumes": []}
    assert cinder.client.get(f"/volume/v3/{'0' * 32}/volumes").status == 400
