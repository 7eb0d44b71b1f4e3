"""Volumes in the store, on both databases: one attachment each, usage from rows, lists, what a host is told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from holdfast.base import ids
from holdfast.base.config import Settings
from holdfast.base.errors import Bug, HoldfastError
from holdfast.control.operations.host_desired import host_update_since
from holdfast.control.operations.host_report import host_report_apply
from holdfast.control.operations.volume.attach import volume_attach_begin
from holdfast.control.operations.volume.create import VolumeWanted, volume_create_begin
from holdfast.control.operations.volume.files import host_choose
from holdfast.control.store.database import Database, Tx
from holdfast.control.store.host import host_insert, host_update
from holdfast.control.store.instance import instance_fetch, instance_insert
from holdfast.control.store.volume.attachments import attachment_of, attachments_of_instances
from holdfast.control.store.volume.listing import FileQuery, volumes_count, volumes_list
from holdfast.control.store.volume.observations import file_observation
from holdfast.control.store.volume.rows import (
    gib_by_host,
    host_keeps_files,
    row_change,
    row_insert,
    row_update,
    volume_fetch,
    volume_usage,
)
from holdfast.domain.credentials import Credentials
from holdfast.domain.desired import HostUpdate
from holdfast.domain.observed import Capabilities, FilePhase, HostReport, VolumeReport
from holdfast.domain.volume import TABLE, Volume, VolumeState, move
from tests.api.nova_cloud import server_row
from tests.conftest import HeldClock

HOST = "22222222-2222-4222-8222-000000000001"
CAPABILITIES = Capabilities(8, 16_384, 100, "simulated", "", "simulated", "1", "h", "127.0.0.1")
DEMO = Credentials("u", "demo", "default", "p", roles=frozenset({"member", "reader"}))


@pytest.fixture
def ready(store: Database) -> Database:
    """A store with one host that is up."""

    def fill(tx: Tx) -> None:
        host_insert(tx, HOST, "h1", "nova", "digest")
        host_update(tx, HOST, capabilities=CAPABILITIES, reported_us=tx.now_us)

    store.write(fill)
    return store


def volume_row(now_us: int, **changes: Any) -> Volume:
    fields: dict[str, Any] = {
        "id": ids.new_id(),
        "project_id": "p",
        "user_id": "u",
        "name": "v",
        "description": "",
        "state": VolumeState.AVAILABLE,
        "size_gib": 1,
        "host_id": HOST,
        "zone": "",
        "present": True,
        "made": True,
        "generation": 1,
        "revision": 1,
        "bootable": False,
        "image": None,
        "image_words": {},
        "copy_of": "",
        "snapshot_id": "",
        "source_id": "",
        "properties": {},
        "fault": "",
        "created_us": now_us,
        "updated_us": now_us,
    }
    return Volume(**{**fields, **changes})


def add(store: Database, **changes: Any) -> Volume:
    def change(tx: Tx) -> Volume:
        row = volume_row(tx.now_us, **changes)
        row_insert(tx, row)
        return row

    return store.write(change)


def report(*files: VolumeReport, full: bool = True) -> HostReport:
    return HostReport(full, 1, CAPABILITIES, (), (), (), 50, (), files)


def test_twenty_transactions_at_once_make_one_attachment(ready: Database) -> None:
    volume = add(ready)
    servers = [server_row("p", volume.created_us, host_id=HOST) for _ in range(20)]
    ready.write(lambda tx: [instance_insert(tx, row) for row in servers])
    gate, outcomes = threading.Barrier(20), []

    def attach(instance_id: str) -> None:
        def change(tx: Tx) -> None:
            row, instance = volume_fetch(tx, volume.id), instance_fetch(tx, instance_id)
            assert row and instance
            volume_attach_begin(tx, row, instance, "", "", False, "u", "r")

        gate.wait()
        try:
            ready.write(change)
            outcomes.append("won")
        except HoldfastError as err:
            outcomes.append(type(err).__name__)

    threads = [threading.Thread(target=attach, args=(row.id,)) for row in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 1, outcomes
    assert set(outcomes) <= {"won", "BadInput", "Conflict", "Unavailable"}
    assert ready.read(lambda tx: attachment_of(tx, volume.id)) is not None


def test_a_server_gives_each_volume_a_port_of_its_own(ready: Database) -> None:
    server = server_row("p", 1, host_id=HOST, config_drive=True)
    ready.write(lambda tx: instance_insert(tx, server))
    for _ in range(3):
        volume = add(ready)
        ready.write(lambda tx, volume=volume: volume_attach_begin(tx, volume, server, "", "", False, "u", "r"))  # type: ignore[misc]
    rows = ready.read(lambda tx: attachments_of_instances(tx, [server.id]))
    assert [(row.slot, row.device) for row in rows] == [(0, "/dev/vdc"), (1, "/dev/vdd"), (2, "/dev/vde")]


def test_usage_and_room_are_sums_of_rows(ready: Database) -> None:
    add(ready, size_gib=30)
    add(ready, size_gib=20, host_id="")
    add(ready, size_gib=7, project_id="q")
    assert ready.read(lambda tx: volume_usage(tx, "p")) == (2, 50)
    assert ready.read(gib_by_host) == {HOST: 37}
    assert ready.read(lambda tx: host_keeps_files(tx, HOST))
    settings = Settings()
    assert ready.read(lambda tx: host_choose(tx, settings, 63, "")) == HOST
    with pytest.raises(HoldfastError, match="GiB of disk"):
        ready.read(lambda tx: host_choose(tx, settings, 64, ""))


def test_a_host_is_told_what_changed_and_no_more(ready: Database) -> None:
    first, second = add(ready), add(ready)
    ready.write(lambda tx: row_change(tx, first, size_gib=2))

    def told(since: int) -> HostUpdate:
        update = ready.read(lambda tx: host_update_since(tx, HOST, since))
        assert update is not None
        return update

    whole = told(0)
    assert {file.id for file in whole.volumes} == {first.id, second.id}
    assert ready.read(lambda tx: host_update_since(tx, HOST, whole.version)) is None
    ready.write(lambda tx: row_change(tx, second, present=False))
    (news,) = told(whole.version).volumes
    assert (news.id, news.present, news.generation, news.made) == (second.id, False, 2, True)
    ready.write(lambda tx: row_update(tx, second, name="other"))
    assert ready.read(lambda tx: host_update_since(tx, HOST, told(0).version)) is None


def test_only_the_word_of_the_host_that_keeps_a_file_counts(ready: Database) -> None:
    mine, other = add(ready), add(ready, host_id="elsewhere")
    words = [VolumeReport(row.id, 1, FilePhase.MADE, 1) for row in (mine, other)]
    ready.write(lambda tx: host_report_apply(tx, HOST, report(*words)))
    assert ready.read(lambda tx: file_observation(tx, other.id)) is None
    seen = ready.read(lambda tx: file_observation(tx, mine.id))
    assert seen is not None and (seen.phase, seen.size_gib) == ("made", 1)
    ready.write(lambda tx: host_report_apply(tx, HOST, report()))
    assert ready.read(lambda tx: file_observation(tx, mine.id)) is None


def test_an_old_word_that_a_file_is_gone_takes_no_host_away(ready: Database) -> None:
    row = add(ready)
    gone = VolumeReport(row.id, 1, FilePhase.ABSENT)
    ready.write(lambda tx: host_report_apply(tx, HOST, report(gone)))
    assert ready.read(lambda tx: volume_fetch(tx, row.id)).host_id == HOST  # type: ignore[union-attr]
    row = ready.write(lambda tx: row_change(tx, row, present=False))
    ready.write(lambda tx: host_report_apply(tx, HOST, report(gone)))
    assert ready.read(lambda tx: volume_fetch(tx, row.id)).host_id == HOST  # type: ignore[union-attr]
    newer = VolumeReport(row.id, row.generation, FilePhase.ABSENT)
    ready.write(lambda tx: host_report_apply(tx, HOST, report(newer)))
    assert ready.read(lambda tx: volume_fetch(tx, row.id)).host_id == ""  # type: ignore[union-attr]


def test_lists_filter_by_properties_that_look_like_patterns(ready: Database, clock: HeldClock) -> None:
    hostile = {"a%": "_", 'quo"te': "back\\slash"}
    row = add(ready, properties=hostile)
    add(ready, properties={"ab": "c"})
    add(ready, properties={"x": '"a%":"_"'})

    def listed(**properties: str) -> list[str]:
        query = FileQuery(project_id="p", properties=properties)
        return [whole.row.id for whole in ready.read(lambda tx: volumes_list(tx, query))]

    for key, value in hostile.items():
        assert listed(**{key: value}) == [row.id]
    assert listed(a="b") == []
    assert ready.read(lambda tx: volumes_count(tx, FileQuery(project_id="p"))) == 3
    assert ready.read(lambda tx: volumes_count(tx, FileQuery(project_id="q"))) == 0


def test_a_volume_that_is_asked_for_is_a_row_and_an_act_or_nothing(ready: Database) -> None:
    row = ready.write(lambda tx: volume_create_begin(tx, VolumeWanted(name="n", size_gib=2), DEMO, "r"))
    assert ready.read(lambda tx: volume_fetch(tx, row.id)) == row
    with pytest.raises(HoldfastError):
        ready.write(lambda tx: volume_create_begin(tx, VolumeWanted(size_gib=2, zone="moon"), DEMO, "r"))
    assert ready.read(lambda tx: volume_usage(tx, "p")) == (1, 2)


def test_every_state_can_be_reached_and_left() -> None:
    reached = set(TABLE.values()) | {VolumeState.CREATING}
    left = {state for state, _ in TABLE} | {VolumeState.DELETING}  # its row goes
    assert reached == left == set(VolumeState)
    with pytest.raises(Bug):
        move(VolumeState.DELETING, "ready")
