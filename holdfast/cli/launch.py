"""`launch` and `wait`: one server that is proved to be useful.

`launch NAME` may be repeated, also after it was killed at any moment: a server of that name which launch made is
found, what is missing of it is made, and the watch goes on. Nothing is taken back on a failure: what is left is
said, and how to go on or to remove it.
"""

from __future__ import annotations

import base64
import time
import uuid
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.base.errors import BadInput, Conflict, HoldfastError, Unavailable
from holdfast.base.limits import LAUNCH_SSH_S, USER_DATA_BYTES, WATCH_S
from holdfast.cli.names import name_new
from holdfast.cli.output import Output
from holdfast.cli.phases import LATE, READY, Watch, console_tail
from holdfast.cli.session import cloud_of, key_path, known_hosts_path
from holdfast.client.cloud import Cloud
from holdfast.client.keys import key_pair_ensure, key_pair_name, private_key_ensure, public_key_read
from holdfast.client.networks import (
    external_network,
    network_choose,
    public_address_ensure,
    server_port,
    ssh_group_ensure,
)
from holdfast.client.servers import (
    flavor_find,
    one_of,
    server_create,
    server_find,
    servers_list,
    servers_named,
)
from holdfast.client.shell import USER, Reach, login_user
from holdfast.client.text import one_line

MADE, OWN_KEY = "holdfast-launch", "holdfast-key"  # metadata: launch made it; the key pair that is for it alone
COUNT_MAX = 20
_PORT_S = 30  # until a new server has its port; Holdfast makes it in the same transaction


def launch_arguments(parser: ArgumentParser) -> None:
    """What kind of server."""
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="its name (default: two friendly words)")
    parser.add_argument("--image", default="tiny", help="name or id of the image (default: tiny)")
    parser.add_argument("--flavor", default="m1.nano", help="name or id of the flavor (default: m1.nano)")
    parser.add_argument("--network", default="", help="name or id of the network (default: the project's own)")
    parser.add_argument("--no-public", action="store_true", help="no public address; ssh is not tried")
    parser.add_argument("--key", type=Path, metavar="FILE", help="your ssh key instead of one made for you")
    parser.add_argument("--user", default="", help=f"who to log in as (default: what the image says, or {USER})")
    parser.add_argument("--user-data", type=Path, metavar="FILE", help="given to the guest at its first boot")
    parser.add_argument("--count", type=int, default=1, metavar="N", help=f"that many servers, at most {COUNT_MAX}")
    _wait_argument(parser)


def _wait_argument(parser: ArgumentParser) -> None:
    words = f"how long to wait for ssh (default: {LAUNCH_SSH_S}); later is not a failure"
    parser.add_argument("--wait-s", type=float, default=LAUNCH_SSH_S, metavar="N", help=words)


class Plan(NamedTuple):
    """Everything a server is made from, looked up once."""

    image: dict[str, Any]
    flavor: dict[str, Any]
    network: dict[str, Any]
    group_id: str
    public_key: str
    user_data: str


def launch_run(options: Namespace, output: Output) -> int:
    """Make the servers, give them addresses, watch them."""
    if not 1 <= options.count <= COUNT_MAX:
        raise BadInput(f"--count must be between 1 and {COUNT_MAX}")
    cloud = cloud_of(options)
    started_s = time.monotonic()
    names = _names(cloud, options)
    plan = _plan(cloud, options)
    watches = [_begin(cloud, options, output, plan, name, started_s) for name in names]
    if len(watches) > 1:
        for watch in watches:
            watch.label = f"{watch.name}: "
    return watch_all(output, watches)


def _names(cloud: Cloud, options: Namespace) -> list[str]:
    base = options.name or name_new({server["name"] for server in servers_list(cloud)})
    return [base] if options.count == 1 else [f"{base}-{number}" for number in range(1, options.count + 1)]


def _plan(cloud: Cloud, options: Namespace) -> Plan:
    images = list(cloud.pages("image", "/images", "images"))
    image = one_of(images, options.image, "image", "holdfast images")
    if image["status"] != "active":
        raise Conflict(f"image {one_line(image['name'])!r} is {image['status']}; next: holdfast images")
    flavor = flavor_find(cloud, options.flavor)
    network = network_choose(cloud, options.network)
    if not options.no_public:
        external_network(cloud)
    key = options.key or private_key_ensure(key_path(options, cloud.credentials))
    public_key = public_key_read(key)
    return Plan(image, flavor, network, ssh_group_ensure(cloud), public_key, _user_data(options.user_data))


