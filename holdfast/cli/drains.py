"""`host drain`: begin it, watch it, call it off. The drain goes on without the command that began it."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from holdfast.base.limits import WATCH_S
from holdfast.cli.output import Output
from holdfast.client.cloud import Cloud


def drain_run(cloud: Cloud, output: Output, path: str, options: Namespace) -> int:
    """1 when a server stays on the host."""
    if options.cancel:
        cloud.delete("holdfast", f"{path}/drain")
        output.event("cancelled", host=options.name)
        output.line(f"{options.name} is not drained any more; what has moved stays where it is: holdfast host list")
        return 0
    body = {"timeout_s": options.timeout, "live_only": options.live_only}
    drain = cloud.post("holdfast", f"{path}/drain", body)["drain"]
    if options.no_wait:
        output.line(f"draining {options.name}; next: holdfast host drain {options.name}, to watch, or with --cancel")
        return 0
    told: dict[str, tuple[str, str]] = {}
    while True:
        _tell(output, drain, told)
        if drain["state"] != "open":
            return _end(output, drain)
        output.progress(f"draining {options.name}, {drain['left_s']:.0f} s left: {drain['waiting_for'] or 'begins'}")
        time.sleep(WATCH_S)
        drain = cloud.get("holdfast", f"{path}/drain")["drain"]


def _tell(output: Output, drain: dict[str, Any], told: dict[str, tuple[str, str]]) -> None:
    for verdict in drain["servers"]:
        word = (verdict["outcome"], verdict["host"])
        if verdict["outcome"] and told.get(verdict["instance_id"]) != word:
            told[verdict["instance_id"]] = word
            output.event("verdict", **verdict)
            output.line(f"{verdict['name']}  {verdict['outcome']}  {verdict['host'] or verdict['reason']}")


def _end(output: Output, drain: dict[str, Any]) -> int:
    servers = drain["servers"]
    stays = sum(verdict["outcome"] == "stays" for verdict in servers)
    output.event("drained", **drain)
    if drain["state"] == "cancelled":
        output.line(f"the drain of {drain['host']} was cancelled")
        return 1
    if stays:
        output.line(f"{stays} of {len(servers)} servers stay on {drain['host']}")
        return 1
    output.line(f"{drain['host']} is empty, and gets nothing new; afterwards: holdfast host enable {drain['host']}")
    return 0
