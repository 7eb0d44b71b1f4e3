"""Servers through Nova's API: filters, metadata, tags, locks, microversions, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.world import IMAGE, World


def names(world: World, query: str) -> list[str]:
    answer = world.nova("GET", f"/servers?sort_key=name&sort_dir=asc&{query}")
    assert answer.status == 200, answer.body
    return [server["name"] for server in answer.json["servers"]]


def test_lists_are_filtered_by_tag_name_and_status_and_paged_without_losing_any(world: World) -> None:
    ids = [world.boot(name, tags=[tag, "all"]) for name, tag in (("a%b", "x_y"), ("a_b", "xzy"), ("other", 'q"'))]
    assert names(world, "tags=x_y") == ["a%b"], "LIKE's own signs are only letters"
    assert names(world, "tags=all") == ["a%b", "a_b", "other"]
    assert names(world, "tags-any=xzy,x_y") == ["a%b", "a_b"]
    assert names(world, "name=a_b") == ["a_b"] and names(world, "name=^a.b$") == ["a%b", "a_b"]
    assert world.nova("GET", "/servers?name=(a%2B)%2B$").status == 400, "no pattern may occupy the control plane"
    assert names(world, "status=BUILD") == ["a%b", "a_b", "other"]
    world.settle()
    assert names(world, "status=BUILD") == [] and len(names(world, "status=ACTIVE")) == 3
    first = world.nova("GET", "/servers?limit=2").json
    second = world.nova("GET", f"/servers?limit=2&marker={first['servers'][-1]['id']}").json
    assert {server["id"] for page in (first, second) for server in page["servers"]} == set(ids)


def test_a_field_is_shown_from_its_version_on_and_never_before(world: World) -> None:
    server_id = world.boot()
    for field, since in (("locked", 9), ("description", 19), ("tags", 26), ("locked_reason", 73)):
        for minor in (since - 1, since):
            headers = {"openstack-api-version": f"compute 2.{minor}"}
            server = world.demo.get(f"/compute/v2.1/servers/{server_id}", headers=headers).json["server"]
            assert (field in server) == (minor >= since), (field, minor)
    old = world.demo.get(f"/compute/v2.1/servers/{server_id}").json["server"]
    assert old["flavor"]["id"] == "42", "Terraform sends no version and needs the id"
    assert world.server(server_id)["flavor"]["original_name"] == "m1.nano"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"flavorRef": "no-such"}, 400),
        ({"imageRef": "99999999-9999-4999-8999-999999999999"}, 400),
        ({"imageRef": "../../etc/passwd"}, 400),
        ({"key_name": "no-such"}, 400),
        ({"networks": [{"uuid": "99999999-9999-4999-8999-999999999999"}]}, 404),
        ({"networks": [{"port": "99999999-9999-4999-8999-999999999999"}]}, 400),
        ({"security_groups": [{"name": "no-such"}]}, 400),
        ({"name": "line\nbreak"}, 400),
        ({"name": "x" * 256}, 400),
        ({"name": "   "}, 400),
        ({"accessIPv4": "1.2.3.4.5"}, 400),
        ({"accessIPv4": "::1"}, 400),
        ({"accessIPv6": 7}, 400),
        ({"user_data": "QQ==" * 20_000}, 400),
        ({"user_data": "not base64!"}, 400),
        ({"metadata": {"k": 1}}, 400),
        ({"min_count": 3, "max_count": 2}, 400),
        ({"surprise": True}, 400),
        ({"availability_zone": "nova:h1"}, 403),
        ({"tags": ["a,b"]}, 400),
        ({"personality": [{"path": "/x", "contents": ""}]}, 501),
    ],
)
def test_bad_input_gets_a_clear_answer_and_takes_nothing(world: World, changes: dict[str, Any], status: int) -> None:
    body = {"name": "web", "imageRef": IMAGE, "flavorRef": "42", "networks": "auto", **changes}
    answer = world.nova("POST", "/servers", {"server": body})
    assert answer.status == status, answer.body
    fault = next(iter(answer.json.values()))
    assert fault["code"] == status and len(fault["message"]) > 10
    assert names(world, "") == []
    assert world.demo.get("/network/v2.0/ports?device_owner=compute:nova").json == {"ports": []}


def test_the_addresses_that_its_owner_names_are_shown_and_changed(world: World) -> None:
    path = f"/servers/{world.boot(accessIPv4='1.1.1.1', accessIPv6='2001:DB8::0:1')}"

    def shown() -> tuple[str, str]:
        server = world.nova("GET", path).json["server"]
        return server["accessIPv4"], server["accessIPv6"]

    assert shown() == ("1.1.1.1", "2001:db8::1")
    assert world.nova("PUT", path, {"server": {"accessIPv4": "2.2.2.2", "accessIPv6": ""}}).status == 200
    assert shown() == ("2.2.2.2", "")
    assert world.nova("PUT", path, {"server": {"accessIPv4": "2.2.2"}}).status == 400
    assert shown() == ("2.2.2.2", "")


def test_four_hundred_lines_of_user_data_reach_the_guests_metadata(world: World) -> None:
    import base64

    script = "#!/bin/sh\n" + "echo line\n" * 400
    server_id = world.boot(user_data=base64.b64encode(script.encode()).decode())
    world.settle()
    machine = world.hosts[0].desk.machine(server_id)
    assert machine is not None and base64.b64decode(machine.metadata.user_data).decode() == script


def test_a_locked_server_is_left_alone_by_everybody_but_administrators(world: World) -> None:
    server_id = world.boot()
    world.settle()
    assert world.act(server_id, "lock", {"locked_reason": "careful"}).status == 202
    assert world.server(server_id)["locked_reason"] == "careful"
    for word in ("os-stop", "pause"):
        assert world.act(server_id, word).status == 409
    assert world.nova("DELETE", f"/servers/{server_id}").status == 409
    assert world.nova("DELETE", f"/servers/{server_id}", client=world.admin).status == 204


def test_metadata_and_tags_are_read_written_and_removed(world: World) -> None:
    path = f"/servers/{world.boot(metadata={'a': '1'})}"
    world.settle()
    assert world.nova("POST", f"{path}/metadata", {"metadata": {"b": "2"}}).json == {"metadata": {"a": "1", "b": "2"}}
    assert world.nova("PUT", f"{path}/metadata/b", {"meta": {"b": "3"}}).json == {"meta": {"b": "3"}}
    assert world.nova("DELETE", f"{path}/metadata/a").status == 204
    assert world.nova("GET", f"{path}/metadata").json == {"metadata": {"b": "3"}}
    assert world.nova("GET", f"{path}/metadata/a").status == 404
    assert world.nova("PUT", f"{path}/tags/red").status == 201
    assert world.nova("PUT", f"{path}/tags/red").status == 204
    assert world.nova("GET", f"{path}/tags").json == {"tags": ["red"]}
    assert world.nova("DELETE", f"{path}/tags/red").status == 204
    assert world.nova("DELETE", f"{path}/tags/red").status == 404


def test_a_strangers_server_is_not_there_and_nothing_works_without_a_token(world: World) -> None:
    from holdfast.api.compute import server_actions, server_parts, servers

    server_id = world.boot()
    world.settle()
    before = world.server(server_id)
    assert world.nova("GET", f"/servers/{server_id}", client=world.admin).status == 200, "administrators see everything"
    for route in (*servers.ROUTES, *server_actions.ROUTES, *server_parts.ROUTES):
        url = route.path.replace("{server_id}", server_id).replace("{key}", "k").replace("{tag}", "t")
        url = "/compute" + url.replace("{network}", "n").replace("{port_id}", server_id).replace(
            "{volume_id}", server_id
        )
        version = {"openstack-api-version": f"compute 2.{max(route.since, 1)}"}
        assert world.cloud.client.request(route.method, url, {}, version).status == 401, (route.method, route.path)
    assert world.server(server_id) == before


def test_a_guests_console_is_readable_and_harmless(world: World) -> None:
    from holdfast.control.store.console import console_append

    server_id = world.boot()
    world.settle()
    words = b"boot\n\x1b[31mred\x07\nready\n"
    world.store.write(lambda tx: console_append(tx, server_id, 0, words, False))
    output = world.act(server_id, "os-getConsoleOutput", {}).json["output"]
    assert "ready" in output and "\x1b" not in output and "\x07" not in output
    assert world.act(server_id, "os-getConsoleOutput", {"length": 1}).json["output"].strip() == "ready"
    assert world.act(server_id, "os-getConsoleOutput", {"length": "many"}).status == 400


def test_a_tenant_forces_no_host_and_hints_from_within_mean_nothing(world: World) -> None:
    plain = {"name": "web", "imageRef": IMAGE, "flavorRef": "42", "networks": "none"}
    for words in ({"availability_zone": "nova:h1"}, {"host": "h1"}, {"hypervisor_hostname": "h1"}):
        assert world.nova("POST", "/servers", {"server": {**plain, **words}}).status == 403, words
    hints = {"_nova_check_type": ["rebuild"], "force_hosts": "h1", "host_id": "h1", "requested_destination": {}}
    answer = world.nova("POST", "/servers", {"server": plain, "os:scheduler_hints": hints})
    assert answer.status == 202, answer.body
    world.settle()
    assert world.server(answer.json["server"]["id"])["status"] == "ACTIVE"
    assert world.audit() == []