def _user_data(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = base64.b64encode(path.read_bytes()).decode()
    except OSError as err:
        raise BadInput(f"--user-data: {path} cannot be read: {err.strerror}") from err
    if len(text) > USER_DATA_BYTES:
        raise BadInput(f"--user-data: {path} is too large: {USER_DATA_BYTES} bytes as base64 are the limit")
    return text


def _begin(cloud: Cloud, options: Namespace, output: Output, plan: Plan, name: str, started_s: float) -> Watch:
    """Make the server unless launch made it before, and its public address; returns its watch."""
    server_id = ""
    try:
        server_id, made = _server_ensure(cloud, options, plan, name)
        output.event("server", server=name, id=server_id, made=made)
        output.line(f"{name}  {plan.image['name']}  {plan.flavor['name']}{'' if made else ' (was there)'}")
        if not options.no_public:
            public_address_ensure(cloud, server_id, _port(cloud, server_id, name)["id"])
    except HoldfastError as err:
        if server_id:
            _report_failure(cloud, output, name, server_id)
        raise _again(err, name) from err
    return _watch_of(cloud, options, output, server_id, name, plan.image, started_s)


def _server_ensure(cloud: Cloud, options: Namespace, plan: Plan, name: str) -> tuple[str, bool]:
    """The server's id, and whether it was made now."""
    known = servers_named(cloud, name)
    if known and (len(known) > 1 or MADE not in known[0]["metadata"]):
        raise Conflict(f"a server named {one_line(name)!r} is there, and launch did not make it; next: holdfast list")
    return (known[0]["id"], False) if known else (_create(cloud, options, plan, name), True)


def _create(cloud: Cloud, options: Namespace, plan: Plan, name: str) -> str:
    own = key_pair_ensure(cloud, plan.public_key, key_pair_name(name)) if options.key else ""
    wanted = {
        "name": name,
        "imageRef": plan.image["id"],
        "flavorRef": plan.flavor["id"],
        "networks": [{"uuid": plan.network["id"]}],
        "security_groups": [{"name": plan.group_id}],
        "key_name": own or key_pair_ensure(cloud, plan.public_key),
        "metadata": {MADE: "1", **({OWN_KEY: own} if own else {})},
        **({"user_data": plan.user_data} if plan.user_data else {}),
    }
    return server_create(cloud, wanted, str(uuid.uuid4()))


def _port(cloud: Cloud, server_id: str, name: str) -> dict[str, Any]:
    deadline_s = time.monotonic() + _PORT_S
    while (port := server_port(cloud, server_id)) is None:
        if time.monotonic() > deadline_s:
            raise Unavailable(f"server {name!r} has no port after {_PORT_S} s")
        time.sleep(WATCH_S)
    return port


def _watch_of(
    cloud: Cloud,
    options: Namespace,
    output: Output,
    server_id: str,
    name: str,
    image: dict[str, Any],
    started_s: float,
) -> Watch:
    public = not getattr(options, "no_public", False)
    user = options.user or login_user(image)
    key = private_of(options.key) if options.key else key_path(options, cloud.credentials)
    hosts = known_hosts_path(options, cloud.credentials)
    return Watch(
        cloud=cloud,
        output=output,
        server_id=server_id,
        name=name,
        image=one_line(image.get("name") or "image"),
        wants_public=public,
        reach_of=(lambda address: Reach(server_id, address, user, key, hosts)) if public else None,
        started_s=started_s,
        wait_s=options.wait_s,
    )


def private_of(path: Path) -> Path:
    """The private key's file, where the public one's was named."""
    return path.with_suffix("") if path.suffix == ".pub" else path


def watch_all(output: Output, watches: list[Watch]) -> int:
    """Watch them all at once to their ends; raises the first failure when all have ended."""
    failures: list[HoldfastError] = []
    while watches:
        for watch in list(watches):
            try:
                ended = watch.look()
            except HoldfastError as err:
                _report_failure(watch.cloud, output, watch.name, watch.server_id)
                failures.append(_again(err, watch.name))
                watches.remove(watch)
                continue
            if ended is not None:
                _report_end(output, watch, ended)
                watches.remove(watch)
        if watches:
            output.waiting(f"{watches[0].phase:<10}{watches[0].name} {watches[0].elapsed_s():.0f}s")
            time.sleep(WATCH_S)
    if failures:
        raise failures[0]
    return 0


def _report_end(output: Output, watch: Watch, ended: str) -> None:
    name, took_s, do = watch.name, watch.elapsed_s(), output.program
    output.event("launched", server=name, id=watch.server_id, ready=ended == READY, elapsed_s=round(took_s, 2))
    if ended == LATE:
        output.line(f"Running.   next: {do} wait {name}   (console: {do} console {name})")
        return
    command = f"{do} ssh {name}" if watch.reach_of else f"{do} show {name}"
    output.line(f"Ready in {took_s:.1f}s:   {command}      (console: {do} console {name}, delete: {do} rm {name})")


def _again(error: HoldfastError, name: str) -> HoldfastError:
    """The same failure, with what to do next."""
    if "next:" in error.message:
        return error
    return type(error)(f"{error.message}; next: holdfast launch {name}  (or: holdfast rm {name})", code=error.code)


def _report_failure(cloud: Cloud, output: Output, name: str, server_id: str) -> None:
    """The last words of the guest, and what is left of the launch."""
    tail = console_tail(cloud, server_id)
    output.event("failed", server=name, id=server_id, console=tail)
    for line in tail:
        output.line(f"  | {line}")
    output.line(f"left: server {name} ({server_id}) and what was made for it")


def wait_arguments(parser: ArgumentParser) -> None:
    """Which server, and how long."""
    parser.add_argument("name", metavar="NAME", help="name or id of a server")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the ssh key that it was launched with")
    parser.add_argument("--user", default="", help="who to log in as")
    _wait_argument(parser)


def wait_run(options: Namespace, output: Output) -> int:
    """Watch a server until ssh answers."""
    cloud = cloud_of(options)
    server = server_find(cloud, options.name)
    watch = _watch_of(cloud, options, output, server["id"], server["name"], image_of(cloud, server), time.monotonic())
    watch.wants_public = False
    output.line(server["name"])
    return watch_all(output, [watch])


def image_of(cloud: Cloud, server: dict[str, Any]) -> dict[str, Any]:
    """The image of a server; an empty one when it is gone."""
    image_id = (server.get("image") or {}).get("id")
    images = cloud.pages("image", "/images", "images", {"id": f"in:{image_id}"}) if image_id else ()
    return next((image for image in images if image["id"] == image_id), {})
