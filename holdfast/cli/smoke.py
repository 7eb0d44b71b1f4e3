"""`smoke`: the ten steps that prove a cloud, with EC2's API or OpenStack's, and the times they took."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from holdfast.base.errors import BadInput
from holdfast.base.limits import CONSOLE_TAIL_LINES, SMOKE_CLIENTS
from holdfast.cli.output import Output
from holdfast.cli.session import cloud_of, credentials_of
from holdfast.client.cloud import Cloud
from holdfast.client.connection import Http
from holdfast.client.text import console_text
from holdfast.validate import smoke
from holdfast.validate.figures import figures_of, seconds
from holdfast.validate.smoke import Inventory, Outcome, Plan
from holdfast.validate.steps import FAILED, SKIPPED, STEPS, Result, Side

LOOPS_MAX = 10_000


def smoke_arguments(parser: ArgumentParser) -> None:
    """Which API, how often, and where the report goes."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--ec2", action="store_true", help="speak EC2 (the default where there is an access key)")
    kinds.add_argument("--openstack", action="store_true", help="speak OpenStack")
    parser.add_argument("--loops", type=int, default=1, metavar="N", help="how often each client does it")
    parser.add_argument("--clients", type=int, default=1, metavar="N", help="clients side by side")
    parser.add_argument("--image", default="tiny", help="name or id of the image (default: tiny)")
    parser.add_argument("--flavor", default="m1.nano", help="name of the flavor (default: m1.nano)")
    parser.add_argument("--user", default="", help="who to log in as (default: what the image says)")
    parser.add_argument("--elastic", action="store_true", help="EC2: allocate an address even if there is a public one")
    parser.add_argument("--keep-failed", action="store_true", help="leave a failed guest as it is, to look at it")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report")


def smoke_run(options: Namespace, output: Output) -> int:
    """Run it, print the figures; 1 when anything failed or was left."""
    plan = _plan(options)
    make_side, inventory, api = _ec2(options) if _is_ec2(options) else _openstack(options)
    output.event("begin", api=api, loops=plan.loops, clients=plan.clients)
    output.line(f"holdfast smoke: {api}, {plan.clients} clients, {plan.loops} loops, no call is repeated")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way the guests are removed
    told: Counter[str] = Counter(asked=plan.clients * plan.loops)
    outcome = smoke.smoke_run(plan, make_side, inventory, lambda result: _tell(output, result, told), threading.Event())
    if options.junit:
        _write_junit(options.junit, outcome, f"holdfast smoke {api}")
    _report(output, outcome)
    return 1 if outcome.failed else 0


def _plan(options: Namespace) -> Plan:
    for name, most in (("loops", LOOPS_MAX), ("clients", SMOKE_CLIENTS)):
        if not 1 <= getattr(options, name) <= most:
            raise BadInput(f"--{name} must be between 1 and {most}")
    if options.elastic and options.openstack:
        raise BadInput("--elastic is for EC2; with --openstack an address is always allocated")
    return Plan(options.loops, options.clients, options.keep_failed)


def _is_ec2(options: Namespace) -> bool:
    return options.ec2 or (not options.openstack and bool(credentials_of(options).ec2_access))


def _ec2(options: Namespace) -> tuple[Callable[[str], Side], Inventory, str]:
    from holdfast.client.ec2 import Ec2
    from holdfast.client.shell import USER
    from holdfast.validate.ec2_side import Ec2Side, ec2_inventory

    known = credentials_of(options)

    def ec2() -> Ec2:
        return Ec2(Http(), f"{known.base}/ec2", known.ec2_access, known.ec2_secret, known.region)

    def side(name: str) -> Side:
        return Ec2Side(ec2(), name, options.image, options.flavor, options.user or USER, options.elastic)

    return side, lambda: ec2_inventory(ec2()), "EC2"


def _openstack(options: Namespace) -> tuple[Callable[[str], Side], Inventory, str]:
    from holdfast.validate.openstack_side import OpenStackSide, openstack_inventory

    def cloud() -> Cloud:
        return cloud_of(options)

    def side(name: str) -> Side:
        return OpenStackSide(cloud(), name, options.image, options.flavor, options.user)

    return side, lambda: openstack_inventory(cloud()), "OpenStack"


def _tell(output: Output, result: Result, told: Counter[str]) -> None:
    told["ended"] += result.number == STEPS
    told["failed"] += result.outcome == FAILED
    output.event(
        "step",
        client=result.client,
        loop=result.loop,
        number=result.number,
        step=result.step,
        result=result.outcome,
        took_s=round(result.took_s, 3),
        detail=result.words,
        console=result.console,
    )
    where = f"client {result.client} loop {result.loop} step {result.number} {result.step}"
    if result.outcome == SKIPPED and result.words:
        output.line(f"  {where}: {result.words}")
    if result.outcome != FAILED:
        output.progress(f"{told['ended']} of {told['asked']} loops, {told['failed']} steps failed; {where}")
        return
    output.line(f"  failed  {where}  {result.took_s:.1f}s  {result.words}")
    for line in console_text(result.console).splitlines()[-CONSOLE_TAIL_LINES:]:
        output.line(f"          | {line}")


def _write_junit(path: Path, outcome: Outcome, name: str) -> None:
    from holdfast.validate.junit import junit_of

    try:
        path.write_bytes(junit_of(outcome, name))
    except OSError as err:
        raise BadInput(f"--junit: {path} cannot be written: {err.strerror}") from err


def _report(output: Output, outcome: Outcome) -> None:
    figures = figures_of(outcome.results)
    if output.as_json:
        steps = [row._asdict() for row in figures]
        output.event("end", failed=outcome.failed, left=outcome.left, took_s=round(outcome.took_s, 2), steps=steps)
        return
    rows = [(str(row.number), row.step, str(row.ok), str(row.failed), *map(seconds, row[4:])) for row in figures]
    output.table(("", "STEP", "OK", "FAILED", "MIN S", "MEDIAN", "P95", "MAX"), rows)
    for key in outcome.left:
        output.line(f"  left behind: {key}")
    word = "FAILED" if outcome.failed else "All steps went well, nothing was left behind"
    output.line(f"{word}: {outcome.took_s:.1f}s")
