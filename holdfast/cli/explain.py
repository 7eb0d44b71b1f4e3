"""`why` and `logs`: the story of one server, as the control plane tells it and as the logs of this host have it.

Both take the id of a server that is gone: that is when they are needed most.
"""

from __future__ import annotations

import heapq
import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.base.errors import NotFound
from holdfast.base.ids import is_id
from holdfast.cli.output import Output
from holdfast.cli.session import cloud_of
from holdfast.client.servers import server_find
from holdfast.client.text import one_line

_STAMP_CHARS = 23  # 2026-11-21 04:50:48.864: text of one length sorts as time does


def why_arguments(parser: ArgumentParser) -> None:
    """Which server."""
    parser.add_argument("name", metavar="NAME", help="name of a server, or the id of one that may be gone")


def why_run(options: Namespace, output: Output) -> int:
    """Print what goes on with it, what is waited for, and what has been done."""
    cloud = cloud_of(options)
    server_id = options.name if is_id(options.name) else server_find(cloud, options.name)["id"]
    story = cloud.get("holdfast", f"/debug/v1/why/{server_id}")
    if output.as_json:
        output.document(story)
        return 0
    task = f" ({story['task_state']})" if story["task_state"] else ""
    output.line(f"{story['name']}  {story['id']}  {story['status']}{task}")
    output.line(f"  {story['because']}")
    if host := story["host"]:
        problems = f", problems: {', '.join(host['problems'])}" if host["problems"] else ""
        output.line(f"  host {host['name']} is {'up' if host['up'] else 'silent'}{problems}")
    if seen := story["seen"]:
        reason = f": {seen['reason']}" if seen["reason"] else ""
        output.line(f"  the host saw it {seen['phase']} at {seen['at']}{reason}")
    for act in story["acts"]:
        _act(output, act)
    return 0


def _act(output: Output, act: dict[str, Any]) -> None:
    waiting = f", waiting for {act['waiting_for']}, next try {act['next_try']}" if act["next_try"] else ""
    error = f": {act['error']}" if act["error"] else ""
    output.line(f"  {act['started']}  {act['kind']} {act['state']}{waiting}{error}  ({act['request_id']})")
    for host, reason in act["rejected_hosts"].items():
        output.line(f"      host {host} rejected: {reason}")
    for step in act["steps"]:
        output.line(f"      {step['at']}  {step['step']} {step['result']}  {step['detail']}")


def logs_arguments(parser: ArgumentParser) -> None:
    """Which server."""
    parser.add_argument("name", metavar="NAME", help="name of a server, or the id of one that may be gone")


def logs_run(options: Namespace, output: Output) -> int:
    """Print every line about it, of all processes of this host, in the order of time."""
    server_id = options.name if is_id(options.name) else server_find(cloud_of(options), options.name)["id"]
    directory = Path(options.state) / "logs"
    if not directory.is_dir():
        raise NotFound(f"{directory} is not there: logs are on the cloud's own host; next: holdfast why {server_id}")
    found = 0
    for stamp, process, line in log_lines(directory, server_id):
        found += 1
        if output.as_json:
            output.document({"time": stamp, "process": process, "line": line})
        else:
            output.line(line)
    if not found:
        raise NotFound(f"no log in {directory} mentions {server_id}; next: holdfast why {server_id}")
    return 0


def log_lines(directory: Path, words: str) -> Iterator[tuple[str, str, str]]:
    """(time, process, line) of every line that holds the words, over all logs, oldest first."""
    names = sorted({path.name.removesuffix(".1") for path in directory.glob("*.log*")})
    return heapq.merge(*(_of_process(directory / name, words) for name in names if name.endswith(".log")))


def _of_process(path: Path, words: str) -> Iterator[tuple[str, str, str]]:
    for generation in (path.with_name(f"{path.name}.1"), path):
        try:
            with generation.open(encoding="utf-8", errors="backslashreplace") as file:
                for line in file:
                    if words in line:
                        yield _stamp(line), path.stem, one_line(line.rstrip("\n"))
        except FileNotFoundError:
            continue


def _stamp(line: str) -> str:
    """The time of a line, in one form for text and JSON logs."""
    if not line.startswith("{"):
        return line[:_STAMP_CHARS]
    try:
        at_s = float(json.loads(line)["time"])
    except (ValueError, KeyError, TypeError):
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s)) + f".{int(at_s * 1000) % 1000:03d}"
