"""Instance actions over HTTP: the story of a server, as its owner and as an administrator may read it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.base import ids
from holdfast.control.store.database import Tx
from holdfast.control.store.operation import operation_event_add, operation_insert, operation_supersede
from holdfast.domain.instance import Instance, InstanceState
from tests.api.nova_cloud import add_host, add_server, at, nova, ok, refused
from tests.conftest import Cloud

__all__ = ["nova"]


def url(row: Instance) -> str:
    return f"/compute/v2.1/servers/{row.id}/os-instance-actions"


def begin(cloud: Cloud, row: Instance, kind: str = "server_create", step: str = "spawn") -> str:
    """An operation on a server that is going on; returns its request."""
    request_id = ids.new_request_id()

    def change(tx: Tx) -> None:
        operation_insert(
            tx,
            kind=kind,
            step=step,
            resource_id=row.id,
            project_id=row.project_id,
            user_id="u",
            request_id=request_id,
            deadline_s=300,
        )

    cloud.services.store.write(change)
    cloud.clock.advance_s(1)
    return request_id


def end(cloud: Cloud, row: Instance, reason: str = "the server is being deleted") -> None:
    cloud.services.store.write(lambda tx: operation_supersede(tx, row.id, reason))
    cloud.clock.advance_s(1)


def event(cloud: Cloud, row: Instance, step: str, result: str, host_id: str = "", detail: str = "") -> None:
    from holdfast.control.store.operation import operation_open_of

    def change(tx: Tx) -> None:
        operation = operation_open_of(tx, row.id)
        assert operation is not None
        operation_event_add(tx, operation.id, step, result, host_id, detail)

    cloud.services.store.write(change)
    cloud.clock.advance_s(1)


def test_actions_are_operations_newest_first_in_novas_words(nova: Cloud) -> None:
    row = add_server(nova.services.store, nova.known.demo_project_id)
    requests = []
    for kind in ("server_create", "server_reboot", "server_capture", "server_revert", "server_delete"):
        requests.append(begin(nova, row, kind))
        end(nova, row)
    actions = ok(nova.as_user().get(url(row)))["instanceActions"]
    assert [action["action"] for action in actions] == ["delete", "revertResize", "createImage", "reboot", "create"]
    assert [action["request_id"] for action in actions] == requests[::-1]
    assert set(actions[0]) == {
        *("action", "instance_uuid", "request_id", "user_id", "project_id", "start_time", "message"),
    }
    assert actions[0]["message"] == "the server is being deleted"


@pytest.mark.parametrize(
    ("version", "user", "shape"),
    [
        ("2.1", "demo", None),
        ("2.1", "admin", {"event", "start_time", "finish_time", "result", "traceback"}),
        ("2.51", "demo", {"event", "start_time", "finish_time", "result"}),
        ("2.62", "demo", {"event", "start_time", "finish_time", "result", "hostId"}),
        ("2.62", "admin", {"event", "start_time", "finish_time", "result", "traceback", "hostId", "host"}),
        ("2.84", "demo", {"event", "start_time", "finish_time", "result", "hostId"}),
        ("2.84", "admin", {"event", "start_time", "finish_time", "result", "traceback", "hostId", "host", "details"}),
    ],
)
def test_events_show_what_their_version_and_the_reader_may_see(
    nova: Cloud, version: str, user: str, shape: set[str] | None
) -> None:
    row = add_server(nova.services.store, nova.known.demo_project_id)
    host_id = add_host(nova.services.store, "lab1")
    request_id = begin(nova, row)
    event(nova, row, "schedule", "done", host_id, "on lab1")
    event(nova, row, "spawn", "failed", host_id, "no such image")
    action = ok(at(nova.as_user(user, "demo"), version).get(f"{url(row)}/{request_id}"))["instanceAction"]
    if shape is None:
        assert "events" not in action
        return
    done, failed, going_on = action["events"]
    assert set(done) == set(failed) == set(going_on) == shape
    assert (done["event"], done["result"], failed["result"]) == ("create_schedule", "Success", "Error")
    assert (going_on["finish_time"], going_on["result"]) == (None, None)
    assert done["start_time"] == action["start_time"]
    assert failed["start_time"] == done["finish_time"] < failed["finish_time"]
    if user == "demo":
        assert "lab1" not in str(action)
        assert host_id not in str(action)
    if "host" in shape:
        assert done["host"] == "lab1"


def test_actions_are_paged_and_filtered_since_2_58(nova: Cloud) -> None:
    row, demo = add_server(nova.services.store, nova.known.demo_project_id), at(nova.as_user(), "2.66")
    made = []
    for _ in range(5):
        made.append(begin(nova, row, "server_reboot"))
        end(nova, row)
    seen, following = [], f"{url(row)}?limit=2"
    updated = []
    while following:
        page = ok(demo.get(following))
        seen += [action["request_id"] for action in page["instanceActions"]]
        updated += [action["updated_at"] for action in page["instanceActions"]]
        following = page["links"][0]["href"].partition("5000")[2] if "links" in page else ""
    assert seen == made[::-1]

    def between(**arguments: str) -> list[str]:
        query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in arguments.items())
        return [a["request_id"] for a in ok(demo.get(f"{url(row)}?{query}"))["instanceActions"]]

    assert between(changes_since=updated[1]) == made[:2:-1]
    assert between(changes_since=updated[3], changes_before=updated[3]) == [made[1]]
    for wrong in ("changes-since=never", "marker=req-x", "colour=red", "limit=x"):
        assert demo.get(f"{url(row)}?{wrong}").status == 400, wrong
    wrong = f"{url(row)}?changes-since={updated[0]}&changes-before={updated[1]}"
    assert "must be less than or equal" in refused(demo.get(wrong), 400, "badRequest")
    assert at(demo, "2.65").get(f"{url(row)}?changes-before={updated[0]}").status == 400
    assert len(ok(at(demo, "2.57").get(f"{url(row)}?limit=1&colour=red"))["instanceActions"]) == 5


def test_the_story_of_a_deleted_server_is_told_since_2_21(nova: Cloud) -> None:
    row = add_server(nova.services.store, nova.known.demo_project_id, state=InstanceState.DELETED)
    request_id, demo = begin(nova, row, "server_delete"), nova.as_user()
    assert demo.get(url(row)).status == 404
    assert at(demo, "2.20").get(f"{url(row)}/{request_id}").status == 404
    assert len(ok(at(demo, "2.21").get(url(row)))["instanceActions"]) == 1
    assert ok(at(demo, "2.21").get(f"{url(row)}/{request_id}"))["instanceAction"]["action"] == "delete"


def test_another_projects_server_has_no_story(nova: Cloud) -> None:
    row = add_server(nova.services.store, nova.known.admin_project_id)
    request_id: Any = begin(nova, row)
    demo = at(nova.as_user(), "2.96")
    message = refused(demo.get(url(row)), 404, "itemNotFound")
    assert message == f"Instance {row.id} could not be found."
    assert demo.get(f"{url(row)}/{request_id}").status == 404
    mine = add_server(nova.services.store, nova.known.demo_project_id)
    assert "not found" in refused(demo.get(f"{url(mine)}/{request_id}"), 404, "itemNotFound")
