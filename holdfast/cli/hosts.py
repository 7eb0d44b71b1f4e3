"""`host`, `evacuate`, `evacuations`: the operator's commands about compute hosts. All act as the administrator."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from holdfast.base.errors import BadInput, Conflict, Unavailable
from holdfast.base.limits import DRAIN_S, FENCE_WAIT_S, WATCH_S
from holdfast.cli.drains import drain_run
from holdfast.cli.output import Output, age
from holdfast.cli.session import admin_cloud_of
from holdfast.client.cloud import Cloud
from holdfast.client.text import instant_s

ACTIONS = ("list", "show", "enable", "disable", "drain", "fence", "fence-config", "forget", "kill", "start")


def host_arguments(parser: ArgumentParser) -> None:
    """What to do, and with which host."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="name or id of a host")
    parser.add_argument("--reason", default="", help="why it is disabled; shown to whoever asks")
    parser.add_argument("--confirmed", action="store_true", help="fence: I have seen that this host is off")
    parser.add_argument("--timeout", type=int, default=DRAIN_S, metavar="S", help="drain: the seconds it may take")
    parser.add_argument("--live-only", action="store_true", help="drain: end no server that cannot be moved live")
    parser.add_argument("--no-wait", action="store_true", help="drain: begin it, and do not watch it")
    parser.add_argument("--cancel", action="store_true", help="drain: stop the one that goes on")
    parser.add_argument("--file", type=Path, metavar="FILE", help="fence-config: JSON that says how it is switched off")


def host_run(options: Namespace, output: Output) -> int:
    """Do it."""
    cloud = admin_cloud_of(options)
    if options.action == "list":
        return _hosts(cloud, output)
    if not options.name:
        raise BadInput(f"which host? next: holdfast host {options.action} NAME, and: holdfast host list")
    path = f"/operator/v1/hosts/{quote(options.name, safe='')}"
    if options.action in ("kill", "start"):
        return _plug(options, output)
    if options.action == "show":
        return _show(cloud, output, path)
    if options.action == "fence":
        return _fence(cloud, output, path, options)
    if options.action == "fence-config":
        return _fence_config(cloud, output, path, options.file)
    if options.action == "drain":
        return drain_run(cloud, output, path, options)
    if options.action == "forget":
        _forget(cloud, path, options)
    else:
        cloud.post("holdfast", f"{path}/{options.action}", {"reason": options.reason})
    done = {"enable": "enabled", "disable": "disabled", "forget": "forgot"}[options.action]
    output.event(done, host=options.name)
    output.line(f"{done} {options.name}")
    return 0


def evacuate_arguments(parser: ArgumentParser) -> None:
    """Which host, and how."""
    parser.add_argument("name", metavar="HOST", help="name or id of a host that is dead")
    parser.add_argument("--dry-run", action="store_true", help="say what would become of each server; change nothing")
    parser.add_argument("--target", default="", metavar="HOST", help="the only host that they may go to")
    words = "where a disk is on that host alone: give it up, and make the server anew from its image"
    parser.add_argument("--rebuild-from-image", action="store_true", help=words)


def evacuate_run(options: Namespace, output: Output) -> int:
    """Start its servers elsewhere; repeated, it says what goes on. 1 when a server cannot go."""
    body = {"dry_run": options.dry_run, "target": options.target, "rebuild": options.rebuild_from_image}
    path = f"/operator/v1/hosts/{quote(options.name, safe='')}/evacuate"
    verdicts = admin_cloud_of(options).post("holdfast", path, body)["servers"]
    if output.as_json:
        output.document(verdicts)
    elif verdicts:
        head = ("SERVER", "PRIORITY", "OUTCOME", "HOST", "ID", "REASON")
        rows = [(v["name"], v["priority"], v["outcome"], v["host"], v["instance_id"], v["reason"]) for v in verdicts]
        output.table(head, rows)
        if not options.dry_run:
            output.line("next: holdfast evacuations --watch")
    else:
        output.line(f"nothing is on {options.name}")
    return 1 if any(v["outcome"] in ("stays", "waits") for v in verdicts) else 0


def evacuations_arguments(parser: ArgumentParser) -> None:
    """Once, or until they are over."""
    parser.add_argument("--watch", action="store_true", help="go on until none is open; a line for each change")
    parser.add_argument("--open", action="store_true", help="only those that are not over")


def evacuations_run(options: Namespace, output: Output) -> int:
    """Print the evacuations, newest first, each with its step and reason."""
    cloud = admin_cloud_of(options)
    if options.watch:
        return _watch(cloud, output)
    acts = _acts(cloud, options.open)
    if output.as_json:
        output.document(acts)
    elif acts:
        head = ("SERVER", "STATE", "STEP", "FROM", "TO", "PRIORITY", "AGE", "REASON")
        output.table(head, [_row(act) for act in acts])
    else:
        output.line("no evacuations; next: holdfast host list")
    return 0


def _forget(cloud: Cloud, path: str, options: Namespace) -> None:
    """Not a host of this machine: the next `up` would make it again."""
    name = cloud.get("holdfast", path)["host"]["name"]
    if (Path(options.state) / "hosts" / name).exists():
        raise Conflict(f"{name} is a host of this machine: `up` would make it again. It goes with: holdfast destroy")
    cloud.delete("holdfast", path)


def _plug(options: Namespace, output: Output) -> int:
    """Of one of several hosts on this machine: pull its plug, or put it back."""
    from holdfast.daemon import plug

    state = Path(options.state).absolute()
    if options.action == "start":
        plug.host_start(state, options.name)
        output.line(f"{options.name} has power again; next: holdfast host list")
        return 0
    guests = plug.host_kill(state, options.name)
    output.event("killed", host=options.name, guests=guests)
    output.line(f"pulled the plug of {options.name}, with {guests} guests; next: holdfast evacuations --watch")
    output.line(f"to put it back: holdfast host start {options.name}")
    return 0


def _hosts(cloud: Cloud, output: Output) -> int:
    answer = cloud.get("holdfast", "/operator/v1/hosts")
    if output.as_json:
        output.document(answer)
        return 0
    head = ("NAME", "STATE", "PHASE", "ENABLED", "SERVERS", "LEASE", "GUARANTEE", "ZONE", "ID")
    output.table(head, [_host_row(host) for host in answer["hosts"]])
    for host in answer["hosts"]:
        if host["shunned_until"]:
            output.line(
                f"{host['name']} failed to build {host['builds_failed']} servers in a row, which other hosts built "
                f"({host['builds_failed_reason']}): it is chosen last until {host['shunned_until']}; next: mend it, "
                f"then: holdfast host enable {host['name']}"
            )
    if answer["evacuation_braked"]:
        output.line(
            "too many hosts are lost at once: nothing is evacuated by itself, for the fault is more likely the "
            "network's or the store's; next: holdfast evacuate HOST --dry-run"
        )
    return 0


def _host_row(host: dict[str, Any]) -> tuple[object, ...]:
    lease = f"{host['lease_left_s']:.0f}s" + ("" if host["lease_enforced"] else " (not enforced)")
    enabled = "yes" if host["enabled"] else f"no ({host['disabled_reason'] or 'no reason given'})"
    fenced = f" by {host['fenced_by']}" if host["fenced_by"] else ""
    servers, phase = host["servers"], host["phase"] + fenced
    return (host["name"], host["state"], phase, enabled, servers, lease, host["guarantee"], host["zone"], host["id"])


def _show(cloud: Cloud, output: Output, path: str) -> int:
    host = cloud.get("holdfast", path)["host"]
    if output.as_json:
        output.document(host)
        return 0
    for key, value in host.items():
        if key not in ("proofs", "departed", "problems"):
            output.line(f"{key:<16} {'-' if value in (None, '') else value}")
    for key in ("problems", "departed"):
        output.line(f"{key:<16} {', '.join(host[key]) or '-'}")
    for proof in host["proofs"]:
        output.line(f"proof            {proof['at']} {proof['kind']} by {proof['by'] or 'the cloud'}: {proof['words']}")
    return 0


def _fence(cloud: Cloud, output: Output, path: str, options: Namespace) -> int:
    """Ask, then wait until it is fenced: the lease has to lapse as well."""
    answer = cloud.post("holdfast", f"{path}/fence", {"confirmed": options.confirmed, "words": options.reason})
    deadline_s = time.monotonic() + FENCE_WAIT_S
    while not answer["fenced"]:
        if time.monotonic() > deadline_s:
            raise Unavailable(f"{options.name} is not fenced: wanted is {answer['missing']}", code="fence")
        output.progress(f"waiting for {answer['missing']}")
        time.sleep(WATCH_S)
        host = cloud.get("holdfast", path)["host"]
        answer = {"fenced": host["phase"] == "fenced", "missing": host["missing"]}
    output.event("fenced", host=options.name)
    output.line(f"fenced {options.name}; next: holdfast evacuate {options.name}")
    return 0


def _fence_config(cloud: Cloud, output: Output, path: str, file: Path | None) -> int:
    if file is not None:
        try:
            document = file.read_text()
        except OSError as err:
            raise BadInput(f"{file} cannot be read: {err.strerror}") from err
        try:
            body = json.loads(document)
        except ValueError as err:
            raise BadInput(f"{file} is not JSON: {err}") from err
        cloud.call("PUT", "holdfast", f"{path}/fence-config", body)
    output.document(cloud.get("holdfast", f"{path}/fence-config"))
    return 0


def _acts(cloud: Cloud, open_only: bool) -> list[dict[str, Any]]:
    return list(cloud.get("holdfast", "/operator/v1/evacuations", {"open": "true"} if open_only else {})["evacuations"])


def _row(act: dict[str, Any]) -> tuple[object, ...]:
    reason = act["reason"] or act["waiting_for"] or "-"
    step = act["step"] if act["state"] == "open" else "-"
    name, priority = act["server"] or act["server_id"], act["priority"]
    old = age(time.time() - instant_s(act["created_at"]))
    return (name, act["state"], step, act["source"], act["host"] or "-", priority, old, reason)


def _watch(cloud: Cloud, output: Output) -> int:
    """A line for each change. What is over already when the watching begins is not told."""
    told = {act["id"]: _told(act) for act in _acts(cloud, False) if act["state"] != "open"}
    seen_any = False
    while True:
        acts = _acts(cloud, False)
        for act in reversed(acts):
            if told.get(act["id"]) != _told(act):
                told[act["id"]] = _told(act)
                output.event("evacuation", **act)
                output.line(f"{time.strftime('%H:%M:%S')}  {'  '.join(str(word) for word in _row(act))}")
        open_now = any(act["state"] == "open" for act in acts)
        if seen_any and not open_now:
            return 0
        seen_any = seen_any or open_now
        if not seen_any:
            output.progress("no evacuation is going on yet")
        time.sleep(WATCH_S)


def _told(act: dict[str, Any]) -> tuple[Any, ...]:
    return (act["state"], act["step"], act["host"], act["reason"], act["waiting_for"])
